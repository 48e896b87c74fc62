"""CSV -> PostgreSQL's binary COPY format, by Arrow and pgpq."""
