"""restore-chunk: puts one archived day back into a TimescaleDB hypertable."""
