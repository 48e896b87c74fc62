"""Proves what was loaded: counts, rows outside the day, keys of compressed chunks."""
