"""Restores the archives of a case into the target, and compares it with its twin after each."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from pprint import pformat

from tests.integration.fix_app import Answer, App
from tests.twin.archives import Step, draw_step
from tests.twin.draw import Draw
from tests.twin.oracle import Expected, Oracle
from tests.twin.reduction import Case
from tests.twin.tables import draw_table
from tests.twin.twin import TARGET, TWIN, NotMadeError, Twin
from tests.twin.values import DAY


class WrongError(AssertionError):
    """A restore did something else than what was expected."""


def same(found: object, right: object, what: str, *facts: object) -> None:
    """Refuse a difference, and show all of it.

    Raises:
        WrongError: there is one.
    """
    if found != right:
        shown = "\n".join(pformat(fact, width=160) for fact in (found, right, *facts))
        raise WrongError(f"{what}; found, right and the answer:\n{shown}")


class Bench:
    """A schema of a server, in which each case makes its tables anew."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.seen: Counter[str] = Counter()
        self._session = app.database.session()
        self._session.cursor().execute("SET TimeZone = 'UTC'; SET client_min_messages = error")
        self._server = Twin.server_of(self._session)

    def close(self) -> None:
        self._session.close()

    def case(self, seed: str) -> Case:
        """Draw the case of a seed. It depends on the server's version and edition as well."""
        draw = Draw(seed)
        table = draw_table(draw, self._server)
        return Case(table, tuple(draw_step(draw, table, self._server) for _ in range(draw.randint(1, 3))))

    def check(self, case: Case) -> None:
        """Make the tables of a case, restore, and compare.

        Raises:
            WrongError: a restore did something else than what was expected.
            NotMadeError: the server does not make such a table.
        """
        twin = Twin(self._session, self.app.database.schema, case.table)
        twin.make()
        # Each of the two has a sequence of its own.
        compared = list(twin.table.names)
        numbered = [column.name for column in twin.table.columns if column.is_numbered]
        for step in case.steps:
            compared = [name for name in compared if name not in numbered or name in step.archive.names]
            self._check_step(twin, step, compared)

    def fails(self, case: Case) -> bool:
        try:
            self.check(case)
        except NotMadeError:
            return False
        except Exception:  # noqa: BLE001 - whatever it is, the case shows it
            return True
        return False

    def _check_step(self, twin: Twin, step: Step, compared: list[str]) -> None:
        names = twin.table.names
        before = twin.state(TARGET, names)
        url = self.app.stored(TARGET, step.stored, day=DAY.isoformat())
        numbers, compressed = twin.next_numbers(), twin.compressed()
        tried = self._try(url, step)
        same(twin.state(TARGET, names), before, "the dry run changed something")
        same(twin.next_numbers(), numbers, "the dry run took numbers")
        twin.give_same_numbers(numbers)
        answer = self.app.restore(url, **step.request)
        self._take_down(answer)
        with twin.transaction():
            expected = Oracle(twin, step, self._session.server_version).run()
            if answer.status != HTTPStatus.OK:
                others = {answer.code} - expected.errors - expected.possible
                same(others, set(), "another error", answer.body, expected)
                same(twin.state(TARGET, names), before, "changed in spite of the error", answer.body)
                return
            same(expected.errors, set(), "no error", answer.body, expected)
            same(_problems(tried), [], "seen by the dry run alone", answer.body)
            if step.tried == "full" and not (step.is_staged or twin.table.effects):
                foreseen, warned = _behind(tried), _behind(answer)
                if "DEFAULT" in step.copy.get("csv_options", {}):
                    # Values for which the marker may stand are not known before the restore.
                    foreseen, warned = [warning for warning in foreseen if warning not in warned], []
                same(foreseen, warned, "sequences in the full dry run", tried, answer.body)
            _check_answer(answer, expected)
            found, right = twin.state(TARGET, compared), twin.state(TWIN, compared)
            same((found.rows, found.child), (right.rows, right.child), "other rows", answer.body)
            if len(compared) == len(names):
                same(found.log, right.log, "the trigger wrote something else", answer.body)
            same(twin.damages(), [], "damaged", answer.body)
            if not expected.is_skipped:
                _check_numbers(answer, expected, step, numbers, twin.next_numbers())
                _check_what_came_after(answer, twin, step, compressed)
            twin.commit()

    def _try(self, url: str, step: Step) -> Answer | None:
        if not step.tried:
            return None
        self.seen[f"dry run {step.tried}"] += 1
        return self.app.restore(url, **step.request, dry_run=step.tried)

    def _take_down(self, answer: Answer) -> None:
        """Count what the answers said, so that one sees what was tried."""
        body = answer.body
        self.seen[f"{answer.status} {answer.code or body['status']}"] += 1
        if answer.status == HTTPStatus.OK and body["copy"] is not None:
            self.seen.update([body["copy"]["format"], body["mode"]])
            self.seen.update(["deferred"] if body["copy"]["indexes_deferred"] else [])
            self.seen.update([body["removed_by"]] if "removed_by" in body else [])
            self.seen.update(f"{step['action']} {step['outcome']}" for step in body["chunks"])
            self.seen.update(f"refresh {step['outcome']}" for step in body["caggs"])
            self.seen.update(warning["code"] for warning in body["warnings"])


