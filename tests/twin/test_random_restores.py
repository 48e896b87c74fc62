"""Random tables, archives and requests, restored and held against PostgreSQL's own COPY and INSERT.

Each case depends on the seed and its number alone. RESTORE_TEST_SEED=123 repeats all cases of a seed, and
RESTORE_TEST_SEED=123/45 only one of them.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.integration.fix_app import Answer, App
from tests.twin.archives import Step, draw_step
from tests.twin.draw import Draw
from tests.twin.oracle import Expected, Oracle
from tests.twin.reduction import Case, reduced
from tests.twin.tables import Server, draw_table
from tests.twin.twin import TARGET, TWIN, NotMadeError, Twin
from tests.twin.values import DAY

SEED, _, NUMBER = (os.environ.get("RESTORE_TEST_SEED") or str(random.getrandbits(32))).partition("/")
SECONDS = float(os.environ.get("RESTORE_TEST_SECONDS", "60"))
MOST_CASES = 100_000
# So much time to make a failing case smaller.
REDUCTION_SECONDS = 120

pytestmark = pytest.mark.timeout(SECONDS + 2 * REDUCTION_SECONDS)


class Bench:
    """A schema of a server, in which each case makes its tables anew."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.seen: Counter[str] = Counter()
        self._session = app.database.session()
        self._session.cursor().execute("SET TimeZone = 'UTC'; SET client_min_messages = error")

    def close(self) -> None:
        self._session.close()

    @property
    def server(self) -> Server:
        connection, database = self.app.database.connection, self.app.database
        license_ = database.value("SELECT current_setting('timescaledb.license')")
        return Server(connection.server_version, database.version, license_ == "timescale")

    def case(self, number: int) -> Case:
        draw = Draw(f"{SEED}/{number}")
        table = draw_table(draw, self.server)
        return Case(table, tuple(draw_step(draw, table, self.server) for _ in range(draw.randint(1, 3))))

    def check(self, case: Case) -> None:
        """Make the tables of a case, restore, and compare."""
        twin = Twin(self._session, self.app.database.schema, case.table)
        twin.make()
        # A sequence goes on by itself in each of the two.
        compared = list(twin.table.names)
        numbered = [column.name for column in twin.table.columns if column.is_numbered]
        for step in case.steps:
            compared = [name for name in compared if name not in numbered or name in step.archive.names]
            self._check_step(twin, step, compared)

    def fails(self, case: Case) -> bool:
        try:
            self.check(case)
        except AssertionError:
            return True
        except NotMadeError:
            pass
        return False

    def _check_step(self, twin: Twin, step: Step, compared: list[str]) -> None:
        names = twin.table.names
        before = twin.state(TARGET, names)
        url = self.app.stored(TARGET, step.stored, day=DAY.isoformat())
        problems = self._try(url, step)
        assert twin.state(TARGET, names) == before, "the dry run changed something"
        answer = self.app.restore(url, **step.request)
        self._take_down(answer)
        with twin.transaction():
            expected = Oracle(twin, step, self._session.server_version).run()
            if answer.status != HTTPStatus.OK:
                assert answer.code in expected.errors | expected.possible, (answer.body, expected)
                assert twin.state(TARGET, names) == before, ("changed in spite of the error", answer.body)
                return
            assert not expected.errors, (answer.body, expected)
            assert not problems, ("seen by the dry run alone", problems, answer.body)
            _check_answer(answer, expected)
            found, right = twin.state(TARGET, compared), twin.state(TWIN, compared)
            assert (found.rows, found.child) == (right.rows, right.child), answer.body
            assert found.log == right.log or len(compared) < len(names), answer.body
            assert not twin.damages(), answer.body
            twin.commit()

    def _try(self, url: str, step: Step) -> list[str]:
        """Return what would end the restore, by a dry run."""
        if not step.is_tried:
            return []
        answer = self.app.restore(url, **step.request, dry_run=True)
        if answer.status != HTTPStatus.OK:
            return [str(answer.code)]
        return [problem["code"] for problem in answer.body["dry_run"]["problems"]]

    def _take_down(self, answer: Answer) -> None:
        """Count what the answers said, so that one sees what was tried."""
        body = answer.body
        self.seen[f"{answer.status} {answer.code or body['status']}"] += 1
        if answer.status == HTTPStatus.OK and body["copy"] is not None:
            self.seen.update([body["copy"]["format"], body["mode"]])
            self.seen.update(["deferred"] if body["copy"]["indexes_deferred"] else [])
            self.seen.update([body["removed_by"]] if "removed_by" in body else [])
            self.seen.update(f"{step['action']} {step['outcome']}" for step in body["chunks"])


def _check_answer(answer: Answer, expected: Expected) -> None:
    body = answer.body
    assert (body["status"] == "skipped") == expected.is_skipped, (body, expected)
    for name, value in expected.counts.items():
        found = body.get(name)
        if name == "verification":
            found = {key: body["verification"][key] for key in value}
        # Of a day that is skipped, nothing is known but its rows.
        assert found == value or expected.is_skipped, (name, body, expected)


def run(bench: Bench) -> None:
    """Check cases until the time is up, and fail with the first one that is wrong, made smaller."""
    end = time.monotonic() + SECONDS
    for number in [int(NUMBER)] if NUMBER else range(MOST_CASES):
        if time.monotonic() > end:
            break
        case = bench.case(number)
        try:
            bench.check(case)
        except NotMadeError:
            bench.seen["not made"] += 1
        except AssertionError as exc:
            smaller = reduced(case, bench.fails, seconds=REDUCTION_SECONDS)
            raise AssertionError(f"RESTORE_TEST_SEED={SEED}/{number}: {exc}\n\nsmaller:\n{smaller}\n") from exc
        bench.seen["cases"] += 1


@pytest.fixture
def bench(app: App, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    yield from _bench(app, capsys)


@pytest.fixture
def community_bench(community_app: App, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    yield from _bench(community_app, capsys)


def _bench(app: App, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    bench = Bench(app)
    yield bench
    bench.close()
    with capsys.disabled():
        print(f"\nRESTORE_TEST_SEED={SEED}: {dict(bench.seen.most_common())}")  # noqa: T201 - to repeat it


def test_a_restore_is_what_copy_and_insert_make_of_it(bench: Bench) -> None:
    run(bench)


@pytest.mark.community
def test_so_it_is_with_compressed_chunks(community_bench: Bench) -> None:
    run(community_bench)
