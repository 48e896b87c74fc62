"""What TimescaleDB says of a table, and what it is asked to do: chunks, compression, continuous aggregates."""
