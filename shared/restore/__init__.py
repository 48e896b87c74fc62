"""One restore, from its request to its answer."""
