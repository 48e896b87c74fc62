"""The ways of the rows from the CSV into the target."""
