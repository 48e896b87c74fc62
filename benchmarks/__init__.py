"""How fast a day is restored, beside the other ways to load it. `make bench` runs it."""
