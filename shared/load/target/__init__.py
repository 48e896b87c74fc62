"""What a load writes into: the table, the file's columns in it, and the day in its time column."""
