"""Finds, and moves, sequences that would next give numbers of rows that a load has just added.

A COPY or INSERT with values for an identity or serial column moves no sequence. The next row that takes its number from
the sequence then collides with a loaded one, or has the same number where no key forbids it.

A sequence is found by the column's default, regardless of its owner, and by the identity column. A default that
computes with `nextval` is ignored. In a partitioned table the partitions may have defaults of their own.

`advance` never moves a sequence back. An owner locks the sequence, reads it and restarts it; that is undone with the
transaction. ALTER SEQUENCE waits for each transaction that has taken a number and is still open (ShareRowExclusiveLock
against RowExclusiveLock in src/backend/commands/sequence.c), and that one may wait for the rows of this load. So the
owner waits less than PostgreSQL's deadlock_timeout, and then does what a role that is not an owner does: it draws the
numbers by `nextval`, which never gives one number to two sessions, or, if there are too many, skips them by `setval`.
A rollback undoes neither, which leaves a gap and nothing worse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2 import sql

from shared.errors import TargetLocked
from shared.model.results import Notice
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.postgres.local_settings import local_settings
from shared.postgres.savepoint import savepoint
from shared.postgres.search_path import by_users_path
from shared.timescale.chunks import OWN_ROWS, written_chunks
from shared.timescale.table import Table, inside

# The table itself, and of a partitioned one its partitions. 1574 is nextval(regclass); 480, 714 and 1781 make an int4,
# an int2 and a numeric of its int8 (pg_proc.dat): a default of these alone computes nothing with the number. 21, 23, 20
# and 1700 are these types (pg_type.dat). The sequence of an identity column depends on the column internally ('i').
_FIND = """
    WITH RECURSIVE part AS (
        SELECT %(table)s::oid AS oid UNION SELECT i.inhrelid FROM part p
        JOIN pg_catalog.pg_class c ON c.oid = p.oid AND c.relkind = 'p'
        JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
    ), number AS (
        SELECT a.attrelid, a.attnum, a.attname, t.oid AS type FROM part p
        JOIN pg_catalog.pg_class c ON c.oid = p.oid AND (c.relkind <> 'p' OR c.oid = %(table)s)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attname = ANY (%(columns)s::text[]::name[])
    ), base AS (
        SELECT type AS of, type FROM number UNION
        SELECT b.of, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype = 'd'
    ), used AS (
        SELECT n.*, d.objid AS sequence FROM number n JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
            AND d.refobjid = n.attrelid AND d.refobjsubid = n.attnum AND d.deptype = 'i'
        UNION SELECT n.*, p.refobjid FROM number n
            JOIN pg_catalog.pg_attrdef d ON d.adrelid = n.attrelid AND d.adnum = n.attnum
            JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
            AND p.refclassid = 'pg_catalog.pg_class'::regclass
        WHERE d.adbin::text ~ ':funcid 1574 '
            AND d.adbin::text !~ '\\{(?!(FUNCEXPR|CONST|RELABELTYPE|COERCETODOMAIN)\\M)[A-Z]'
            AND NOT EXISTS (SELECT FROM pg_catalog.regexp_matches(d.adbin::text, ':funcid (\\d+)', 'g') f
                WHERE f[1] NOT IN ('1574', '480', '714', '1781'))
    )
    SELECT q.seqrelid, sn.nspname, s.relname, q.seqincrement, q.seqmin, q.seqmax,
        pg_catalog.pg_has_role(s.relowner, 'USAGE'), pg_catalog.format('%%I.%%I', sn.nspname, s.relname),
        u.attrelid <> %(table)s, n.nspname, c.relname, u.attname
    FROM used u JOIN pg_catalog.pg_sequence q ON q.seqrelid = u.sequence
        JOIN pg_catalog.pg_class s ON s.oid = q.seqrelid JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
        JOIN pg_catalog.pg_class c ON c.oid = u.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE EXISTS (SELECT FROM base b WHERE b.of = u.type AND b.type IN (21, 23, 20, 1700))
        AND NOT EXISTS (SELECT FROM used w WHERE u.attrelid <> %(table)s AND w.attrelid = %(table)s
            AND w.attname = u.attname AND w.sequence = u.sequence)
    ORDER BY q.seqrelid, u.attrelid, u.attnum
"""

# Whether `_FIND` can find anything: to plan it takes longer than the COPY of a small day, and few tables have such a
# column. A column has a default of its own, or is an identity column; partitions may have others.
_HAS_ANY = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = %(table)s
            AND a.attname = ANY (%(columns)s::text[]::name[]) AND (a.atthasdef OR a.attidentity <> ''))
        OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = %(table)s AND c.relkind = 'p')
"""

# Below PostgreSQL's default of deadlock_timeout, 1 s.
_PATIENCE = "500ms"
# This many numbers are drawn in less than a second. No session draws as many between the two halves of one statement.
_MOST_DRAWN = 100_000
_MOST_ATTEMPTS = 3


