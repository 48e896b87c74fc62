"""Values of each type as a CSV may hold them: such as exporters write, and such as PostgreSQL may read otherwise."""

from __future__ import annotations

import re
import struct
from datetime import date, datetime
from typing import Literal

from hypothesis import strategies as st

from shared.timescale.table import Column

TYPES = (
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric(12,3)",
    "boolean",
    "date",
    "timestamp without time zone",
    "timestamp(0) without time zone",
    "timestamp with time zone",
    "timestamp(3) with time zone",
    "uuid",
    "text",
    "character varying",
    "character varying(20)",
    "character(5)",
    "bpchar",
    "json",
    "jsonb",
)

# The numbers of types in PostgreSQL's src/include/catalog/pg_type.dat.
_OIDS = {
    "boolean": 16,
    '"char"': 18,
    "bytea": 17,
    "bigint": 20,
    "smallint": 21,
    "integer": 23,
    "text": 25,
    "oid": 26,
    "json": 114,
    "real": 700,
    "double precision": 701,
    "money": 790,
    "inet": 869,
    "integer[]": 1007,
    "bpchar": 1042,
    "character": 1042,
    "character varying": 1043,
    "date": 1082,
    "time without time zone": 1083,
    "timestamp without time zone": 1114,
    "timestamp with time zone": 1184,
    "interval": 1186,
    "bit": 1560,
    "numeric": 1700,
    "uuid": 2950,
    "jsonb": 3802,
}


def column_of(type_sql: str, name: str = "c") -> Column:
    """Make a column of a type, as the catalogue has it."""
    modifier = re.search(r"\(([\d, -]+)\)", type_sql)
    oid = _OIDS.get(type_sql.replace(modifier.group() if modifier else "", ""), 16384)
    numbers = [int(number) for number in modifier[1].split(",")] if modifier else []
    type_mod = -1
    if oid == _OIDS["numeric"] and numbers:
        digits, behind = [*numbers, 0][:2]
        type_mod = (digits << 16 | behind & 0x7FF) + 4
    elif numbers:
        type_mod = numbers[0] + (4 if oid in (_OIDS["character"], _OIDS["character varying"]) else 0)
    return Column(name, type_sql, type_oid=oid, type_mod=type_mod)


_letters = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=90)
_short = st.text("ab \t,;\"'\\\n\rß€😀.", max_size=8)
_digits = st.integers(0, 10**24).map(str) | st.text("0123456789", min_size=1, max_size=12)
_fractions = st.integers(0, 9).flatmap(lambda size: st.text("0123456789", min_size=size, max_size=size))
_zones = st.sampled_from(["", "+00", "Z", "-08", "+05:30", "-03:30", "+15:59", "-15", "+00:00"])


def _floats(width: Literal[32, 64]) -> st.SearchStrategy[str]:
    form = {32: "<f", 64: "<d"}[width]
    bits = st.binary(min_size=width // 8, max_size=width // 8)
    numbers = bits.map(lambda raw: struct.unpack(form, raw)[0]) | st.floats(-1000, 1000, width=width)
    return numbers.map(_as_postgresql) | st.builds(
        "{}{}.{}".format, st.sampled_from(["", "-"]), st.integers(0, 10**9), _digits
    )


def _as_postgresql(number: float) -> str:
    text = repr(number)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def _whole(bits: int) -> st.SearchStrategy[str]:
    return st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1).map(str)


