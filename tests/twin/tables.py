"""Random tables: a target of any kind, and its twin, a plain table of the same columns, keys and triggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tests.twin.draw import Draw
from tests.twin.values import (
    BINARY_TYPES,
    DAY_SECONDS,
    INSIDE,
    INTEGER,
    NEAR,
    OTHER_TYPES,
    TEXT,
    TIMES,
    TIMESTAMPTZ,
    UUID_TIME,
    Time,
    Type,
)

Kind: TypeAlias = Literal["hypertable", "plain", "partitioned"]

# In all SQL here `@s@` stands for the schema, quoted, and `@t@` for the table.
NAMES = ("v", "V", "a b", 'q"t', "größe", "select", "x%y", "{}", "c,d", "1st", "e\nf", " g", "k" * 63, "dr", "n;", "é")
REFERS = " REFERENCES @s@.lookup"
FIRST_WITH_UUID = (2, 22)
PG_15, PG_18 = 150000, 180000


@dataclass(frozen=True)
class Server:
    """What a server can do."""

    postgresql: int
    timescaledb: tuple[int, int]
    is_community: bool


@dataclass(frozen=True)
class Column:
    """A column: its name, its type, and what else CREATE TABLE says of it.

    Attributes:
        is_numbered: it has a sequence, so that its twin's values differ where a file leaves it out.
    """

    name: str
    type: Type
    rest: str = ""
    is_generated: bool = False
    is_numbered: bool = False

    @property
    def sql(self) -> str:
        return f"{quoted(self.name)} {self.type.sql}{self.rest}"

    @property
    def is_key(self) -> bool:
        """Whether it can be part of a key."""
        return self.type.is_sortable and not self.is_generated and "DEFERRABLE" not in self.rest


@dataclass(frozen=True)
class Table:
    """A table, as SQL in the order in which it is run.

    Attributes:
        kind: what it is.
        time: the type of its time column; None: it has none.
        time_name: the time column's name.
        columns: the others.
        numbered_key: the columns of its key that have a sequence: a file has to have them.
        has_unique: it has a key, or another unique index.
        has_integer_now: TimescaleDB knows its unit of time.
        create: makes the table; so it does the twin.
        split: makes a hypertable of it; the twin stays plain.
        partitions: of a partitioned table and its twin.
        rows: go into the twin one by one, as far as it takes them, and from there into the table.
        at_first: the columns that rows have then.
        changes: of both.
        later: of the table alone, after its rows: what concerns chunks.
        late_rows: go into the twin and the table one by one.
        child: makes a table that refers to it by a foreign key, and fills it; so it does for the twin.
        on_delete: what that key does where a row is deleted; None: there is no such table.
        jobs: make a continuous aggregate and a retention policy, of the table alone.
        bucket_hours: how long the buckets of the aggregate are, which is named `aggregate`; None: there is none.
        is_retained: it has a retention policy, which will drop the day or will not; None: it has none.
        like: makes a table that a staging table can be made like; its name is `like`.
        triggers: of both.
        effects: what the triggers do: "changes", "moves", "drops", "refuses", "logs".
    """

    kind: Kind
    time: Time | None
    time_name: str
    columns: tuple[Column, ...]
    numbered_key: tuple[str, ...] = ()
    has_unique: bool = False
    has_integer_now: bool = False
    create: str = ""
    split: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    at_first: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    late_rows: tuple[str, ...] = ()
    child: tuple[str, ...] = ()
    on_delete: str | None = None
    jobs: tuple[str, ...] = ()
    bucket_hours: int | None = None
    is_retained: bool | None = None
    like: str = ""
    triggers: tuple[str, ...] = ()
    effects: frozenset[str] = frozenset()

    @property
    def is_hypertable(self) -> bool:
        return self.kind == "hypertable"

    @property
    def is_compressed(self) -> bool:
        """Whether chunks of it are compressed before a restore."""
        return any("compress_chunk" in statement for statement in self.later)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in the table's order."""
        return (*self._time_names, *(column.name for column in self.columns))

    @property
    def writable(self) -> tuple[str, ...]:
        """The names of those that PostgreSQL does not compute."""
        return (*self._time_names, *(column.name for column in self.columns if not column.is_generated))

    @property
    def types(self) -> dict[str, str]:
        """The type of each column, as SQL."""
        time = {} if self.time is None else {self.time_name: self.time.sql}
        return time | {column.name: column.type.sql for column in self.columns}

    @property
    def _time_names(self) -> tuple[str, ...]:
        return () if self.time is None else (self.time_name,)

    def day_column(self, named: str | None) -> tuple[str, Time] | None:
        """Return the column by which the day is found if the request names one or none; None: there is none."""
        if self.time is not None and (self.is_hypertable or named == self.time_name):
            return self.time_name, self.time
        times = [(column.name, DAY_TYPES[column.type.sql]) for column in self.columns if column.type.sql in DAY_TYPES]
        if self.time is not None and self.time.kind not in ("integer", "uuid"):
            times.append((self.time_name, self.time))
        if named is not None:
            times = [(name, time) for name, time in times if name == named]
        is_guess = named is None and self.kind == "partitioned"
        if len(times) != 1 or (is_guess and times[0][0] != self.time_name):
            # The ranges are of another column.
            return None
        return times[0]


