"""Deferred indexes: dropped from a chunk before rows are copied into it, and rebuilt afterwards."""
