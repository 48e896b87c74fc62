"""A CSV turned into PostgreSQL's binary COPY format, where that provably gives the same rows."""
