"""Values as text, good and bad ones, for the columns of random tables."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Literal, TypeAlias

TimeKind: TypeAlias = Literal["timestamptz", "timestamp", "date", "integer", "uuid"]

DAY = date(2025, 1, 5)
MIDNIGHT = datetime(2025, 1, 5, tzinfo=timezone.utc)
DAY_SECONDS = 86_400

TEXTS = (
    *(" ", "a ", 'say "hi"', "it's", "a,b", "a;b|c", "two\nlines", "two\r\nlines", "back\\slash", "\\N"),
    *("NULL", "null", "\\.", "\t", "ä", "日本", "😀", "%s {} {0}", "'; --", "﻿", "0", "x" * 300),
)
NUMBERS = ("0", "7", "-3", "12", "2", "3", "100")


@dataclass(frozen=True)
class Type:
    """A type of a column.

    Attributes:
        sql: its name.
        plain: texts that PostgreSQL reads into it and writes in the same way.
        odd: other texts that it reads.
        bad: texts that it refuses.
        is_sortable: it can be part of a key.
    """

    sql: str
    plain: tuple[str, ...]
    odd: tuple[str, ...]
    bad: tuple[str, ...] = ("nix",)
    is_sortable: bool = True

    @property
    def good(self) -> tuple[str, ...]:
        return (*self.plain, *self.odd)


INTEGER = Type("integer", NUMBERS, ("2147483647", " 12", "-0"), ("x", "1.5", "2147483648"))
TEXT = Type("text", ("a", "b", "", "ä"), TEXTS, ())
# Those of which it is proved that PostgreSQL's binary form says the same.
BINARY_TYPES = (
    Type("bigint", NUMBERS, ("9223372036854775807",), ("x", "9223372036854775808")),
    Type("smallint", NUMBERS, ("32767",), ("40000",)),
    Type("varchar(5)", ("abc", "12345"), ("", "12345  ", "é"), ("123456",)),
    Type("character(3)", ("a", "abc"), ("", "a  "), ("abcd",)),
    Type("numeric(6,2)", ("1", "2.50", "-9999.99"), ("1.005", "NaN", "1e2", "-0"), ("10000", "x")),
    Type("real", ("0.1", "1e+38", "-2"), ("-0", "NaN", "Infinity", "16777217"), ("1e39",)),
    Type("double precision", ("0.1", "1e+300"), ("-0", "NaN", "-Infinity", "1e-320"), ("1e309",)),
    Type("boolean", ("t", "f", "true"), ("FALSE", "1", "yes", "off"), ("2",)),
    Type(
        "date", ("2025-01-05", "2024-02-29"), ("20250105", "Jan 5 2025", "infinity", "0044-03-15 BC"), ("2025-02-30",)
    ),
    Type(
        "timestamptz", ("2025-01-05 12:00:00+02", "2025-01-05T12:00:00Z"), ("-infinity", "epoch"), ("2025-01-05 25:00",)
    ),
    Type("timestamp(0)", ("2025-01-05 12:00:00.5",), ("2025-01-05 12:00:00+02", "infinity"), ("yesteryear",)),
    Type("uuid", ("0194350c-8300-7000-ae62-3351e906e72a",), ("{A0EEBC999C0B4EF8BB6D6BB9BD380A11}",), ("0194350c",)),
    Type("jsonb", ('{"a": 1, "a": 2}', "null", '"x"'), ("[1,  2]", '{"ä": "\\u00e9"}'), ("{",)),
    Type("json", ('{"a": 1, "a": 2}', "null"), ("[1,  2]",), ("{",), is_sortable=False),
)
OTHER_TYPES = (
    Type("numeric", ("1", "0.10"), ("1e20", "-0.000001", "123456789012345678901234567890.5"), ("1,5",)),
    Type("time", ("12:00",), ("23:59:59.999999", "24:00:00"), ("25:00",)),
    Type("interval", ("1 day",), ("P1D", "-3 hours", "1 mon -1 day"), ("1 dog",)),
    Type("integer[]", ("{1,2}", "{}"), ("{NULL}", "{{1},{2}}"), ("{1",)),
    Type("text[]", ("{a}",), ('{a,"b,c"}', '{""}', "{NULL}", '{"say \\"hi\\""}'), ("{a",)),
    Type("bytea", ("\\x00ff",), ("abc", ""), ("\\xf",)),
    Type("inet", ("10.0.0.1",), ("10.0.0.0/8", "::1"), ("10.0.0.256",)),
    Type("@s@.mood", ("sad", "ok"), ("very ok",), ("glad",)),
    Type("@s@.positive", ("1", "7"), (), ("0", "-1")),
)


def uuid7(milliseconds: int, tail: int) -> str:
    """Return a UUID of version 7, with 62 bits behind its time."""
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | tail))


@dataclass(frozen=True)
class Time:
    """The type of a time column, and how a moment is written in it.

    Attributes:
        kind: of the type.
        sql: the type.
        units: of an integer, per second.
    """

    kind: TimeKind
    sql: str
    units: int = 1

    def text(self, microseconds: int, form: int) -> str:
        """Write the moment that is so long after the day's start, in one of several forms."""
        at = MIDNIGHT + timedelta(microseconds=microseconds)
        seconds = int(at.timestamp() // 1)
        if self.kind == "date":
            return at.date().isoformat()
        if self.kind == "integer":
            return str(seconds * self.units + at.microsecond * self.units // 1_000_000)
        if self.kind == "uuid":
            return uuid7(seconds * 1000 + at.microsecond // 1000, (0, 1, (1 << 62) - 1, form)[form % 4])
        plain = at.replace(tzinfo=None).isoformat(" ", "microseconds" if at.microsecond else "seconds")
        if self.kind == "timestamp":
            return (plain, plain.replace(" ", "T"))[form % 2]
        ahead = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
        return (f"{plain}+00", plain.replace(" ", "T") + "Z", ahead.isoformat(" "), plain)[form % 4]

    def condition(self, column: str) -> str:
        """Write the condition that a row is of the day, in SQL."""
        if self.kind == "integer":
            first = int(MIDNIGHT.timestamp()) * self.units
            return f"{column} >= {first} AND {column} < {first + DAY_SECONDS * self.units}"
        if self.kind == "uuid":
            # By its text, which sorts as the value does.
            text = f'{column}::text COLLATE "C"'
            first, after = ((int(MIDNIGHT.timestamp()) + more) * 1000 for more in (0, DAY_SECONDS))
            return (
                f"{text} >= '{uuid7(first, 0)}' AND {text} < '{uuid7(after, 0)}' AND {text} ~ '^.{{14}}7.{{4}}[89ab]'"
            )
        zone = "+00" if self.kind == "timestamptz" else ""
        return f"{column} >= '2025-01-05 00:00{zone}' AND {column} < '2025-01-06 00:00{zone}'"


TIMESTAMPTZ = Time("timestamptz", "timestamptz")
TIMES = (
    TIMESTAMPTZ,
    Time("timestamptz", "timestamptz(3)"),
    Time("timestamp", "timestamp"),
    Time("timestamp", "timestamp(0)"),
    Time("date", "date"),
    Time("integer", "integer"),
    Time("integer", "bigint", 1_000),
    Time("integer", "bigint", 1_000_000),
    Time("integer", "bigint", 1_000_000_000),
)
UUID_TIME = Time("uuid", "uuid")

_SECOND = 1_000_000
# Microseconds after the day's start: its edges, and some between.
INSIDE = (0, 1, 1000, 3600 * _SECOND, 43_200 * _SECOND, 43_200 * _SECOND + 500_000, DAY_SECONDS * _SECOND - 1)
NEAR = (-1, -1000, DAY_SECONDS * _SECOND, (DAY_SECONDS + 3600) * _SECOND, -DAY_SECONDS * _SECOND)
