"""The load of one day, in one transaction."""
