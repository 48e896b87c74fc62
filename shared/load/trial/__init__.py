"""The full dry run's trial: the rows in temporary doubles of the tables."""
