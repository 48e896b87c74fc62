"""Every error that a restore can answer with."""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import RestoreError


def errors(kind: type[RestoreError] = RestoreError) -> Iterator[type[RestoreError]]:
    for child in kind.__subclasses__():
        yield from [child] if "code" in vars(child) else []
        yield from errors(child)
