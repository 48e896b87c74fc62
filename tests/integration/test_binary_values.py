"""Values by both ways into the same server: those that are written often, those that are read oddly, and many."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import get_args

import pytest
from psycopg2 import sql

from shared.binary.eligibility import Kind, kind_of
from shared.binary.encoder import BLOCK_BYTES
from shared.csvfile.options import CsvOptions
from shared.timescale.table import Column
from tests.binary_values import ODD, TYPES, quoted
from tests.integration.fix_binary import BothWays, columns_of, in_binary


@pytest.mark.parametrize("type_", TYPES)
def test_odd_values(both_ways: BothWays, type_: str) -> None:
    columns, options = columns_of([type_, "integer"]), CsvOptions(header=False)
    lines = [f"{cell},1\n".encode() for value in ODD for cell in (value, quoted(value, '"'))]
    taken = [line for line in lines if in_binary(columns, options, [line]) is not None]
    assert taken
    # At once, and one by one where the server refuses some: values that are too long.
    if both_ways.load(columns, options, taken) == "refused":
        assert {both_ways.load(columns, options, [line]) for line in taken} == {"binary", "refused"}


# One column of each kind, and two whose values go from the smallest to the largest.
TABLE = """
    CREATE TEMP TABLE written AS SELECT
        timestamptz '2025-01-01' + i * interval '0.8642 s' AS c0, (i * 7919 - 100000)::integer AS c1,
        random() * 100 - 50 AS c2, (random() * 100 - 50)::real AS c3, (i::bigint << 40) - i AS c4, i % 3 = 0 AS c5,
        (random() * 1000 - 500)::numeric(10, 4) AS c6, gen_random_uuid() AS c7, date '2025-01-01' + i AS c8,
        timestamp '1999-12-31 23:59:59.999999' + i * interval '1 h' AS c9, (i % 1000)::smallint AS c10,
        jsonb_build_object('a', i, 'b', 'c "d"') AS c11, exp(random() * 600 - 300) AS c12,
        (random() * random())::numeric(38, 30) AS c13, left('abcdef', i % 6)::character(5) AS c14,
        CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'said "hello",\\r\\ntwice' WHEN 3 THEN '\\.'
            WHEN 4 THEN '"' WHEN 5 THEN 'Größe 温度' ELSE repeat('x', i % 200) END AS c15
    FROM generate_series(1, 20000) i
"""


def test_what_postgresql_wrote_goes_binary(both_ways: BothWays) -> None:
    cursor = both_ways.cursor
    cursor.execute(TABLE)
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod), false, atttypid, atttypmod FROM pg_attribute"
        " WHERE attrelid = 'pg_temp.written'::regclass AND attnum > 0 ORDER BY attnum"
    )
    columns = [Column(*row) for row in cursor.fetchall()]
    assert {kind_of(column) for column in columns} == set(get_args(Kind))
    for options in (CsvOptions(), CsvOptions(delimiter=";", null="NULL", header=False)):
        out = io.BytesIO()
        as_written = sql.SQL("COPY pg_temp.written TO STDOUT (FORMAT csv, HEADER {}, DELIMITER {}, NULL {})")
        header = sql.SQL("true" if options.has_header else "false")
        cursor.copy_expert(as_written.format(header, sql.Literal(options.delimiter), sql.Literal(options.null)), out)
        # Longer than what is encoded at once, and cut where it happens.
        assert len(out.getvalue()) > 2 * BLOCK_BYTES
        assert both_ways.load(columns, options, [out.getvalue()]) == "binary"


def decimal(chance: Random, most_digits: int = 19) -> str:
    digits = "".join(chance.choices("0123456789", k=chance.randint(1, most_digits)))
    point = chance.randint(1, len(digits))
    return chance.choice(["", "-"]) + digits[:point] + ("." + digits[point:] if digits[point:] else "")


def any_double(chance: Random) -> str:
    (number,) = struct.unpack("<d", chance.randbytes(8))
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(number), repr(number))


def near_half(chance: Random) -> str:
    """The middle of two doubles, rounded to up to 19 digits: where rounding twice goes wrong."""
    half, shift, places = chance.getrandbits(53) << 1 | 1 | 1 << 53, chance.randint(1, 52), chance.randint(0, 15)
    digits = f"{(half * 10**places + (1 << shift - 1)) >> shift:0{places + 1}}"
    return digits[:-places] + "." + digits[-places:] if places else digits


def any_real(chance: Random) -> str:
    return f"{struct.unpack('<f', struct.pack('<f', chance.uniform(-1, 1) * 10 ** chance.randint(-6, 9)))[0]:.9g}"


def any_time(chance: Random) -> str:
    at = datetime(1, 1, 2) + timedelta(days=chance.randrange(3_652_050), seconds=chance.randrange(86_400))  # noqa: DTZ001
    fraction = f".{chance.randrange(10**6):06}"[: chance.choice([0, 2, 3, 4, 5, 6, 7])]
    return f"{at.isoformat(sep=' ')}{fraction}"


def one_of(chance: Random, *kinds: Callable[[Random], str]) -> str:
    return chance.choice(kinds)(chance)


MANY: dict[str, Callable[[Random], str]] = {
    "bigint": lambda chance: str(chance.getrandbits(63) >> chance.randrange(63)),
    "double precision": lambda chance: one_of(chance, any_double, near_half, decimal),
    "real": lambda chance: one_of(chance, any_real, lambda chance: decimal(chance, 7)),
    "numeric(38,19)": lambda chance: decimal(chance, 19),
    "numeric(12,3)": lambda chance: f"{chance.randrange(-(10**11), 10**11) / 1000:.{chance.randint(0, 3)}f}",
    "date": lambda chance: any_time(chance)[:10],
    "timestamp without time zone": any_time,
    "timestamp with time zone": any_time,
    "timestamp(3) with time zone": lambda chance: any_time(chance) + chance.choice(["Z", "+02", "-09:30"]),
}


@pytest.mark.parametrize("type_", MANY)
def test_many_values(both_ways: BothWays, type_: str) -> None:
    chance = Random(type_)  # noqa: S311 - the same values every time
    lines = [f"{MANY[type_](chance)},{number}" for number in range(30_000)]
    data = "\n".join(["c0,c1", *lines, ""]).encode()
    assert both_ways.load(columns_of([type_, "integer"]), CsvOptions(), [data]) == "binary"
