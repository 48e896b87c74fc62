"""Converts CSV to PostgreSQL's binary COPY format, with Arrow and pgpq."""
