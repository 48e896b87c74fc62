"""Decimal digits to numbers, eight at once in one 64-bit word.

Each function takes arrays, and every word is checked to hold digits alone: a digit is a byte 0x30 - 0x39, which
xor 0x30 leaves 0 - 9, and 6 more does not carry into the upper half of the byte.
"""

from __future__ import annotations

import numpy as np

from shared.binary.cells import Positions, Text, Words, most_of

WORD = 8
_ZEROS = 0x3030303030303030
_SIXES = 0x0606060606060606
_UPPER_HALVES = 0xF0F0F0F0F0F0F0F0
# By a number of bytes: the mask of the last, and of the first so many bytes of a word.
_LAST = np.array([(1 << 64) - (1 << (64 - 8 * count)) for count in range(WORD + 1)], np.uint64)
FIRST = np.array([(1 << (8 * count)) - 1 for count in range(WORD + 1)], np.uint64)
POWERS = np.array([10**exponent for exponent in range(20)], np.uint64)


class Digits:
    """Reads runs of digits, and remembers whether any byte was no digit, cell by cell.

    Attributes:
        bad: other than 0 where one was.
    """

    def __init__(self, text: Text, count: int) -> None:
        self.bad: Words = np.zeros(count, np.uint64)
        self._text, self._words = text, text.words

    def before(self, end: Positions, length: Positions) -> Words:
        """Read the last digits before a position.

        Args:
            end: the position.
            length: how many, 0 - 8.

        Returns:
            Their number; of no digits 0.
        """
        return self._number((self._words[end - WORD] ^ _ZEROS) & _LAST[length])

    def from_(self, start: Positions, length: Positions) -> Words:
        """Read the first digits from a position on, as if zeros followed them to make eight.

        Args:
            start: the position.
            length: how many, 0 - 8.
        """
        return self._number((self._words[start] ^ _ZEROS) & FIRST[length])

    def _number(self, word: Words) -> Words:
        self.bad |= (word | (word + _SIXES)) & _UPPER_HALVES
        # Pairs, then fours, then all eight: the lowest byte is the leftmost digit.
        word = word * 10 + (word >> 8)
        pairs = word & 0x000000FF000000FF
        others = (word >> 16) & 0x000000FF000000FF
        return (pairs * 0x000F424000000064 + others * 0x0000271000000001) >> 32

    def whole(self, end: Positions, length: Positions) -> Words:
        """Read up to 19 digits before a position; a number of 20 digits need not fit."""
        total = self.before(end, np.minimum(length, WORD))
        for done in range(WORD, most_of(length), WORD):
            longer = np.flatnonzero(length > done)
            rest = np.minimum(length[longer] - done, WORD)
            part = Digits(self._text, longer.size)
            total[longer] += part.before(end[longer] - done, rest) * POWERS[done]
            self.bad[longer] |= part.bad
        return total
