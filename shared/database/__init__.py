"""Where the day goes: connection, COPY, hypertable, chunks, continuous aggregates."""