_times = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001 - the zone is added as text
_stamps = st.builds(
    lambda at, separator, fraction: f"{at:%Y}".zfill(4) + f"{at:-%m-%d}{separator}{at:%H:%M:%S}{fraction}",
    _times,
    st.sampled_from(["T", " ", " ", " "]),
    _fractions.map(lambda digits: f".{digits[:6]}{'0' * len(digits[6:])}" if digits else ""),
)
_infinities = st.sampled_from(["infinity", "-infinity"])
_json = st.recursive(
    st.sampled_from(["null", "true", "1", "-0.5", "1e5", '"x"', '"\\u00e9"', '"a, b"', "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
        | st.dictionaries(st.sampled_from(['"a"', '"b c"', '"é"']), inner, max_size=3).map(
            lambda items: "{" + ",".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=5,
)
_numerics = st.builds(
    "{}{}{}".format, st.sampled_from(["", "-"]), _digits, st.just("") | _digits.map(lambda digits: f".{digits}")
)

# What an exporter writes.
PLAIN: dict[str, st.SearchStrategy[str]] = {
    "smallint": _whole(16),
    "integer": _whole(32),
    "bigint": _whole(64),
    "real": _floats(32),
    "double precision": _floats(64),
    "numeric(12,3)": st.decimals(-(10**8), 10**8, places=3).map(str) | _numerics,
    "boolean": st.sampled_from(["t", "f", "true", "false", "True", "FALSE", "1", "0"]),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)).map(date.isoformat) | _infinities,
    "timestamp without time zone": _stamps | _infinities,
    "timestamp with time zone": st.builds("{}{}".format, _stamps, _zones) | _infinities,
    "uuid": st.uuids().map(str) | st.uuids().map(lambda value: str(value).upper()),
    "text": _letters | _short,
    "character varying(20)": st.text("abc ÄÖ温度✓", max_size=18) | _short,
    "character(5)": _short.map(lambda text: text[:4]) | st.sampled_from(["abcde", "abcde  ", "a    b"]),
    "json": _json,
}
PLAIN |= {
    "timestamp(0) without time zone": PLAIN["timestamp without time zone"],
    "timestamp(3) with time zone": PLAIN["timestamp with time zone"],
    "character varying": PLAIN["text"],
    "bpchar": PLAIN["text"],
    "jsonb": PLAIN["json"],
}

_ANY_ODD = [
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "now",
    "-",
    "+",
    ".",
    "e5",
    "\uff10",
    "\u0661",
    "0x1F",
    "1_000",
    "1e400",
    "x\0",
]
_ODD_NUMBERS = [
    " 1 ", "+1", "-0", "00012", "1.", ".5", "-.5", "1e5", "1E+5", "1e-400", "1e400", "4.9e-324", "2.5e-324", "2e-324",
    "1e-45", "7e-46", "1.4e-45", "3.4028235e38", "3.4028236e38", "16777217", "16777219.0", "1.00000005960464477539",
    "1.000000059604644775390625", "1.0000000596046447753906251", "9007199254740993", "0.1", "0.10000000000000000555",
    "9007199254740992.5", "9007199254740993.0000000", "179769313486231570000", "1.7976931348623159e308", "0.0", "-0.0",
    "nan", "NAN", "inf", "-inf", "Infinity", "infinity", "-Infinity", "+Infinity", "NaN", "32767", "32768", "-32768",
    "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999", "--1", "1-", "1 2",
    "1:2", "0b1", "0o7", "1,5", "1e", "1e+", "0e0", "0e999", "-0e5", "12345678901234567890123456789",
    "0." + "0" * 30 + "1",
    "999999999.9995", "999999999.9994", "99999999999999999999999.9", "1e2147483648", "1.5e3",
]  # fmt: skip
_ODD_TIMES = [
    "2025-01-01", "2025-1-1", "20250101", "01/02/2025", "2025-13-01", "2025-00-10", "2025-02-29", "2024-02-29",
    "1900-02-29", "2000-02-29", "2025-04-31", "2025-01-00", "0000-01-01", "0001-01-01", "0001-01-01 BC", "12025-01-01",
    "2025-01-01 24:00:00", "2025-01-01 24:00:01", "2025-01-01 23:59:60", "2025-01-01 23:59:61",
    "2025-01-01 23:59:59.999999", "2025-01-01 23:59:59.9999995",
    "2025-01-01 23:59:59.9999999", "2025-01-01 00:00:00.1234560", "2025-01-01 00:00:00.123456000",
    "2025-01-01 00:00:00.123456001", "2025-01-01 00:00:00.12345600x",
    "2025-01-01 00:00:00.1234564", "2025-01-01 00:00:00.0000005", "2025-01-01 00:00:00.", "2025-01-01 00:00",
    "2025-01-01T00:00:00", "2025-01-01t00:00:00", "2025-01-01  00:00:00", "2025-01-01 00:00:00 ",
    "2025-01-01 00:00:00 UTC", "2025-01-01 00:00:00 Europe/Berlin", "2025-01-01 00:00:00 EST",
    "2025-01-01 00:00:00+1", "2025-01-01 00:00:00+01:", "2025-01-01 00:00:00+0130", "2025-01-01 00:00:00+01:30:15",
    "2025-01-01 00:00:00+16", "2025-01-01 00:00:00-15:59", "2025-01-01 00:00:00+15:60", "2025-01-01 00:00:00+00+00",
    "2025-01-01 00:00:00.5Z", "2025-01-01 00:00:00z", "2025-01-01 00:00:00.5-0", "2025-01-01 00:00:0-01",
    "9999-12-31 23:59:59.999999-15:59", "0001-01-01 00:00:00+15:59", "infinity", "-infinity", "Infinity", "+infinity",
    "epoch", "today", "now", "allballs", "1735689600", "2025-01-01 12:00:00 AM", "2025-01-01 00:00:00.1.2",
    "2025-01-01 00:00:00,5", "2025-01-01-00:00:00", "2025-W01-1", "2025.01.01", "J2451187",
]  # fmt: skip
_ODD_WORDS = [
    "tr", "T", "yes", "on", "off", "no", "y", "n", " t", "tRue", "2", "00", "01", "fals", "{}", "{", '"', "[1, ]",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1 ", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd3\t0a11",
    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "a0eebc99_9c0b-4ef8-bb6d-6bb9bd380a11",
    "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "abcdef", "abcde ", "  ",
    "é" * 20, "é" * 21, "x" * 21, "x" * 20 + " ", '{"a":1,"a":2}', "\\x00", '"\\u0000"', "1 ", "NaN", "\ufeff", "a\r",
    "\r\n", "\n\\.\n",
]  # fmt: skip

# What a type may read otherwise than it looks, or not at all: all of it for every type.
ODD = [*_ANY_ODD, *_ODD_NUMBERS, *_ODD_TIMES, *_ODD_WORDS]


def quoted(value: str, quote: str) -> str:
    """Put a value into quotes."""
    return quote + value.replace(quote, quote * 2) + quote
