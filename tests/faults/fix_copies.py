"""The plain way of each step of the COPY, the fast one and mixtures, and whether a restore really went that way."""

from __future__ import annotations

from typing import Any

from tests.integration.fix_app import Answer
from tests.integration.fix_database import Database

COPIES: dict[str, dict[str, Any]] = {
    "plain": {"transfer": "spool", "format": "text", "indexes": "keep"},
    "fast": {"transfer": "stream", "format": "binary", "indexes": "auto"},
}
MIXED_COPIES: dict[str, dict[str, Any]] = {
    "text": {"transfer": "stream", "format": "text", "indexes": "auto"},
    "spooled": {"transfer": "spool", "format": "binary", "indexes": "keep"},
}


def check_way(answer: Answer, copy: dict[str, Any], database: Database, *, by_owner: bool = True) -> None:
    """The rows came as they were asked for, and not in the plainer way that is taken where that fails.

    Args:
        answer: a 200, for a table whose only index is its key. Its chunk is the load's own unless rows were deleted.
        copy: the request's.
        database: its version decides whether a key may be deferred.
        by_owner: whether the request's role owns the table. Only the owner can defer an index.
    """
    told = answer.body["copy"]
    assert (told["transfer"], told["format"]) == (copy["transfer"], copy["format"]), told
    is_own = answer.body.get("removed_by") != "delete"
    is_deferred = copy["indexes"] == "auto" and is_own and by_owner and database.version >= (2, 28)
    assert bool(told["indexes_deferred"]) == is_deferred, told