# The types of other columns than the time column in which a day can be found.
DAY_TYPES = {
    "date": Time("date", "date"),
    "timestamptz": TIMESTAMPTZ,
    "timestamp(0)": Time("timestamp", "timestamp(0)"),
}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return " E'" + text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r") + "'"


def moment(draw: Draw, *, outside: int) -> int:
    """Draw microseconds from the day's start on: of the day, or with so many percent of another day."""
    if draw.chance(outside):
        return draw.pick(*NEAR)
    return draw.pick(*INSIDE) if draw.chance(30) else draw.randrange(DAY_SECONDS * 1000 - 1000) * 1000


def time_text(draw: Draw, time: Time, *, outside: int) -> str:
    """Draw a time, or with few percent of those outside a UUID of another version."""
    text = time.text(moment(draw, outside=outside), draw.randrange(8))
    return text.replace("-7", "-4", 1) if time.kind == "uuid" and outside and draw.chance(10) else text


def draw_table(draw: Draw, server: Server) -> Table:
    """Draw a table, and the rows that it holds before a restore."""
    kind: Kind = draw.pick("plain", "hypertable", "hypertable", "hypertable", "hypertable", "partitioned")
    columns = _columns(draw, server)
    table = Table(kind, _time(draw, server, kind), draw.pick("ts", "ts", "Time Stamp", 'when"ever'), columns)
    table, keys = _with_keys(draw, server, table)
    late = columns[-1] if _can_be_added(columns, keys) and draw.chance(25) else None
    table = replace(table, create=_create(draw, table, [c for c in columns if c is not late], keys))
    if table.time is not None and table.is_hypertable:
        table = _with_chunks(draw, server, table, table.time, keys)
    elif table.time is not None and kind == "partitioned":
        table = replace(table, partitions=_partitions(table.time))
    first = replace(table, columns=tuple(column for column in columns if column is not late))
    rows = _rows(draw, first, draw.pick(0, 3, 6))
    changes = (
        "ALTER TABLE @s@.@t@ DROP COLUMN gone",
        *((f"ALTER TABLE @s@.@t@ ADD COLUMN {late.sql}",) if late else ()),
        *_indexes(draw, table),
    )
    table = replace(table, rows=rows, at_first=first.writable, changes=changes, like=_like(draw, table))
    table = replace(table, has_unique=table.has_unique or any("UNIQUE" in change for change in changes))
    if server.is_community and table.is_hypertable and table.time is not None:
        table = _with_jobs(draw, table, table.time)
    if table.later:
        table = replace(table, late_rows=_rows(draw, table, 2))
    return _with_triggers(draw, _with_child(draw, table, keys))


