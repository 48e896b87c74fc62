"""PostgreSQL: connect, transactions, savepoints, errors. Knows no TimescaleDB."""
