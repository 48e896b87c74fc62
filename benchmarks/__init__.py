"""How fast a day is put back, beside everything that a user could take instead. `make bench` runs it."""