def _time(draw: Draw, server: Server, kind: Kind) -> Time | None:
    if kind == "plain" and draw.chance(10):
        return None
    if draw.chance(35):
        return TIMESTAMPTZ
    has_uuid = kind != "hypertable" or server.timescaledb >= FIRST_WITH_UUID
    times: tuple[Time, ...] = (*TIMES, UUID_TIME, UUID_TIME) if has_uuid else TIMES
    return draw.pick(*times)


def _columns(draw: Draw, server: Server) -> tuple[Column, ...]:
    types = (INTEGER, INTEGER, TEXT, TEXT, *BINARY_TYPES, *(OTHER_TYPES if draw.chance(50) else ()))
    columns: list[Column] = []
    for name in draw.sample(NAMES, draw.randint(1, 5)):
        column = Column(name, draw.pick(*types))
        columns.append(draw.pick(*_FORMS)(draw, server, column, columns) if draw.chance(45) else column)
    # A file has one column at least.
    return tuple(columns) if not columns[0].is_generated else (Column(columns[0].name, INTEGER), *columns[1:])


def _not_null(_draw: Draw, _server: Server, column: Column, _before: Sequence[Column]) -> Column:
    return replace(column, rest=" NOT NULL")


def _with_default(draw: Draw, _server: Server, column: Column, _before: Sequence[Column]) -> Column:
    value = f"{literal(draw.pick(*column.type.good))}::{column.type.sql}"
    return replace(column, rest=f" DEFAULT{value}{draw.pick('', ' NOT NULL')}")


def _generated(draw: Draw, server: Server, column: Column, before: Sequence[Column]) -> Column:
    how = draw.pick("STORED", "VIRTUAL") if server.postgresql >= PG_18 else "STORED"
    free = [source for source in before if not source.is_generated and not source.is_numbered]
    sources = [source for source in free if source.type in (INTEGER, TEXT)]
    source = draw.pick(*sources, None)
    type_ = INTEGER if source is None else source.type
    # A virtual one is computed when it is read, and must not fail then.
    value = "1 + 1" if source is None else f"{quoted(source.name)} % 7"
    if type_ is TEXT and source is not None:
        value = f"upper({quoted(source.name)})"
    return Column(column.name, type_, f" GENERATED ALWAYS AS ({value}) {how}", is_generated=True)


def _numbered(draw: Draw, _server: Server, column: Column, _before: Sequence[Column]) -> Column:
    how = draw.pick("GENERATED BY DEFAULT AS IDENTITY", "GENERATED ALWAYS AS IDENTITY")
    return Column(column.name, INTEGER, f" {how}", is_numbered=True)


def _checked(draw: Draw, _server: Server, column: Column, _before: Sequence[Column]) -> Column:
    name = quoted(column.name)
    if column.type is TEXT:
        return replace(
            column, rest=draw.pick(f" CHECK (length({name}) < 100)", ' COLLATE "C"', ' COLLATE "C" NOT NULL')
        )
    checks = (f" CHECK ({name} < 2147483647)", REFERS, f"{REFERS} DEFERRABLE INITIALLY DEFERRED")
    return Column(column.name, INTEGER, draw.pick(*checks))


_FORMS: tuple[Callable[[Draw, Server, Column, Sequence[Column]], Column], ...] = (
    *(_not_null, _not_null, _with_default, _with_default, _generated, _numbered, _checked),
)


def _with_keys(draw: Draw, server: Server, table: Table) -> tuple[Table, list[str]]:
    """Draw keys, and return them as SQL of CREATE TABLE."""
    numbered = [column.name for column in table.columns if column.is_numbered]
    able = [column.name for column in table.columns if column.is_key and not column.is_numbered]
    chosen = [] if table.time is None or (table.kind == "plain" and draw.chance(25)) else [table.time_name]
    if numbered and chosen and draw.chance(60):
        keys = [f"PRIMARY KEY ({quoted(numbered[0])}, {quoted(chosen[0])})"]
        return replace(table, numbered_key=(numbered[0],), has_unique=True), keys
    chosen += draw.some(able, 2)
    if not chosen or draw.chance(30):
        return table, []
    listed = ", ".join(map(quoted, chosen))
    forms = [
        *(f"PRIMARY KEY ({listed})", f"PRIMARY KEY ({listed})", f"UNIQUE ({listed})", f"UNIQUE ({listed})"),
        *([f"UNIQUE NULLS NOT DISTINCT ({listed})"] if server.postgresql >= PG_15 else []),
        f"EXCLUDE USING btree ({', '.join(f'{quoted(name)} WITH =' for name in chosen)})",
        *([f"UNIQUE ({listed}) DEFERRABLE INITIALLY DEFERRED"] if draw.chance(20) else []),
    ]
    return replace(table, has_unique=True), [draw.pick(*forms)]