def _problems(tried: Answer | None) -> list[str]:
    """List what would end the restore, by a dry run."""
    if tried is None or tried.status == HTTPStatus.OK:
        return [] if tried is None else [str(problem) for problem in tried.body["dry_run"]["problems"]]
    return [str(tried.code)]


def _behind(answer: Answer | None) -> list[str]:
    """List the warnings of sequences."""
    warnings = [] if answer is None else answer.body["warnings"]
    return [warning["message"] for warning in warnings if warning["code"] == "SequenceBehind"]


def _check_answer(answer: Answer, expected: Expected) -> None:
    body = answer.body
    same(body["status"] == "skipped", expected.is_skipped, "whether the day is skipped", body, expected)
    if expected.is_skipped:
        # Nothing is known of the day but its rows.
        return
    for name, value in expected.counts.items():
        found = body.get(name)
        if name == "verification":
            if found is None and "WindowUnknown" in expected.possible:
                # Where the file's values do not tell the unit of the times, there is no day to count.
                continue
            found = {key: body["verification"][key] for key in value}
        same(found, value, name, body, expected)
    warnings = Counter(warning["code"] for warning in body["warnings"])
    same({code: warnings[code] for code in expected.warnings}, expected.warnings, "warnings", body, expected)


def _check_numbers(
    answer: Answer, expected: Expected, step: Step, before: dict[str, int], after: dict[str, int]
) -> None:
    """Check the sequences of the columns that the file had."""
    behind = [name for name, number in expected.reached.items() if number >= before[name]]
    advances = step.destination.get("sequences") == "advance"
    moved = {name: expected.reached[name] + 1 for name in behind} if advances else {}
    right = {name: moved.get(name, before[name]) for name in expected.reached}
    same({name: after[name] for name in right}, right, "what the sequences give next", answer.body, expected)
    same(len(_behind(answer)), 0 if advances else len(behind), "warnings of sequences", before, answer.body, expected)


def _check_what_came_after(answer: Answer, twin: Twin, step: Step, before: dict[int, bool]) -> None:
    """Check what comes after the rows: chunks are compressed, again or for the first time, and aggregates refreshed."""
    after, body = twin.compressed(), answer.body
    recompresses = step.timescaledb.get("recompress_window", True) and step.request.get("verify", True)
    if recompresses and not twin.table.child:
        # None has other rows besides that had none before. Unverified, chunks of other days are left as they are.
        wrong = [chunk for chunk, has_more in before.items() if after.get(chunk) not in (False, has_more)]
        same(wrong, [], "chunks that are not compressed any more", before, after, body)
    done = {one["name"] for one in body["chunks"] if one["action"] == "compress" and one["outcome"] == "done"}
    same(len(set(after) - set(before)), len(done), "new chunks that are compressed", before, after, body)
    if step.timescaledb.get("refresh_caggs"):
        found, right = twin.buckets()
        same(found, right, "the aggregate's buckets", body)
