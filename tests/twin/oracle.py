"""What a restore must do: PostgreSQL's own COPY and INSERT into the twin, and the rules of docs/request.md."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import psycopg2

from tests.twin.archives import PG_17, Step
from tests.twin.tables import literal, quoted
from tests.twin.twin import CHECK_ALL, TWIN, Twin

# How the answer shows a time. It leaves a fraction of 0 out.
_SHOWN = "'YYYY-MM-DD\"T\"HH24:MI:SS.US{}'"


@dataclass
class Expected:
    """What a restore must do.

    Attributes:
        errors: codes of which one is the answer; empty: there must be none.
        possible: further codes with which it may be refused.
        counts: what an answer of 200 says, as far as it is known.
        warnings: how often it has each of some warnings, as far as that is known.
        reached: the greatest value that was loaded into each column that has a sequence.
        is_skipped: whether the day is left as it is.
    """

    errors: set[str] = field(default_factory=set)
    possible: set[str] = field(default_factory=set)
    counts: dict[str, Any] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    is_skipped: bool = False


@dataclass(frozen=True)
class _Loaded:
    """How many rows the file has (`records`; -1: it cannot be read), were read, were added, were removed before."""

    records: int
    read: int
    added: int
    removed: int


class Oracle:
    """Restores into the twin, in an open transaction.

    Args:
        twin: the tables.
        step: what is restored.
        server_version: the server's, as libpq has it.
    """

    def __init__(self, twin: Twin, step: Step, server_version: int) -> None:
        self._twin = twin
        self._table = twin.table
        self._step = step
        self._server_version = server_version
        self._expected = Expected()
        self._day = twin.table.day_column(step.destination.get("time_column"))
        self._verifies = step.request.get("verify", True)
        self._skips_errors = step.copy.get("on_error") == "skip"
        # Whether the file has a number where the day's column is.
        self._has_numbers = False

    def run(self) -> Expected:
        """Restore, and say what must come of it."""
        records = self._count_records()
        self._restore(records)
        if not self._expected.is_skipped and self._step.copy.get("expected_rows") not in (None, records):
            self._expected.errors.add("RowCountMismatch")
        return self._expected

    def _restore(self, records: int) -> None:
        expected, step = self._expected, self._step
        self._look_at_columns()
        self._look_at_file()
        self._look_at_the_day(records)
        before = self._count_day()
        if before and step.policy == "error":
            expected.errors.add("WindowNotEmpty")
        expected.is_skipped = not expected.errors and before > 0 and step.policy == "skip"
        removed = before if step.policy == "replace" else 0
        if removed and not expected.errors:
            self._delete_day()
            if expected.errors and self._count_needed():
                # The file's columns are compared with the table's before any row is deleted.
                expected.possible.add("DataRejected")
        if expected.errors or expected.is_skipped:
            return
        total, day = self._total(), self._count_day()
        numbers = self._numbers()
        read, added = self._load(records)
        if not read and self._count_needed():
            # PostgreSQL takes no row, and so refuses none. But the columns are compared before rows are read.
            expected.possible.add("DataRejected")
        if not expected.errors:
            loaded_numbers = {name: found - numbers[name] for name, found in self._numbers().items()}
            expected.reached = {name: max(found) for name, found in loaded_numbers.items() if found}
            self._warn(read, added, before, removed)
            after = self._count_day()
            outside = self._total() - total - (after - day)
            loaded = _Loaded(records, read, added, removed)
            self._judge_counts(loaded)
            self._judge_day(loaded, before, after, outside)

    def _look_at_columns(self) -> None:
        table, archive = self._table, self._step.archive
        unknown = [name for name in archive.kept if name not in table.writable]
        if not archive.kept or (unknown and (not self._step.is_staged or len(unknown) == len(archive.kept))):
            self._expected.errors |= {"UnknownColumn", "HeaderMismatch"}
        self._expected.counts |= {
            "columns_loaded": [name for name in archive.kept if name in table.writable],
            "columns_defaulted": [name for name in table.writable if name not in archive.kept],
        }

    def _look_at_file(self) -> None:
        expected, archive = self._expected, self._step.archive
        if archive.odd is not None:
            expected.possible |= {"HeaderInvalid", "HeaderMissing", "HeaderMismatch", "UnknownColumn"}
        if not archive.csv:
            expected.possible |= {"HeaderMissing"}
        if b"\\." in archive.csv:
            # Servers before 18 stop there, and the file is refused for all.
            expected.possible.add("EndOfDataMarker")
        if self._skips_errors and self._server_version < PG_17:
            expected.errors.add("OnErrorNotSupported")

    def _numbers(self) -> dict[str, Counter[int]]:
        """Return the values of the columns that have a sequence and that the file has."""
        loaded = self._expected.counts["columns_loaded"]
        found = {}
        for column in self._table.columns:
            if column.is_numbered and column.name in loaded:
                self._twin.run(f"SELECT {quoted(column.name)} FROM @s@.@t@")
                found[column.name] = Counter(value for (value,) in self._twin.found)
        return found

    def _warn(self, read: int, added: int, before: int, removed: int) -> None:
        """Say of which warnings it is known whether there is one."""
        table, step, counts = self._table, self._step, self._expected.counts
        # One that PostgreSQL computes is not lost.
        ignored = [name for name in step.archive.kept if name not in table.names]
        appends_by_default = step.is_staged and "on_existing" not in step.destination
        doubles = appends_by_default and before > 0 and not table.has_unique and self._verifies
        self._expected.warnings = {
            "ColumnsIgnored": int(bool(ignored)),
            "ReplacedByNothing": int(removed > 0 and read == 0),
            "RefreshFailed": 0,
            "AfterCommitFailed": 0,
        }
        if not (appends_by_default and step.destination.get("rows_outside_window") == "allow"):
            # Otherwise rows of other days may be doubled, too.
            self._expected.warnings["MayHoldDuplicates"] = int(doubles)
        if not table.child:
            # TimescaleDB does not compress a chunk again to which a foreign key refers.
            self._expected.warnings["RecompressFailed"] = 0
        if "rows_rejected" in counts or not self._skips_errors:
            rejected = counts.get("rows_rejected", 0)
            self._expected.warnings["RowsRejected"] = int(rejected > 0)
            self._expected.warnings["NoRows"] = int(removed + read + rejected == 0)
        if table.is_hypertable and self._day is not None and (table.is_retained is not None or not table.jobs):
            self._expected.warnings["RetentionWillDrop"] = int(added > 0 and table.is_retained is False)

    def _count_records(self) -> int:
        """Count the records, by a COPY into columns that take anything."""
        columns = [f"c{place}" for place in range(len(self._step.archive.names))]
        self._twin.run(f"CREATE TEMP TABLE anything ({', '.join(f'{name} text' for name in columns)}) ON COMMIT DROP")
        error = self._copy("anything", columns, is_plain=True)
        if error is not None:
            # Cells too many or too few, a quote that does not end, bytes that are not text.
            return -1
        count = int(self._twin.value("SELECT count(*) FROM anything"))
        if self._day is not None and self._day[0] in self._step.archive.names:
            cell = columns[self._step.archive.names.index(self._day[0])]
            self._has_numbers = self._twin.value(f"SELECT bool_or({cell} ~ '[0-9]') FROM anything") is True
        self._twin.run("DROP TABLE anything")
        return count

    def _look_at_the_day(self, records: int) -> None:
        """Judge whether the day can be found at all."""
        expected, step = self._expected, self._step
        if self._day is not None and self._day[1].kind == "integer" and not self._table.has_integer_now:
            # The unit is that of the file's times.
            if self._day[0] not in step.archive.kept or (records >= 0 and not self._has_numbers):
                self._day = None
                expected.possible |= {"DataRejected"} if records < 0 else set()
                if records and step.destination.get("rows_outside_window") != "allow":
                    # Rows of other days could not be told.
                    expected.possible.add("WindowUnknown")
            elif records < 0 or self._skips_errors:
                expected.possible |= {"WindowUnknown", "DataRejected"}
        if step.policy in ("skip", "replace") or (step.policy == "error" and self._total()):
            if self._day is None:
                expected.errors.add("WindowUnknown")
            elif self._has_numbers_for_times and self._day[1].kind != "integer":
                # Only the file and the keys say whether the numbers may be the times of the day.
                expected.possible.add("WindowUnknown")

    @property
    def _has_numbers_for_times(self) -> bool:
        return self._table.time is not None and self._table.time.kind == "integer"

    def _total(self) -> int:
        return int(self._twin.value("SELECT count(*) FROM @s@.@t@"))

    def _count_day(self) -> int:
        return 0 if self._day is None else int(self._twin.value(f"SELECT count(*) FROM @s@.@t@ WHERE {self._in_day}"))

    @property
    def _in_day(self) -> str:
        assert self._day is not None
        name, time = self._day
        return time.condition(quoted(name))

    def _delete_day(self) -> None:
        """Delete the day, and judge what that does to a table that refers to it."""
        action, expected = self._table.on_delete, self._expected
        touches = action in ("CASCADE", "SET NULL", "SET DEFAULT") and self._count_referring()
        if touches and self._step.destination.get("on_referenced") != "allow":
            expected.errors.add("ReferencedRows")
        error = self._twin.attempt(f"DELETE FROM @s@.@t@ WHERE {self._in_day}")
        if error is not None:
            expected.errors.add("ReferencedRows")

    def _count_needed(self) -> int:
        """Count the columns that the file lacks, and that are NOT NULL and have no default."""
        names = ", ".join(literal(name) for name in ["", *self._expected.counts["columns_defaulted"]])
        return int(
            self._twin.value(
                f"SELECT count(*) FROM pg_attribute WHERE attrelid = '@s@.@t@'::regclass AND attname IN ({names})"
                " AND attnotnull AND NOT atthasdef AND attidentity = ''"
            )
        )

    def _count_referring(self) -> int:
        self._twin.run("SELECT attname FROM pg_attribute WHERE attrelid = '@s@.@t@_child'::regclass AND attnum > 0")
        names = ", ".join(quoted(name) for (name,) in self._twin.found)
        day = f"SELECT {names} FROM @s@.@t@ WHERE {self._in_day}"
        return int(self._twin.value(f"SELECT count(*) FROM @s@.@t@_child WHERE ({names}) IN ({day})"))

    def _load(self, records: int) -> tuple[int, int]:
        """Load the rows. Return how many were read, and how many were added."""
        if not self._step.is_staged and None not in self._step.archive.names:
            self._refuse(self._copy(f"@s@.{TWIN}", self._step.archive.kept))
            return records, self._twin.affected
        error = self._copy("stage", self._make_stage())
        if error is not None:
            self._refuse(error)
            return 0, 0
        staged = int(self._twin.value("SELECT count(*) FROM stage"))
        if self._skips_errors and records < 0:
            # A row with a bad value is left out before its cells are counted.
            self._expected.possible |= {"TooManyRejectedRows", "DataRejected", "VerificationFailed"}
        elif self._skips_errors:
            self._expected.counts["rows_rejected"] = records - staged
            if records - staged > self._step.copy["max_rejected_rows"]:
                self._expected.errors.add("TooManyRejectedRows")
        columns = ", ".join(map(quoted, self._expected.counts["columns_loaded"]))
        insert = f"INSERT INTO @s@.@t@ ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM stage"
        error = self._twin.attempt(f"{insert} ON CONFLICT DO NOTHING" if self._step.is_staged else insert)
        if error is not None and error.pgcode == "55000":
            # A deferrable key cannot tell what is in conflict, and is asked only where something may be.
            self._expected.possible.add("OperationNotSupported")
            error = self._twin.attempt(insert)
        inserted = self._twin.affected
        self._twin.run("DROP TABLE stage")
        self._refuse(error or self._twin.attempt(CHECK_ALL))
        return staged, inserted

    def _refuse(self, error: psycopg2.Error | None) -> None:
        """Expect what a restore answers where PostgreSQL refuses the rows."""
        if error is None:
            return
        sqlstate = error.pgcode or ""
        if not sqlstate.startswith(("0A", "22", "23", "54", "P0")):
            raise error
        self._expected.errors.add("DataRejected")
        if sqlstate.startswith("0A"):
            # A trigger moves a row to another partition.
            self._expected.errors.add("OperationNotSupported")
        # Of two faults either may be found first.
        self._expected.possible |= {"RowsOutsideWindow", "VerificationFailed", "WindowNotEmpty", "ReplacementTooSmall"}
        if self._step.policy == "replace" and sqlstate == "23503":
            self._expected.errors.add("ReferencedRows")

    def _make_stage(self) -> list[str]:
        """Make a staging table, and return its columns in the file's order."""
        run, types = self._twin.run, self._table.types
        like = self._step.destination.get("create_staging_like", TWIN)
        run("CREATE TEMP TABLE stage (LIKE @s@.@t@ INCLUDING ALL EXCLUDING INDEXES EXCLUDING GENERATED)", like)
        run(
            "SELECT attname, attgenerated <> '' FROM pg_attribute WHERE attrelid = '@s@.@t@'::regclass AND attnum > 0"
            " AND NOT attisdropped",
            like,
        )
        of_like = dict(self._twin.found)
        for name, is_generated in of_like.items():
            if is_generated:
                run(f"ALTER TABLE stage ALTER COLUMN {quoted(name)} DROP NOT NULL")
        columns: list[str] = []
        for place, name in enumerate(self._step.archive.names):
            is_known = name is not None and (name in of_like or name in types)
            columns.append(name if name is not None and is_known else f"s{place}")
            if columns[-1] not in of_like:
                run(f"ALTER TABLE stage ADD COLUMN {quoted(columns[-1])} {types.get(columns[-1], 'text')}")
        return columns

    def _copy(self, table: str, columns: Sequence[str], *, is_plain: bool = False) -> psycopg2.Error | None:
        """COPY the file, and return the error. `is_plain`: without what concerns the columns' values."""
        archive = self._step.archive
        dialect = archive.dialect
        options = ["FORMAT csv", f"HEADER {dialect.has_header}"]
        names = ("delimiter", "null", "quote", "escape", "encoding")
        options += [f"{name} {literal(getattr(dialect, name))}" for name in names]
        if not is_plain:
            place = dict(
                zip(archive.names if len(columns) == len(archive.names) else archive.kept, columns, strict=True)
            )
            for option, forced in (("FORCE_NULL", archive.force_null), ("FORCE_NOT_NULL", archive.force_not_null)):
                if forced:
                    options.append(f"{option} ({', '.join(quoted(place[name]) for name in forced)})")
            if dialect.default is not None:
                options.append(f"DEFAULT {literal(dialect.default)}")
            if self._skips_errors and table == "stage":
                options.append("ON_ERROR ignore")
        statement = f"COPY {table} ({', '.join(map(quoted, columns))}) FROM STDIN WITH ({', '.join(options)})"
        return self._twin.attempt_copy(statement, io.BytesIO(archive.body), then=CHECK_ALL)

    def _judge_counts(self, loaded: _Loaded) -> None:
        """Judge the numbers of rows, whatever their times are."""
        expected, step = self._expected, self._step
        if not self._skips_errors and loaded.records != loaded.read:
            # A line \. ended the COPY of an older server.
            expected.errors |= {"EndOfDataMarker", "VerificationFailed", "DataRejected"}
        # What is not a conflict was dropped by a trigger.
        is_dropped = loaded.added < loaded.read and not (step.is_staged and self._table.has_unique)
        if self._verifies and is_dropped:
            expected.errors.add("VerificationFailed")
        if "drops" in self._table.effects:
            # Where rows are in conflict as well, not every drop is seen.
            expected.possible.add("VerificationFailed")
        if "moves" in self._table.effects and self._table.is_hypertable:
            # The row's chunk was chosen before.
            expected.possible.add("DataRejected")
        skipped = loaded.read - loaded.added if step.is_staged else 0
        expected.counts |= {"rows_loaded": loaded.added, "rows_skipped": skipped}
        expected.counts["rows_read"] = loaded.added + skipped
        if loaded.removed:
            expected.counts["rows_removed"] = loaded.removed

    def _judge_day(self, loaded: _Loaded, before: int, after: int, outside: int) -> None:
        """Judge the rows by their times."""
        expected, destination = self._expected, self._step.destination
        if self._day is None:
            return
        others = f"SELECT count(*) FROM @s@.@t@ WHERE {quoted(self._day[0])}::text !~ '^.{{14}}7'"
        if self._table.is_hypertable and self._day[1].kind == "uuid" and self._twin.value(others):
            # A plain table takes UUIDs of other versions.
            expected.errors.add("DataRejected")
        if self._verifies:
            self._judge_outside(outside)
        ratio = Fraction(str(destination.get("min_rows_ratio", 0.5)))
        if loaded.removed and min(loaded.added, after) < ratio * loaded.removed:
            expected.errors.add("ReplacementTooSmall")
        if self._verifies:
            expected.counts["verification"] = {
                "rows_before": before,
                "rows_after": after,
                "rows_loaded": loaded.added,
                "rows_outside_window": outside,
            } | ({} if outside else self._bounds())

    def _judge_outside(self, outside: int) -> None:
        expected, step = self._expected, self._step
        is_allowed = step.destination.get("rows_outside_window") == "allow"
        if outside and not is_allowed:
            expected.errors |= {"RowsOutsideWindow", "VerificationFailed"}
        elif outside and step.policy != "append":
            expected.possible.add("WindowNotEmpty")
        elif step.is_staged and not is_allowed:
            # Staged rows outside the day are refused before it is known whether they are in conflict.
            expected.possible.add("RowsOutsideWindow")
        if outside and self._count_nulls():
            expected.possible.add("VerificationFailed")
        decompresses = step.timescaledb.get("decompress_window", True) is True
        if self._table.is_compressed and self._table.has_unique and (not decompresses or outside):
            # Where no query can prove a key that TimescaleDB does not enforce.
            expected.possible.add("KeyNotEnforced")

    def _count_nulls(self) -> int:
        assert self._day is not None
        return int(self._twin.value(f"SELECT count(*) FROM @s@.@t@ WHERE {quoted(self._day[0])} IS NULL"))

    def _bounds(self) -> dict[str, Any]:
        """Return the first and the last time of the day's rows, as the answer shows them."""
        assert self._day is not None
        name, time = self._day
        column = quoted(name)
        shown = {
            "integer": "{}",
            "date": "to_char({}, 'YYYY-MM-DD')",
            "timestamp": f"to_char({{}}, {_SHOWN.format('')})",
            "timestamptz": f"to_char({{}}, {_SHOWN.format('Z')})",
            "uuid": f"to_char(timestamptz 'epoch' + {{}} * interval '1 ms', {_SHOWN.format('Z')})",
        }[time.kind]
        if time.kind == "uuid":
            column = f"('x' || left(replace({column}::text, '-', ''), 12))::bit(48)::bigint"
        first, last = shown.format(f"min({column})"), shown.format(f"max({column})")
        self._twin.run(f"SELECT {first}, {last} FROM @s@.@t@ WHERE {self._in_day}")
        times = dict(zip(("min_time", "max_time"), self._twin.found[0], strict=True))
        return {key: at.replace(".000000", "") if isinstance(at, str) else at for key, at in times.items()}
