"""The fixtures of the fuzz tests."""

from tests.fuzz.fix_fuzz import target

__all__ = ["target"]
