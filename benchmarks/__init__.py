"""Times a restore beside the other ways to load a day. `make bench` runs it."""
