"""A hypertable with every kind of index, and its day loaded plainly or with the chunk's indexes deferred."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from shared.timescale.indexes.deferred import Build, DeferredIndexes, IndexPlan, decide
from tests.integration.fix_database import Database
from tests.integration.fix_hypertable import Hypertable

# Names and values that SQL and psycopg2 could trip over; functions and types that are on nobody's search_path.
COLUMNS = """
    time timestamptz NOT NULL, d int NOT NULL, v float8, w text COLLATE "C", m {s}.mood,
    n numeric(10, 2) CHECK (n <> 5), g int GENERATED ALWAYS AS (d * 2) STORED, "odd ""column"" %" text,
    CONSTRAINT pk PRIMARY KEY (time, d) INCLUDE (v) WITH (fillfactor = 70),
    CONSTRAINT un UNIQUE NULLS NOT DISTINCT (w, time)
"""
INDEXES = """
    CREATE UNIQUE INDEX u ON {s}.t (d DESC NULLS LAST, time);
    CREATE INDEX e ON {s}.t ((v * 2), {s}.f(w) text_pattern_ops)
        WHERE v > 1.1 AND time > '2020-01-01' AND m = 'a' AND w <> '%s {{x}} ; %';
    CREATE INDEX b ON {s}.t USING brin (time timestamptz_minmax_multi_ops (values_per_range = 20))
        WITH (pages_per_range = 7);
    CREATE INDEX h ON {s}.t USING hash (d) WITH (fillfactor = 55);
    CREATE INDEX gi ON {s}.t USING gin (to_tsvector('english', w)) WITH (fastupdate = off);
    CREATE INDEX inc ON {s}.t (time) INCLUDE (v, w);
    CREATE INDEX "odd ""name"", 50% {{y}}" ON {s}.t (n, "odd ""column"" %" COLLATE "C", (d + 1));
    CREATE INDEX twin ON {s}.t (n);
    CREATE INDEX other_twin ON {s}.t (n);
    CREATE INDEX swapped ON {s}.t (d, v);
"""
ONE_ROW = "INSERT INTO {s}.t VALUES ('2025-01-01', 1, 1, 'a', 'a', 1)"
THE_REST = (
    "INSERT INTO {s}.t SELECT '2025-01-01'::timestamptz + i * interval '1 second', i, i, 'q' || i, 'b', 2"
    " FROM generate_series(1, 500) i"
)


@dataclass
class Day(Hypertable):
    """A hypertable `t` of a schema, and its day. `plans` are those of the last load."""

    table_name = "t"
    plans: list[IndexPlan] = field(default_factory=list)

    @property
    def chunk(self) -> str:
        """The name of the last chunk, as SQL."""
        chunk = self.chunks[-1]
        return f'"{chunk.schema}"."{chunk.name}"'

    @property
    def schema(self) -> str:
        """The schema of the last chunk, as SQL."""
        return self.chunk.partition(".")[0]

    @property
    def indexes(self) -> list[str]:
        """The names of the last chunk's indexes, in the order in which they were made."""
        self.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            f" WHERE i.indrelid = '{self.chunk}'::regclass ORDER BY c.oid"
        )
        return [plain_name(name) for (name,) in self.cursor.fetchall()]

    def name_of(self, name: str) -> str:
        """The name of the last chunk's index by its name on the hypertable, as SQL without the schema."""
        names = [index.name for index in self.plan().shape.indexes if plain_name(index.name) == name]
        return f'"{names[0]}"'

    def load(
        self,
        *,
        deferred: bool,
        statements: Sequence[str] = (ONE_ROW, THE_REST),
        emptied: bool = False,
        build: Build | None = None,
    ) -> set[str]:
        """Load the day in the open transaction, and return why indexes were kept: the codes.

        Args:
            deferred: whether indexes are deferred. The chunks that a statement makes are handed over before the next.
            statements: bring the rows.
            emptied: whether the chunk is there already, and is truncated.
            build: how the indexes are built.
        """
        indexes = DeferredIndexes(self.cursor, self.table, build)
        before = self.chunks
        if emptied:
            self.execute(f"TRUNCATE {self.chunk}")
            before = before[:-1]
        for statement in statements:
            self.execute(statement)
            if deferred:
                indexes.drop([chunk for chunk in self.chunks if chunk not in before])
        indexes.rebuild()
        self.plans = indexes.plans
        return {one.code for plan in self.plans for one in plan.kept}

    def plan(self) -> IndexPlan:
        """Decide about the last chunk."""
        return decide(self.cursor, self.table, self.chunks[-1])


def plain_name(name: str) -> str:
    """The name that an index of a chunk has on the hypertable."""
    return re.sub(r"^(_hyper_\d+_\d+_chunk|\d+(_\d+)?)_", "", name)


def make_day(database: Database, columns: str = COLUMNS, indexes: str = INDEXES) -> Iterator[Day]:
    database.execute("CREATE TYPE {s}.mood AS ENUM ('a', 'b')")
    # TimescaleDB makes a chunk's index of what is left of a function that can be inlined.
    database.execute(
        "CREATE FUNCTION {s}.f(text) RETURNS text IMMUTABLE STRICT LANGUAGE plpgsql SET search_path = ''"
        " AS 'BEGIN RETURN lower($1); END'"
    )
    database.hypertable("t", columns)
    if indexes:
        database.execute(indexes)
    with closing(database.connection.cursor()) as cursor:
        yield Day(database, cursor)


@pytest.fixture(params=["database", pytest.param("community_database", marks=pytest.mark.community)])
def bare(request: pytest.FixtureRequest) -> Iterator[Day]:
    """On each edition: a hypertable with nothing but a primary key and TimescaleDB's own index of the time."""
    columns = "time timestamptz NOT NULL, d int, v float8, w text, PRIMARY KEY (time, d)"
    yield from make_day(request.getfixturevalue(request.param), columns, "")


@pytest.fixture(params=["database", pytest.param("community_database", marks=pytest.mark.community)])
def full(request: pytest.FixtureRequest) -> Iterator[Day]:
    """On each edition: a hypertable with every kind of index, two columns of which were renamed to one another."""
    for day in make_day(request.getfixturevalue(request.param)):
        day.execute("ALTER TABLE {s}.t RENAME d TO x; ALTER TABLE {s}.t RENAME v TO d; ALTER TABLE {s}.t RENAME x TO v")
        yield day
