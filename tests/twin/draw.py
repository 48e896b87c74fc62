"""Choices by chance that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Draw(random.Random):
    """Draws by chance; the same text as its seed draws the same, on every Python."""

    def chance(self, percent: int) -> bool:
        return self.randrange(100) < percent

    def pick(self, *items: Item) -> Item:
        """Pick one of the items."""
        return items[self.randrange(len(items))]

    def some(self, items: Sequence[Item], most: int) -> list[Item]:
        """Pick some of the items, each once at most, in any order."""
        return self.sample(items, self.randint(0, min(most, len(items))))
