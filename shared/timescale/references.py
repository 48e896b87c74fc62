"""Foreign keys that refer to the target, and the rows of other tables that a DELETE of the day's rows changes.

ON DELETE CASCADE, SET NULL and SET DEFAULT silently change rows of the referring table, and then rows of tables that
refer to that table. PostgreSQL does this by triggers on the referenced table (ri_triggers.c), so a key counts if these
triggers fire. The rows are found by a query, as PostgreSQL finds them: by the key's own operators and collation. The
query reads a plain table by ONLY, and a hypertable or a partitioned table with all its parts.

Chunks and partitions have a copy of each foreign key that refers to their table, with `conparentid`. A chunk of a
referring hypertable has one too, without it (both seen on 2.24 - 2.29).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from psycopg2 import sql

from shared.model.results import ReferenceAction, ReferringRows
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.table import Table, inside, within
from shared.timescale.triggers import fires

# `confdeltype` and `confupdtype` of pg_constraint.
_ACTIONS: Mapping[str, ReferenceAction] = {
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
    "r": "RESTRICT",
    "a": "NO ACTION",
}
# PostgreSQL refuses to remove the row, at once or at the COMMIT.
_REFUSING: tuple[ReferenceAction, ...] = ("RESTRICT", "NO ACTION")

# A table with its chunks or partitions.
_PARTS = (
    "WITH RECURSIVE part AS (SELECT %(table)s::oid AS oid"
    " UNION SELECT i.inhrelid FROM part p JOIN pg_catalog.pg_class c ON c.oid = p.oid"
    "  JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid"
    "  WHERE c.relkind = 'p' OR c.oid = ANY (%(hypertables)s::oid[]))"
)
# The keys that refer to a table or to a part of it. A copy for a part counts only if it is not a copy of a key to a
# table that is listed as well. `kin` is a key with its copies. 8 and 16 in `tgtype` are DELETE and UPDATE; 1644 and
# 1645 are RI_FKey_check_ins and RI_FKey_check_upd (pg_proc.dat), the triggers of the referring side, since a table may
# refer to itself. `confdelsetcols` is new in PostgreSQL 15. At the end, the copy that a referring hypertable's chunk
# has of the hypertable's key is left out.
_KEYS = sql.SQL(
    "{parts},"
    " key AS (SELECT k.* FROM part p JOIN pg_catalog.pg_constraint k ON k.confrelid = p.oid AND k.contype = 'f'"
    "  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint above JOIN part q ON q.oid = above.confrelid"
    "   WHERE above.oid = k.conparentid)),"
    " kin AS (SELECT oid AS key, oid, confrelid FROM key"
    "  UNION SELECT k.key, c.oid, c.confrelid FROM kin k JOIN pg_catalog.pg_constraint c ON c.conparentid = k.oid),"
    " fires AS ("
    "  SELECT k.key, bool_or(t.tgtype & 8 <> 0) AS on_delete, bool_or(t.tgtype & 16 <> 0) AS on_update"
    "  FROM kin k JOIN pg_catalog.pg_trigger t ON t.tgconstraint = k.oid AND t.tgrelid = k.confrelid"
    "  AND t.tgfoid NOT IN (1644, 1645) WHERE {fires} GROUP BY k.key),"
    " named AS (SELECT key.*, (WITH RECURSIVE up AS (SELECT key.conname AS name, key.conparentid AS above"
    "   UNION ALL SELECT a.conname, a.conparentid FROM up JOIN pg_catalog.pg_constraint a ON a.oid = up.above)"
    "   SELECT name FROM up WHERE above = 0) AS own_name,"
    "  ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(key.conkey) WITH ORDINALITY u(n, i)"
    "   JOIN pg_catalog.pg_attribute a ON a.attrelid = key.conrelid AND a.attnum = u.n ORDER BY u.i) AS columns"
    "  FROM key)"
    " SELECT k.own_name, c.oid, n.oid, n.nspname, c.relname,"
    "  c.relkind = 'p' OR c.oid = ANY (%(hypertables)s::oid[]), k.confdeltype, k.confupdtype, f.on_delete, f.on_update,"
    "  ARRAY(SELECT a.attname::text FROM pg_catalog.jsonb_array_elements_text("
    "   CASE pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(k)->'confdelsetcols')"
    "   WHEN 'array' THEN pg_catalog.to_jsonb(k)->'confdelsetcols' ELSE '[]' END) s(n)"
    "   JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = s.n::int2),"
    "  CASE WHEN k.confrelid <> %(table)s THEN ARRAY(SELECT s.confrelid FROM kin s WHERE s.key = k.oid) END,"
    "  (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('referenced', x.attname, 'referring', y.attname,"
    "    'operator', pg_catalog.format('OPERATOR(%%I.%%s)', s.nspname, o.oprname),"
    "    'referenced_cast', CASE WHEN x.atttypid <> o.oprleft AND l.typtype <> 'p'"
    "     THEN pg_catalog.format('::%%I.%%I', ln.nspname, l.typname) END,"
    "    'referring_cast', CASE WHEN y.atttypid <> o.oprright AND r.typtype <> 'p'"
    "     THEN pg_catalog.format('::%%I.%%I', rn.nspname, r.typname) END,"
    "    'collation', CASE WHEN w.oid IS NOT NULL"
    "     THEN pg_catalog.format(' COLLATE %%I.%%I', z.nspname, w.collname) END) ORDER BY u.i)"
    "   FROM ROWS FROM (pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.conpfeqop))"
    "    WITH ORDINALITY u(referenced, referring, operator, i)"
    "   JOIN pg_catalog.pg_attribute x ON x.attrelid = k.confrelid AND x.attnum = u.referenced"
    "   JOIN pg_catalog.pg_attribute y ON y.attrelid = k.conrelid AND y.attnum = u.referring"
    "   JOIN pg_catalog.pg_operator o ON o.oid = u.operator"
    "   JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace"
    "   JOIN pg_catalog.pg_type l ON l.oid = o.oprleft JOIN pg_catalog.pg_namespace ln ON ln.oid = l.typnamespace"
    "   JOIN pg_catalog.pg_type r ON r.oid = o.oprright JOIN pg_catalog.pg_namespace rn ON rn.oid = r.typnamespace"
    "   LEFT JOIN pg_catalog.pg_collation w ON w.oid = x.attcollation"
    "   LEFT JOIN pg_catalog.pg_namespace z ON z.oid = w.collnamespace)"
    " FROM named k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN fires f ON f.key = k.oid"
    " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN named h ON h.conrelid = i.inhparent"
    "  WHERE i.inhrelid = k.conrelid AND i.inhparent = ANY (%(hypertables)s::oid[])"
    "  AND (h.confrelid, h.confkey, h.columns, h.confdeltype, h.confupdtype)"
    "   = (k.confrelid, k.confkey, k.columns, k.confdeltype, k.confupdtype))"
    " ORDER BY n.nspname, c.relname, k.own_name"
).format(parts=sql.SQL(_PARTS), fires=fires(sql.Identifier("t", "tgenabled")))
_FAMILY = sql.SQL(
    "{parts}, above AS (SELECT %(table)s::oid AS oid UNION SELECT i.inhparent FROM above a"
    " JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid JOIN pg_catalog.pg_class c ON c.oid = i.inhparent"
    " WHERE c.relkind = 'p') SELECT ARRAY(SELECT oid FROM part), ARRAY(SELECT oid FROM above)"
).format(parts=sql.SQL(_PARTS))

_HYPERTABLES = (
    "SELECT c.oid FROM _timescaledb_catalog.hypertable h JOIN pg_catalog.pg_namespace n ON n.nspname = h.schema_name"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = h.table_name"
)


@dataclass(frozen=True)
class Referring:
    """A table with a foreign key.

    Attributes:
        oid: its oid.
        schema_oid: its schema's oid.
        schema: its schema.
        name: its name.
        has_parts: it is a hypertable or a partitioned table.
    """

    oid: int
    schema_oid: int
    schema: str
    name: str
    has_parts: bool

    def __str__(self) -> str:
        """Return the qualified name for a person."""
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> sql.Composable:
        """What a query reads for the rows that the key is about."""
        return sql.SQL("{}{}").format(
            sql.SQL("" if self.has_parts else "ONLY "), sql.Identifier(self.schema, self.name)
        )


class KeyName(NamedTuple):
    """The name of a foreign key: that of its table, with the schema, and that of the constraint."""

    table: str
    constraint: str


@dataclass(frozen=True)
class _KeyColumn:
    """A pair of columns of a foreign key, and how PostgreSQL compares them. What is SQL comes from the catalogue."""

    referenced: str
    referring: str
    operator: str
    referenced_cast: str | None
    referring_cast: str | None
    collation: str | None


@dataclass(frozen=True)
class _ForeignKey:
    """A foreign key.

    Attributes:
        name: of the constraint. A copy for a chunk or partition has the name of the original.
        table: the table that has it.
        on_delete: what happens to its rows if those that they refer to are deleted; None: no trigger fires.
        on_update: what happens to them if the referenced columns change; None: no trigger fires.
        set_by_delete: its columns that ON DELETE SET NULL or SET DEFAULT changes.
        parts: the chunks or partitions to which it refers; None if it refers to the whole table.
        columns: its columns.
    """

    name: str
    table: Referring
    on_delete: ReferenceAction | None
    on_update: ReferenceAction | None
    set_by_delete: frozenset[str]
    parts: tuple[int, ...] | None
    columns: tuple[_KeyColumn, ...]

    @property
    def full_name(self) -> KeyName:
        """Its name for a person."""
        return KeyName(str(self.table), self.name)


@dataclass(frozen=True)
class _Change:
    """Rows of a table that are deleted, or of which some columns change.

    Attributes:
        table: oid of the table.
        columns: those that change; None if the rows are deleted.
        is_day: they are the day's own rows, the first change of all.
    """

    table: int
    columns: frozenset[str] | None = None
    is_day: bool = False


@dataclass(frozen=True)
class _Step:
    """A foreign key by which one change leads to another, or which refuses it."""

    cause: _Change
    key: _ForeignKey
    action: ReferenceAction
    effect: _Change | None


@dataclass(frozen=True)
class References:
    """The foreign keys by which a DELETE of the day's rows reaches other rows, directly or in several steps.

    Attributes:
        steps: each way from one table to the next.
        own: oids of tables that may hold rows of the day: the target, its parts, and those of which it is a part.
        parts: oids of the target and its parts.
    """

    steps: tuple[_Step, ...] = ()
    own: frozenset[int] = field(default=frozenset(), repr=False)
    parts: tuple[int, ...] = field(default=(), repr=False)

    @property
    def may_refuse(self) -> bool:
        """Whether a key may keep rows from being deleted."""
        return any(step.effect is None for step in self.steps)

    def refusing_action(self, key: KeyName) -> ReferenceAction | None:
        """Return the action by which a key keeps rows from being deleted; None if it does not."""
        return next((step.action for step in self.steps if step.effect is None and step.key.full_name == key), None)

    @property
    def changed(self) -> tuple[Referring, ...]:
        """The tables whose rows may be changed, each once."""
        return tuple(dict.fromkeys(step.key.table for step in self.steps if step.effect is not None))


def find_references(cursor: Cursor, table: Table) -> References:
    """Find the foreign keys by which a DELETE of rows of a table reaches other rows.

    Args:
        cursor: in any transaction.
        table: the target.
    """
    hypertables: list[int] = []
    if table.timescaledb is not None:
        cursor.execute(_HYPERTABLES)
        hypertables = [oid for (oid,) in cursor.fetchall()]
    keys: dict[int, list[_ForeignKey]] = {}
    day = _Change(table.oid, is_day=True)
    steps: list[_Step] = []
    known, ahead = {day}, [day]
    while ahead:
        change = ahead.pop(0)
        if change.table not in keys:
            keys[change.table] = _keys_to(cursor, change.table, hypertables)
        for key in keys[change.table]:
            step = _step(change, key)
            if step is None:
                continue
            steps.append(step)
            if step.effect is not None and step.effect not in known:
                known.add(step.effect)
                ahead.append(step.effect)
    if not steps:
        return References()
    parts, above = _family(cursor, table.oid, hypertables)
    return References(tuple(steps), frozenset((*parts, *above)), parts)


def count_changes(cursor: Cursor, table: Table, window: Window, references: References) -> tuple[ReferringRows, ...]:
    """Count the rows of other days and of other tables that a DELETE of the day's rows would change.

    Args:
        cursor: in any transaction. The role can read the tables (`to_follow` in privileges.py).
        table: the target.
        window: the day.
        references: the foreign keys that refer to it.

    Returns:
        One entry for each foreign key by which at least one row is reached.
    """
    return _count(cursor, table, window, references, lambda step: step.effect is not None)


def count_refusing(
    cursor: Cursor, table: Table, window: Window, references: References, key: KeyName | None = None
) -> tuple[ReferringRows, ...]:
    """Count the rows that keep the day's rows from being deleted by a RESTRICT or NO ACTION key, or by all of them."""

    def is_wanted(step: _Step) -> bool:
        return step.effect is None and key in (None, step.key.full_name)

    return _count(cursor, table, window, references, is_wanted)


