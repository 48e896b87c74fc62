"""Deferred indexes: drop them from a chunk before rows come, build them after."""
