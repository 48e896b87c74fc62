"""Restores that nobody asks for by a call: when an archive arrives, and every day."""
