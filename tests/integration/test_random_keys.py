"""Random rows beside compressed ones, under random keys: a restore does what a plain table would, or refuses."""

from __future__ import annotations

import os
from collections import Counter
from random import Random
from typing import Any

import psycopg2
import pytest

from tests.integration.fix_app import App

pytestmark = pytest.mark.community

# A plain table is the model. RANDOM_KEYS runs more turns, and RANDOM_KEYS_SEED the same again: a failure shows it.
TURNS = int(os.environ.get("RANDOM_KEYS", "12"))
KEYS = (
    "(a, time)",
    "(a, b, time)",
    "(a, time) NULLS NOT DISTINCT",
    "(b, a, time) NULLS NOT DISTINCT",
    "(lower(a), time)",
    "(a, time) WHERE b > 1",
    '(a COLLATE "C", time)',
    "(a text_pattern_ops, time)",
    "(f, time)",
    "(time)",
)
SEGMENTS = ("", "s", "a", "b", "s, a", "s, b", "s, a, b")
COLUMNS = "time timestamptz NOT NULL, s text, a text {null}, b int {null}, f float8 {null}, v int"


class Turn:
    """A table with its keys and rows, its model, and one archive."""

    def __init__(self, app: App, seed: int, chance: Random, name: str) -> None:
        self.app, self.seed, self.chance, self.name = app, seed, chance, name
        self.has_nulls = chance.random() < 0.6
        columns = COLUMNS.format(null="" if self.has_nulls else "NOT NULL")
        app.database.hypertable(name, columns, interval="interval '7 days'")
        app.database.execute(f"CREATE TABLE {{s}}.plain_{name} ({columns})")
        self.keys = chance.sample(KEYS, chance.choice([1, 1, 2]))
        for key in self.keys:
            app.database.execute(f"CREATE UNIQUE INDEX ON {{s}}.{name} {key}")
            app.database.execute(f"CREATE UNIQUE INDEX ON {{s}}.plain_{name} {key}")
        self.segmentby = chance.choice(SEGMENTS)
        orderby = chance.choice(["time", "a, time", "time, b"])
        for column in self.segmentby.split(", "):
            orderby = "time" if column and column in orderby.split(", ") else orderby
        app.database.execute(
            f"ALTER TABLE {{s}}.{name} SET (timescaledb.compress, timescaledb.compress_orderby = '{orderby}',"
            f" timescaledb.compress_segmentby = '{self.segmentby}')"
        )
        for row in self.rows(chance.choice([1, 4, 12])):
            for table in (name, f"plain_{name}"):
                app.database.execute(
                    f"INSERT INTO {{s}}.{table} VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", *row
                )
        app.database.execute(f"SELECT public.compress_chunk(c) FROM public.show_chunks('{{s}}.{name}') c")

    def rows(self, count: int) -> list[tuple[Any, ...]]:
        def maybe(values: list[Any]) -> Any:
            return self.chance.choice([*values, None] if self.has_nulls else values)

        return [
            (
                f"2025-01-01 0{self.chance.randrange(1, 3)}:00Z",
                self.chance.choice(["s", "t", None]),
                maybe(["x", "X", "y"]),
                maybe([1, 2]),
                maybe(["0", "-0", "NaN"]),
                self.chance.randrange(10**6),
            )
            for _ in range(count)
        ]

    def csv(self, rows: list[tuple[Any, ...]]) -> bytes:
        lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
        return "\n".join(["time,s,a,b,f,v", *lines, ""]).encode()

    def model(self, rows: list[tuple[Any, ...]], *, skips: bool) -> bool:
        """Add rows to the model as a whole, and say whether it took them."""
        ending = " ON CONFLICT DO NOTHING" if skips else ""
        with self.app.database.session(autocommit=False) as session, session.cursor() as cursor:
            try:
                for row in rows:
                    cursor.execute(
                        f"INSERT INTO {self.app.database.schema}.plain_{self.name}"
                        f" VALUES (%s, %s, %s, %s, %s, %s){ending}",
                        row,
                    )
            except psycopg2.errors.UniqueViolation:
                session.rollback()
                return False
            session.commit()
        return True

    def stored(self, table: str) -> Counter[tuple[Any, ...]]:
        # Compression may take 0 and -0 in a column of compress_segmentby for the same.
        return Counter(self.app.database.fetch(f"SELECT time, s, a, b, v FROM {{s}}.{table}"))

    def run(self) -> str:
        rows = self.rows(self.chance.choice([1, 2, 5]))
        mode, decompress = self.chance.choice(["direct", "staging"]), self.chance.choice([True, False, "auto"])
        before = self.stored(self.name)
        answer = self.app.restore(
            self.app.archive(self.name, self.csv(rows)),
            destination={"mode": mode, "on_existing": "append"},
            timescaledb={"decompress_window": decompress},
            verify=self.chance.random() < 0.7,
        )
        told = (self.seed, self.keys, self.segmentby, mode, decompress, rows, before, answer.body)
        if answer.status == 200:
            assert self.model(rows, skips=mode == "staging"), told
            assert self.stored(self.name) == self.stored(f"plain_{self.name}"), told
        else:
            assert self.stored(self.name) == before, told
            # Only where rows stay beside compressed ones may a restore refuse what the model takes.
            is_refused = not self.model(rows, skips=mode == "staging")
            assert answer.code in (("DataRejected",) if decompress else ("DataRejected", "KeyNotEnforced")), told
            assert is_refused or not decompress, told
        return answer.code or "ok"


def test_random_rows_beside_compressed_ones(community_app: App) -> None:
    seed = int(os.environ.get("RANDOM_KEYS_SEED", "0")) or Random().randrange(1, 10**9)  # noqa: S311
    chance = Random(seed)  # noqa: S311
    outcomes = Counter(Turn(community_app, seed, chance, f"t{number}").run() for number in range(TURNS))
    assert outcomes["ok"], (seed, outcomes)
