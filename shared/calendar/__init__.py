"""The days of a table: which are archived, which the table holds, and which were restored."""
