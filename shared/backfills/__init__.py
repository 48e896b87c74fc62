"""Many days of one table: planned once, restored in groups, compressed and refreshed once."""