def find_key(cursor: Cursor, schema: str, table: str, constraint: str) -> KeyName | None:
    """Find a foreign key by the names in an error of the server's.

    Args:
        cursor: in any transaction.
        schema: of the table that has it.
        table: the table that has it, or a part of it.
        constraint: the constraint, which may be a copy for a chunk or partition.

    Returns:
        The name of the original; None if there is no such key.
    """
    cursor.execute(
        "WITH RECURSIVE up AS (SELECT k.conname, k.conrelid, k.conparentid"
        "  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
        "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        "  WHERE k.contype = 'f' AND n.nspname = %s AND c.relname = %s AND k.conname = %s"
        " UNION ALL SELECT a.conname, a.conrelid, a.conparentid FROM up"
        "  JOIN pg_catalog.pg_constraint a ON a.oid = up.conparentid)"
        " SELECT pg_catalog.format('%%s.%%s', n.nspname, c.relname), up.conname FROM up"
        " JOIN pg_catalog.pg_class c ON c.oid = up.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE up.conparentid = 0",
        (schema, table, constraint),
    )
    row = cursor.fetchone()
    return None if row is None else KeyName(*row)


def _keys_to(cursor: Cursor, table: int, hypertables: Sequence[int]) -> list[_ForeignKey]:
    cursor.execute(_KEYS, {"table": table, "hypertables": list(hypertables)})
    return [_key(*row) for row in cursor.fetchall()]


