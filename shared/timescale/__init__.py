"""Queries and commands of TimescaleDB: tables, chunks, compression, continuous aggregates, indexes, privileges."""
