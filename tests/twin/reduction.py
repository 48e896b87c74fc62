"""Smaller cases of a failing one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.twin.archives import Step
from tests.twin.tables import Table
from tests.twin.twin import BASE

# Keys of a request that say nothing of how the file is written.
_FREE = {"transfer", "format", "indexes", "expected_rows"}


@dataclass(frozen=True)
class Case:
    """A table, and what is restored into it, one after the other."""

    table: Table
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Write the case as SQL for psql, for the table `s.t`, and what is restored into it."""
        t = self.table
        made = (*BASE, t.create, *t.split, *t.partitions, *t.rows, *t.changes, *t.later, *t.late_rows, *t.jobs)
        lines = [
            statement.replace("@s@", "s").replace("@t@", "t") + ";"
            for statement in (*made, *t.child, t.like, *t.triggers)
        ]
        return "\n".join(["CREATE SCHEMA s;", *lines, *map(repr, self.steps)])


def reduced(case: Case, fails: Callable[[Case], bool], *, seconds: float) -> Case:
    """Leave out what a failure does not need, as far as that is found out in time."""
    end = time.monotonic() + seconds
    candidates = _smaller(case)
    while (candidate := next(candidates, None)) is not None and time.monotonic() < end:
        if fails(candidate):
            case, candidates = candidate, _smaller(candidate)
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for steps in _without_one(case.steps):
        if steps:
            yield replace(case, steps=steps)
    for table in _smaller_tables(case.table):
        yield replace(case, table=table)
    for place, step in enumerate(case.steps):
        for smaller in _smaller_steps(step):
            yield replace(case, steps=(*case.steps[:place], smaller, *case.steps[place + 1 :]))


def _smaller_tables(table: Table) -> Iterator[Table]:
    if table.triggers:
        yield replace(table, triggers=(), effects=frozenset())
    if table.child:
        yield replace(table, child=(), on_delete=None)
    yield from (replace(table, rows=fewer) for fewer in _without_one(table.rows))
    yield from (replace(table, late_rows=fewer) for fewer in _without_one(table.late_rows))
    yield from (replace(table, later=fewer) for fewer in _without_one(table.later))
    if table.jobs:
        yield replace(table, jobs=(), bucket_hours=None, is_retained=None)
    for fewer in _without_one(table.changes):
        if sum("CREATE" in change for change in fewer) < sum("CREATE" in change for change in table.changes):
            yield replace(table, changes=fewer)


def _smaller_steps(step: Step) -> Iterator[Step]:
    for records in _without_one(step.archive.records):
        yield replace(step, archive=replace(step.archive, records=records))
    if step.tried:
        yield replace(step, tried=False)
    if step.members > 1:
        yield replace(step, members=1)
    if step.archive.has_mark:
        yield replace(step, archive=replace(step.archive, has_mark=False))
    for request in _smaller_requests(step.request):
        yield replace(step, request=request)


def _smaller_requests(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("verify", "timescaledb"):
        if name in request:
            yield {key: value for key, value in request.items() if key != name}
    for section in ("destination", "copy", "timescaledb"):
        for name in request.get(section, {}):
            if section != "copy" or name in _FREE:
                yield request | {section: {key: value for key, value in request[section].items() if key != name}}


def _without_one(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for place in range(len(items)):
        yield (*items[:place], *items[place + 1 :])
