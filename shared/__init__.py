"""restore-chunk: restores archived days into TimescaleDB tables."""
