"""Copies rows from the CSV into the target: as text, in binary, through staging."""