def _key(
    name: str,
    oid: int,
    schema_oid: int,
    schema: str,
    table: str,
    has_parts: bool,  # noqa: FBT001
    on_delete: str,
    on_update: str,
    fires_on_delete: bool,  # noqa: FBT001
    fires_on_update: bool,  # noqa: FBT001
    set_by_delete: Sequence[str],
    parts: Sequence[int] | None,
    columns: Sequence[Mapping[str, Any]],
) -> _ForeignKey:
    pairs = tuple(_KeyColumn(**column) for column in columns)
    return _ForeignKey(
        name,
        Referring(oid, schema_oid, schema, table, has_parts),
        _ACTIONS[on_delete] if fires_on_delete else None,
        _ACTIONS[on_update] if fires_on_update else None,
        frozenset(set_by_delete or (pair.referring for pair in pairs)),
        None if parts is None else tuple(parts),
        pairs,
    )


def _step(change: _Change, key: _ForeignKey) -> _Step | None:
    """Return the next change that a change causes through a key; None: none."""
    if change.columns is None:
        action, columns = key.on_delete, key.set_by_delete
    else:
        is_meant = any(pair.referenced in change.columns for pair in key.columns)
        action = key.on_update if is_meant else None
        columns = frozenset(pair.referring for pair in key.columns)
    if action is None:
        return None
    if action in _REFUSING:
        return _Step(change, key, action, None)
    is_deleted = action == "CASCADE" and change.columns is None
    return _Step(change, key, action, _Change(key.table.oid, None if is_deleted else columns))


