"""Restores behind a queue: messages, records, the worker, and what HTTP shows of them."""
