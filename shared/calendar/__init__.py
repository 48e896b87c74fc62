"""Which days of a table are archived, which it holds, and which were restored."""