def _can_be_added(columns: Sequence[Column], keys: Sequence[str]) -> bool:
    """Whether the last column can be added to a table that has rows."""
    column = columns[-1]
    has_value = "NOT NULL" not in column.rest or "DEFAULT" in column.rest
    is_in_key = any(quoted(column.name) in key for key in keys)
    return len(columns) > 1 and has_value and not (is_in_key or column.is_generated or column.is_numbered)


def _create(draw: Draw, table: Table, columns: Sequence[Column], keys: Sequence[str]) -> str:
    """Write CREATE TABLE, with a column that will be dropped."""
    parts = [column.sql for column in columns]
    if table.time is not None:
        not_null = " NOT NULL" if table.is_hypertable or draw.chance(60) else ""
        parts.insert(0, f"{quoted(table.time_name)} {table.time.sql}{not_null}")
    parts.insert(draw.randint(0, len(parts)), draw.pick("gone text DEFAULT 'x'", "gone int NOT NULL DEFAULT 3"))
    split = f" PARTITION BY RANGE ({quoted(table.time_name)})" if table.kind == "partitioned" else ""
    return f"CREATE TABLE @s@.@t@ ({', '.join([*parts, *keys])}){split}"


def _with_chunks(draw: Draw, server: Server, table: Table, time: Time, keys: Sequence[str]) -> Table:
    """Draw how a hypertable is cut into chunks, and what happens to them."""
    # Chunks are counted from 1970-01-01 on: those of 2 days end with the day, and those of 71 days begin with it.
    hours = draw.pick(24, 24, 24, 6, 24 * 2, 24 * 7, 24 * 71)
    function = ""
    if time.sql == "timestamptz" and draw.chance(15):
        function = ", time_partitioning_func => '@s@.half_a_day_before'"
    split = [
        (
            f"SELECT public.create_hypertable('@s@.@t@',{literal(table.time_name)},"
            f" chunk_time_interval => {_interval(time, hours)}{function},"
            f" create_default_indexes => {draw.pick('true', 'true', 'false')})"
        )
    ]
    able = [column.name for column in table.columns if column.is_key and not column.is_numbered]
    able = [name for name in able if all(quoted(name) in key for key in keys)]
    if able and draw.chance(25):
        name = literal(draw.pick(*able))
        split.append(f"SELECT public.add_dimension('@s@.@t@',{name}, number_partitions => 3)")
    has_now = time.kind == "integer" and draw.chance(40)
    if has_now:
        now = time.text(40 * DAY_SECONDS * 1_000_000, 0)
        split += [
            f"CREATE FUNCTION @s@.present() RETURNS {time.sql} LANGUAGE sql STABLE AS 'SELECT {now}::{time.sql}'",
            "SELECT public.set_integer_now_func('@s@.@t@', '@s@.present')",
        ]
    later: list[str] = []
    if draw.chance(10):
        later.append(f"SELECT public.set_chunk_time_interval('@s@.@t@', {_interval(time, draw.pick(24, 72))})")
    if server.is_community and draw.chance(65):
        later += _compress(draw, table)
    return replace(table, split=tuple(split), has_integer_now=has_now, later=tuple(later))


def _interval(time: Time, hours: int) -> str:
    if time.kind == "integer":
        return str(hours * 3600 * time.units)
    return f"interval '{max(hours, 24) if time.kind == 'date' else hours} hours'"