@dataclass(frozen=True)
class NumberColumn:
    """A column that takes its numbers from a sequence.

    Attributes:
        schema: of the table.
        table: the target, or a partition of it.
        is_of_part: it is a partition.
        name: of the column.
    """

    schema: str
    table: str
    is_of_part: bool
    name: str


@dataclass(frozen=True)
class NumberSequence:
    """A sequence, and the columns of a table that take numbers from it.

    Attributes:
        oid: its oid.
        schema: its schema.
        name: its name.
        increment: from one number to the next; below 0, it descends.
        lowest: the least number that it gives.
        highest: the greatest number that it gives.
        is_owned: the role is an owner.
        as_sql: its qualified name, quoted where necessary.
        columns: those that take numbers from it.
    """

    oid: int
    schema: str
    name: str
    increment: int
    lowest: int
    highest: int
    is_owned: bool
    as_sql: str
    columns: tuple[NumberColumn, ...] = ()

    def __str__(self) -> str:
        """Return the qualified name for a person."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name, quoted for SQL."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Reached:
    """Of the loaded values that a sequence can give, the one that it reaches last."""

    sequence: NumberSequence
    value: int

    def numbers_to_skip(self, next_number: int) -> int:
        """Return how many numbers a sequence would give up to the value; 0 if it has passed the value."""
        return max(0, (self.value - next_number) // self.sequence.increment + 1)


@dataclass(frozen=True)
class Behind:
    """A sequence that will give numbers which rows have.

    Attributes:
        reached: the loaded value.
        next_number: that it gives next.
    """

    reached: Reached
    next_number: int

    @property
    def last(self) -> int:
        """The last number that it has to skip."""
        skipped = self.reached.numbers_to_skip(self.next_number)
        return self.next_number + (skipped - 1) * self.reached.sequence.increment

    @property
    def restart(self) -> int | None:
        """The number with which it may go on; None if it has none left."""
        sequence = self.reached.sequence
        number = self.last + sequence.increment
        return number if sequence.lowest <= number <= sequence.highest else None

    @property
    def notice(self) -> Notice:
        """The warning, with the SQL that moves the sequence."""
        sequence = self.reached.sequence
        columns = ", ".join(f"{one.schema}.{one.table}.{one.name}" for one in sequence.columns)
        if self.restart is None:
            name = sequence.as_sql.replace("'", "''")
            statement = f"SELECT setval('{name}', {self.last})"
        else:
            statement = f"ALTER SEQUENCE {sequence.as_sql} RESTART WITH {self.restart}"
        return Notice(
            "SequenceBehind",
            f"{columns}: the loaded values reach {self.reached.value}, and the sequence {sequence} goes on with"
            f" {self.next_number}, so it will give numbers again; run: {statement}",
        )


def find_sequences(cursor: Cursor, table: Table, columns: Sequence[str]) -> tuple[NumberSequence, ...]:
    """Find the sequences from which columns of a table, or of its partitions, take numbers by default.

    Args:
        cursor: in any transaction.
        table: the table.
        columns: those for which a file has values.
    """
    asked = {"table": table.oid, "columns": list(columns)}
    cursor.execute(_HAS_ANY, asked)
    if cursor.fetchone() != (True,):
        return ()
    cursor.execute(_FIND, asked)
    found: dict[NumberSequence, list[NumberColumn]] = defaultdict(list)
    for row in cursor.fetchall():
        is_of_part, schema, name, column = row[8:]
        found[NumberSequence(*row[:8])].append(NumberColumn(schema, name, is_of_part, column))
    return tuple(replace(sequence, columns=tuple(used_by)) for sequence, used_by in found.items())


def find_reached(
    cursor: Cursor, table: Table, sequences: Sequence[NumberSequence], within: Window | None
) -> tuple[Reached, ...]:
    """Find how far the rows that this transaction has loaded reach in sequences.

    Args:
        cursor: in the load's transaction, outside savepoints, before its chunks are compressed. The role can read whole
            rows of the table.
        table: the target.
        sequences: those of its columns.
        within: the day, if all rows are in it, so that only the day is searched; None: they may be elsewhere.
    """
    is_within = sql.SQL("true") if within is None else inside(table, within)
    whole: list[sql.Composable] = [table.own_rows]
    if table.hypertable_id is not None:
        whole = [sql.SQL("ONLY {}").format(c.identifier) for c in written_chunks(cursor, table)]
    own = sql.SQL("{} AND {}").format(OWN_ROWS, is_within)
    found = []
    for sequence in sequences:
        parts = []
        for column in sequence.columns:
            relations = [sql.Identifier(column.schema, column.table)] if column.is_of_part else whole
            parts += [_values(column, relation, own) for relation in relations]
        found.append(_furthest(cursor, sequence, parts))
    return tuple(reached for reached in found if reached is not None)


def find_reached_in_copy(
    cursor: Cursor, copy: sql.Identifier, sequences: Sequence[NumberSequence]
) -> tuple[Reached, ...]:
    """Find how far the rows of a copy of the table reach in the sequences of the table.

    Args:
        cursor: in any transaction. The role can read the copy.
        copy: holds the rows that are to be loaded. It has no partitions, so their own sequences are left out.
        sequences: those of the table's columns.
    """
    found = [
        _furthest(
            cursor,
            sequence,
            [_values(column, copy, sql.SQL("true")) for column in sequence.columns if not column.is_of_part],
        )
        for sequence in sequences
    ]
    return tuple(reached for reached in found if reached is not None)


def _values(column: NumberColumn, relation: sql.Composable, condition: sql.Composable) -> sql.Composed:
    return sql.SQL("SELECT {} AS n FROM {} WHERE {}").format(sql.Identifier(column.name), relation, condition)


def _furthest(cursor: Cursor, sequence: NumberSequence, parts: Sequence[sql.Composable]) -> Reached | None:
    """Find, of the values that queries return, the one that a sequence reaches last."""
    if not parts:
        return None
    query = sql.SQL(
        "SELECT pg_catalog.{}(n) FROM ({}) own WHERE n OPERATOR(pg_catalog.>=) {} AND n OPERATOR(pg_catalog.<=) {}"
    ).format(
        sql.SQL("max" if sequence.increment > 0 else "min"),
        sql.SQL(" UNION ALL ").join(parts),
        sql.Literal(sequence.lowest),
        sql.Literal(sequence.highest),
    )
    cursor.execute(by_users_path(query))
    ((value,),) = cursor.fetchall()
    # A numeric may have a fraction.
    return None if value is None else Reached(sequence, int(value))


def find_behind(cursor: Cursor, reached: Sequence[Reached]) -> tuple[Behind, ...]:
    """Find the sequences that will give numbers of loaded rows again.

    Args:
        cursor: in any transaction. The role has SELECT on the sequences.
        reached: how far the rows reach.
    """
    found = (_behind(cursor, one) for one in reached)
    return tuple(behind for behind in found if behind is not None)


def advance(cursor: Cursor, reached: Sequence[Reached]) -> None:
    """Move sequences past the loaded values, never back. Call this last before the COMMIT.

    Args:
        cursor: in the load's transaction. The role owns the sequences, or has SELECT and UPDATE on them.
        reached: how far the rows reach.

    Raises:
        TargetLocked: other sessions kept moving a sequence.
    """
    for one in reached:
        if _behind(cursor, one) is None:
            continue
        # Against other restores, which may skip numbers of the same sequence.
        cursor.execute(
            "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))",
            (f"restore-chunk\nsequence\n{one.sequence.oid}",),
        )
        if not (one.sequence.is_owned and _restart(cursor, one)):
            _skip(cursor, one)


def _behind(cursor: Cursor, reached: Reached) -> Behind | None:
    sequence = reached.sequence
    cursor.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sequence.identifier))
    ((last, is_called),) = cursor.fetchall()
    next_number = last + sequence.increment if is_called else last
    return Behind(reached, next_number) if reached.numbers_to_skip(next_number) else None


def _restart(cursor: Cursor, reached: Reached) -> bool:
    """Restart a sequence under a lock, and say whether it is past the value now."""
    sequence = reached.sequence
    with savepoint(cursor, "restart a sequence") as step, local_settings(cursor, {"lock_timeout": _PATIENCE}):
        # It changes nothing, and locks the sequence: LOCK TABLE takes none.
        alter = sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}")
        cursor.execute(by_users_path(alter.format(sequence.identifier, sql.Literal(sequence.increment))))
        behind = _behind(cursor, reached)
        if behind is not None and behind.restart is None:
            step.roll_back()
        if behind is not None:
            alter = sql.SQL("ALTER SEQUENCE {} RESTART WITH {}")
            cursor.execute(by_users_path(alter.format(sequence.identifier, sql.Literal(behind.restart))))
    return not step.was_rolled_back


def _skip(cursor: Cursor, reached: Reached) -> None:
    sequence = reached.sequence
    for _ in range(_MOST_ATTEMPTS):
        behind = _behind(cursor, reached)
        if behind is None:
            return
        numbers = reached.numbers_to_skip(behind.next_number)
        # In a savepoint: if others draw at the same time, the sequence may come to its end.
        with savepoint(cursor, "skip numbers") as step:
            if numbers <= _MOST_DRAWN:
                cursor.execute(
                    "SELECT count(pg_catalog.nextval(%s::oid::regclass)) FROM pg_catalog.generate_series(1, %s)",
                    (sequence.oid, numbers),
                )
            else:
                is_before = sql.SQL("last_value < {}" if sequence.increment > 0 else "last_value > {}")
                cursor.execute(
                    sql.SQL("SELECT pg_catalog.setval({}::oid::regclass, {last}) FROM {} WHERE {}").format(
                        sql.Literal(sequence.oid),
                        sequence.identifier,
                        is_before.format(sql.Literal(behind.last)),
                        last=sql.Literal(behind.last),
                    )
                )
        if step.error is not None and _behind(cursor, reached) is not None:
            raise step.error
    if _behind(cursor, reached) is not None:
        raise TargetLocked(f"other sessions kept moving the sequence {sequence}")
