"""Looks at the target before the first row: whether the load would be refused, and how it is to be done."""