def _with_jobs(draw: Draw, table: Table, time: Time) -> Table:
    """Draw a continuous aggregate and a retention policy."""
    if time.kind in ("integer", "uuid") or any("time_partitioning_func" in statement for statement in table.split):
        return table
    name = quoted(table.time_name)
    if draw.chance(25):
        hours = draw.pick(24, 24 * 7) if time.kind == "date" else draw.pick(6, 24, 24 * 7)
        made = (
            "CREATE MATERIALIZED VIEW @s@.aggregate WITH (timescaledb.continuous, timescaledb.materialized_only) AS"
            f" SELECT public.time_bucket(interval '{hours} hours', {name}) AS bucket, count(*) AS n"
            " FROM @s@.@t@ GROUP BY 1 WITH NO DATA"
        )
        table = replace(table, jobs=(made,), bucket_hours=hours)
    if draw.chance(15):
        drops = draw.chance(50)
        # The job does not run before, so it drops nothing meanwhile.
        policy = (
            f"SELECT public.add_retention_policy('@s@.@t@', interval '{1 if drops else 1000} years',"
            " initial_start => timestamptz '2100-01-01 00:00+00')"
        )
        table = replace(table, jobs=(*table.jobs, policy), is_retained=not drops)
    return table


def _compress(draw: Draw, table: Table) -> list[str]:
    able = [column.name for column in table.columns if column.is_key]
    segments = draw.some(able, 2)
    options = ["timescaledb.compress"]
    if segments or draw.chance(30):
        options.append(f"timescaledb.compress_segmentby ={literal(', '.join(map(quoted, segments)))}")
    if draw.chance(30):
        options.append(f"timescaledb.compress_orderby ={literal(f'{quoted(table.time_name)} DESC')}")
    which = draw.pick("true", "true", "n % 2 = 0")
    return [
        f"ALTER TABLE @s@.@t@ SET ({', '.join(options)})",
        (
            "SELECT public.compress_chunk(c) FROM"
            f" (SELECT c, row_number() OVER () AS n FROM public.show_chunks('@s@.@t@') c) AS chunks WHERE {which}"
        ),
    ]


def _partitions(time: Time) -> tuple[str, ...]:
    first, day, after = (literal(time.text(days * DAY_SECONDS * 1_000_000, 0)) for days in (-1, 0, 1))
    part = "CREATE TABLE @s@.@t@_{} PARTITION OF @s@.@t@ FOR VALUES FROM ({}) TO ({})"
    return (
        part.format("before", first, day),
        part.format("day", day, after),
        "CREATE TABLE @s@.@t@_other PARTITION OF @s@.@t@ DEFAULT",
    )


def _indexes(draw: Draw, table: Table) -> list[str]:
    able = [column.name for column in table.columns if column.is_key]
    if not able:
        return []
    name = quoted(draw.pick(*able))
    time = "" if table.time is None else f", {quoted(table.time_name)}"
    made = [
        f"CREATE INDEX ON @s@.@t@ ({name}{time})",
        f"CREATE INDEX ON @s@.@t@ (({name} IS NULL){time})",
        f"CREATE INDEX ON @s@.@t@ ({name}) WHERE {name} IS NOT NULL",
        f"CREATE UNIQUE INDEX ON @s@.@t@ ({name}{time})",
        f"CREATE INDEX ON @s@.@t@ USING hash ({name})",
        f"CREATE INDEX ON @s@.@t@ USING brin ({name})",
    ]
    return draw.some(made, 2)


def _rows(draw: Draw, table: Table, most: int) -> tuple[str, ...]:
    """Draw INSERTs of one row each, of the day or mostly of others."""
    given = [column for column in table.columns if not column.is_generated and not column.is_numbered]
    names = ([] if table.time is None else [table.time_name]) + [column.name for column in given]
    into = f"INSERT INTO @s@.@t@ ({', '.join(map(quoted, names))}) VALUES"
    outside = draw.pick(30, 30, 100)
    rows = []
    for _ in range(draw.randint(min(most, 1), most)):
        # TimescaleDB refuses UUIDs of other versions in its own time column.
        values = (
            [] if table.time is None else [literal(table.time.text(moment(draw, outside=outside), draw.randrange(8)))]
        )
        for column in given:
            is_null = "NOT NULL" not in column.rest and draw.chance(15)
            values.append("NULL" if is_null else literal(draw.pick(*column.type.good)))
        rows.append(f"{into} ({', '.join(values)})")
    return tuple(rows)