def _family(cursor: Cursor, table: int, hypertables: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a table with its chunks or partitions, and the partitioned tables of which it is a part."""
    cursor.execute(_FAMILY, {"table": table, "hypertables": list(hypertables)})
    ((parts, above),) = cursor.fetchall()
    return tuple(parts), tuple(above)


def _count(
    cursor: Cursor, table: Table, window: Window, references: References, is_wanted: Callable[[_Step], bool]
) -> tuple[ReferringRows, ...]:
    steps = [step for step in references.steps if is_wanted(step)]
    if not steps:
        return ()
    query = _Query(table, window, references)
    cursor.execute(by_users_path(query.counts(steps)))
    row = cursor.fetchone() or ()
    rows: dict[tuple[str, str, ReferenceAction], int] = {}
    for step, count in zip(steps, row, strict=True):
        place = (*step.key.full_name, step.action)
        rows[place] = rows.get(place, 0) + count
    return tuple(ReferringRows(*place, count) for place, count in rows.items() if count)


class _Query:
    """Writes the query that follows the foreign keys.

    Each change becomes a part of a WITH clause, with those columns of its rows to which keys refer. If the keys form a
    circle, as in a tree, one recursive part looks the rows up one by one. Otherwise each part is a set, and PostgreSQL
    chooses how to join it.

    Args:
        table: the target.
        window: the day.
        references: the foreign keys that refer to it.
    """

    def __init__(self, table: Table, window: Window, references: References) -> None:
        self._table = table
        self._window = window
        self._references = references
        steps = [step for step in references.steps if step.effect is not None]
        # The changes that cause further changes.
        causes = list(dict.fromkeys(step.cause for step in references.steps))
        self._number = {change: number for number, change in enumerate(causes)}
        self._steps = [step for step in steps if step.effect in self._number]
        self._columns = {change: _needed(change, references.steps) for change in causes}
        self._tables = {step.effect: step.key.table for step in self._steps if step.effect is not None}
        before: dict[_Change, set[_Change]] = {change: set() for change in causes}
        for step in self._steps:
            if step.effect is not None:
                before[step.effect].add(step.cause)
        try:
            self._order = list(TopologicalSorter(before).static_order())
            self._is_recursive = False
        except CycleError:
            self._order = causes
            self._is_recursive = True

    def counts(self, steps: Sequence[_Step]) -> sql.Composed:
        """Write the query of the number of rows that each step reaches."""
        counts = [sql.SQL("(SELECT pg_catalog.count(*) {})").format(self._reached(step)) for step in steps]
        parts = self._recursive_parts() if self._is_recursive else self._parts()
        return sql.SQL("WITH RECURSIVE {} SELECT {}").format(sql.SQL(", ").join(parts), sql.SQL(", ").join(counts))

    def _parts(self) -> Iterator[sql.Composed]:
        for change in self._order:
            rows = [self._day()] if change.is_day else [self._selected(step) for step in self._steps_to(change)]
            yield sql.SQL("{} AS ({})").format(self._name(change), sql.SQL(" UNION ").join(rows))

    def _recursive_parts(self) -> Iterator[sql.Composed]:
        day, later = self._order[0], self._order[1:]
        yield sql.SQL("{} AS ({})").format(self._name(day), self._day())
        first = [self._in_all(step, self._reached(step)) for step in self._steps if step.cause.is_day]
        further = [self._in_all(step, self._looked_up(step)) for step in self._steps if not step.cause.is_day]
        columns = [sql.Identifier(name) for name in self._all_columns().values()]
        yield sql.SQL("reached ({}) AS ({} UNION SELECT n.* FROM reached s CROSS JOIN LATERAL ({}) n)").format(
            sql.SQL(", ").join([sql.Identifier("change"), *columns]),
            sql.SQL(" UNION ").join(first),
            sql.SQL(" UNION ALL ").join(further),
        )
        for change in later:
            names = [
                sql.SQL("{} AS {}").format(sql.Identifier(self._all_columns()[change, name]), sql.Identifier(name))
                for name in self._columns[change]
            ]
            yield sql.SQL("{} AS (SELECT {} FROM reached WHERE change OPERATOR(pg_catalog.=) {})").format(
                self._name(change), sql.SQL(", ").join(names), sql.Literal(self._number[change])
            )

    def _day(self) -> sql.Composed:
        change = next(iter(self._number))
        return sql.SQL("SELECT {} FROM {} r WHERE {}").format(
            _listed(self._columns[change]), self._table.own_rows, inside(self._table, self._window)
        )

    def _steps_to(self, change: _Change) -> list[_Step]:
        return [step for step in self._steps if step.effect == change]

    def _selected(self, step: _Step) -> sql.Composed:
        columns = self._columns[step.effect] if step.effect is not None else ()
        return sql.SQL("SELECT {} {}").format(_listed(columns), self._reached(step))

    def _reached(self, step: _Step) -> sql.Composed:
        """Write FROM and WHERE of the rows that a step reaches, as a set."""
        return sql.SQL("FROM {} r WHERE EXISTS (SELECT FROM {} s WHERE {}) AND {}").format(
            step.key.table.rows, self._name(step.cause), _matches(step, {}), self._is_other(step.key.table)
        )

    def _looked_up(self, step: _Step) -> sql.Composed:
        """Write FROM and WHERE of the rows that a step reaches from one row `s` of the recursion."""
        names = {name: own for (change, name), own in self._all_columns().items() if change == step.cause}
        return sql.SQL("FROM {} r WHERE s.change OPERATOR(pg_catalog.=) {} AND {} AND {}").format(
            step.key.table.rows,
            sql.Literal(self._number[step.cause]),
            _matches(step, names),
            self._is_other(step.key.table),
        )

    def _in_all(self, step: _Step, rows: sql.Composed) -> sql.Composed:
        """Select the columns of all changes; those of the others are null, of the column's own type and collation."""
        selected = []
        for change, name in self._all_columns():
            if change == step.effect:
                selected.append(sql.Composed([sql.Identifier("r", name)]))
            else:
                rows_of = self._tables[change].rows
                selected.append(sql.SQL("(SELECT x.{} FROM {} x WHERE false)").format(sql.Identifier(name), rows_of))
        number = sql.Literal(None if step.effect is None else self._number[step.effect])
        return sql.SQL("SELECT {}, {} {}").format(number, sql.SQL(", ").join(selected), rows)

    def _all_columns(self) -> dict[tuple[_Change, str], str]:
        """Return the columns of the recursion by what they are of, without those of the day's rows."""
        pairs = [(change, name) for change in self._order if not change.is_day for name in self._columns[change]]
        return {pair: f"c{number}" for number, pair in enumerate(pairs)}

    def _is_other(self, table: Referring) -> sql.Composable:
        """Return the condition that a row `r` is not one of the day's, which are removed anyway."""
        if table.oid not in self._references.own:
            return sql.SQL("true")
        is_of_day = within(self._table, sql.Identifier("r", self._table.time_column or ""), self._window)
        parts = sql.SQL("{} AND ").format(_is_one_of(sql.Identifier("r", "tableoid"), self._references.parts))
        return sql.SQL("({}{}) IS NOT TRUE").format(sql.SQL("") if table.oid == self._table.oid else parts, is_of_day)

    def _name(self, change: _Change) -> sql.Identifier:
        return sql.Identifier(f"change_{self._number[change]}")


def _needed(change: _Change, steps: Collection[_Step]) -> tuple[str, ...]:
    """Return the columns of changed rows to which keys refer, and `tableoid` where a key refers to a part only."""
    mine = [step for step in steps if step.cause == change]
    names = [pair.referenced for step in mine for pair in step.key.columns]
    names += ["tableoid"] * any(step.key.parts is not None for step in mine)
    return tuple(dict.fromkeys(names))


def _matches(step: _Step, names: Mapping[str, str]) -> sql.Composed:
    """Write the condition that a row `r` refers to a row `s`."""
    conditions = [
        sql.SQL("s.{}{}{} {} r.{}{}").format(
            sql.Identifier(names.get(pair.referenced, pair.referenced)),
            trusted_sql(pair.referenced_cast or ""),
            trusted_sql(pair.collation or ""),
            trusted_sql(pair.operator),
            sql.Identifier(pair.referring),
            trusted_sql(pair.referring_cast or ""),
        )
        for pair in step.key.columns
    ]
    if step.key.parts is not None:
        name = sql.Identifier("s", names.get("tableoid", "tableoid"))
        conditions.append(_is_one_of(name, step.key.parts))
    return sql.SQL(" AND ").join(conditions)


def _is_one_of(oid: sql.Identifier, oids: Sequence[int]) -> sql.Composed:
    return sql.SQL("{} OPERATOR(pg_catalog.=) ANY ({}::pg_catalog.oid[])").format(oid, sql.Literal(list(oids)))


def _listed(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier("r", name) for name in columns)
