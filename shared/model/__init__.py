"""Plain data: what is asked for, what was found, what is answered."""
