"""Restores that start without a call: when an archive arrives, and once a day."""
