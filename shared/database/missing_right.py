"""A right that the role lacks, and the error that names it. Asks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import DatabasePermissionDenied, Fault

# No right of GRANT's: an owner's members have it too.
OWNERSHIP = "ownership"


@dataclass(frozen=True)
class MissingRight:
    """A right that the role lacks.

    Attributes:
        role: the one that the session has; empty where nobody named it.
        right: as GRANT names it, or "ownership".
        target: what it is lacking on.
        is_needed: whether the restore fails without it; otherwise only a best-effort step does.
    """

    role: str
    right: str
    target: str
    is_needed: bool = True

    def __str__(self) -> str:
        """Return it as a person reads it: `INSERT on silver.telemetry`."""
        return f"{self.right} {'of' if self.right == OWNERSHIP else 'on'} {self.target}"


def lacks(missing: Sequence[MissingRight]) -> DatabasePermissionDenied:
    """Make the error that names the rights.

    Args:
        missing: at least one, all of the same role.
    """
    role = missing[0].role
    who = f"the role {role}" if role else "the role"
    details = []
    for right in missing:
        facts = {"role": role, "right": right.right}
        details.append(Fault(DatabasePermissionDenied.code, f"{who} lacks {right}", right.target, tuple(facts.items())))
    return DatabasePermissionDenied(f"{who} lacks {', '.join(str(right) for right in missing)}", details=details)
