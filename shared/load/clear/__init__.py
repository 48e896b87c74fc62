"""Makes room for the day's rows, and looks after rows that refer to those that go."""