def _like(draw: Draw, table: Table) -> str:
    """Draw a table of almost the same columns, which takes what the target takes and more."""
    wider = {"integer": "bigint", "smallint": "integer", "text": "varchar", "varchar(5)": "text", "real": "numeric"}
    parts = [f"{quoted(name)} {wider.get(type_, type_.partition('(')[0])}" for name, type_ in table.types.items()]
    kept = draw.sample(parts, draw.randint(1, len(parts)))
    return f"CREATE TABLE @s@.like ({', '.join([*kept, 'more int DEFAULT 1'])})"


def _with_child(draw: Draw, table: Table, keys: Sequence[str]) -> Table:
    """Draw a table that refers to the key, and the action of its foreign key."""
    if not keys or keys[0].startswith("EXCLUDE") or "DEFERRABLE" in keys[0] or not draw.chance(20):
        return table
    names = [name for name in table.types if quoted(name) in keys[0]]
    listed = ", ".join(map(quoted, names))
    action = draw.pick("CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION")
    deferred = " DEFERRABLE INITIALLY DEFERRED" if action == "NO ACTION" and draw.chance(50) else ""
    columns = ", ".join(f"{quoted(name)} {table.types[name]}" for name in names)
    key = f"FOREIGN KEY ({listed}) REFERENCES @s@.@t@ ({listed}) ON DELETE {action}{deferred}"
    # Rows of the same values in both: which ones, does not depend on their order.
    which = f"hashtext(row({listed})::text) % 3 = 0 OR {draw.pick('true', 'false')}"
    child = (
        f"CREATE TABLE @s@.@t@_child ({columns}, {key})",
        f"INSERT INTO @s@.@t@_child SELECT {listed} FROM @s@.@t@ WHERE {which}",
    )
    return replace(table, child=child, on_delete=action + deferred)


def _with_triggers(draw: Draw, table: Table) -> Table:
    if not draw.chance(30):
        return table
    cut = "".join(table.split)

    def free(type_: Type) -> list[str]:
        # A trigger may not change what a chunk is found by.
        able = [c for c in table.columns if c.type is type_ and not c.is_generated and not c.is_numbered]
        return [quoted(column.name) for column in able if literal(column.name) not in cut]

    bodies = {"logs": "INSERT INTO @s@.log VALUES (TG_ARGV[0], TG_OP, coalesce(NEW, OLD)::text)"}
    for name in free(INTEGER)[:1]:
        bodies["drops"] = f"IF NEW.{name} = 12 THEN RETURN NULL; END IF"
        bodies["refuses"] = f"IF NEW.{name} = 100 THEN RAISE EXCEPTION 'not 100'; END IF"
    for name in free(TEXT)[:1]:
        bodies["changes"] = f"NEW.{name} := NEW.{name} || '!'"
    if table.time is not None and table.time.kind in ("timestamptz", "timestamp"):
        at = f"NEW.{quoted(table.time_name)}"
        bodies["moves"] = f"IF extract(hour FROM {at}) = 12 THEN {at} := {at} + interval '1 day'; END IF"
    effects = draw.pick(["logs"], [draw.pick(*sorted(bodies))], draw.some(sorted(bodies), 2))
    triggers: list[str] = []
    for effect in effects:
        when = "AFTER INSERT OR DELETE" if effect == "logs" else "BEFORE INSERT"
        triggers += [
            (
                f"CREATE OR REPLACE FUNCTION @s@.{effect}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN {bodies[effect]}; RETURN NEW; END $$"
            ),
            f"CREATE TRIGGER {effect} {when} ON @s@.@t@ FOR EACH ROW EXECUTE FUNCTION @s@.{effect}('@t@')",
        ]
    return replace(table, triggers=tuple(triggers), effects=frozenset(effects))
