"""What a developer's machine needs: TimescaleDB, Azurite, a local host and sample days. Never deployed."""
