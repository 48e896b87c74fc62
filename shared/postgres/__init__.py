"""PostgreSQL: connect, sessions, transactions, savepoints, errors. Knows no TimescaleDB."""
