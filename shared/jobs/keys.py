"""Makes and recognizes the ids that the function chooses itself, and the row keys of records.

Such an id is derived from what it stands for, so asking for the same thing again finds the same operation.
"""

from __future__ import annotations

import hashlib
import re
import time

# All rows of records are between these two.
FIRST_ROW, BEHIND_LAST_ROW = "op~", "op~~"
# Milliseconds that count down, so that the newest row comes first. 13 digits last until 2286.
_LAST_MILLISECOND = 10**13 - 1
_LENGTH_OF_TIME = len("op~") + 13
_ROW = re.compile(r"op~[0-9]{13}~[A-Za-z0-9._-]{1,64}", re.ASCII)
_OWN_ID = re.compile(r"rule-[0-9a-f]{40}|b[0-9a-f]{24}-.*", re.ASCII)


def id_of_order(text: str) -> str:
    """Return the id of a restore that a rule orders.

    Args:
        text: names what is ordered.
    """
    return f"rule-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def stem_of_backfill(backfill_id: str) -> str:
    """Return what the ids of a backfill's days and groups begin with."""
    return f"b{hashlib.sha256(backfill_id.encode()).hexdigest()[:24]}-"


def is_own_id(text: str) -> bool:
    """Whether an id looks like one of the function's own. A caller who used one could block the restore of that day."""
    return _OWN_ID.fullmatch(text) is not None


def row_of(operation_id: str) -> str:
    """Return the row of an operation that is created now. The newest row is the first."""
    return f"op~{_LAST_MILLISECOND - time.time_ns() // 1_000_000:013d}~{operation_id}"


def row_below(row: str, operation_id: str) -> str:
    """Return the row of an operation that has the time of another operation, given the row of that one."""
    return f"{row[:_LENGTH_OF_TIME]}~{operation_id}"


def is_row(text: str) -> bool:
    """Whether a text looks like the row of a record."""
    return _ROW.fullmatch(text) is not None
