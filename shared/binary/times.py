"""Dates and times of the day, as PostgreSQL writes them and most others do.

Arrow's parser (cpp/src/arrow/util/value_parsing.h) takes the forms of ISO 8601 with a date of ten characters.
PostgreSQL reads them as well, and alike, but for the year 0 and zones of 16 hours and more, which it refuses, and times
without minutes or seconds.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shared.binary.arrow import cast, data_of, lengths, text_of
from shared.binary.plan import Kind, demand, not_plain

_DATE_LENGTH = len("2025-01-01")
_TIME_LENGTH = len("2025-01-01 00:00:00")
_ZONE_HOURS = re.compile(rb"[+-](0[0-9]|1[0-5])")
_WITH_MINUTES = re.compile(rb":[0-9]{2}")
_YEAR_1 = datetime(1, 1, 1)  # noqa: DTZ001 - of UTC, as all that is compared with it
# In a zone behind UTC, the last hours of the year 0 belong to the first day of the year 1.
_ZONED_YEAR_1 = datetime(1, 1, 2)  # noqa: DTZ001


def dates(cells: Any) -> Any:
    """Read dates.

    Args:
        cells: an array of `binary`.

    Returns:
        The same as `date32`.

    Raises:
        NotExact: a cell is no date of ten characters, from the year 1 on.
    """
    what = not_plain("date")
    days = cast(cells, pa.date32(), "date")
    demand(holds=_is_from(_YEAR_1, days), what=what)
    demand(holds=lengths(cells) in ((_DATE_LENGTH, _DATE_LENGTH), (0, 0)), what=what)
    return days


def timestamps(cells: Any, *, zoned: bool) -> Any:
    """Read points in time.

    Args:
        cells: an array of `binary`.
        zoned: for a `timestamptz`: all have a zone, or none has and then all are of UTC. Else: none has.

    Returns:
        The same in microseconds.

    Raises:
        NotExact: a cell is no date and time to the second, with up to six digits of it.
    """
    kind: Kind = "timestamptz" if zoned else "timestamp"
    what = not_plain(kind)
    demand(holds=_have_seconds(cells), what=what)
    if not zoned:
        times = cast(cells, pa.timestamp("us"), kind)
    else:
        type_ = pa.timestamp("us", "UTC")
        try:
            times = text_of(cells).cast(type_)
        except pa.ArrowInvalid:
            times = cast(cells, pa.timestamp("us"), kind).cast(type_)
        else:
            demand(holds=_zones_are_known(cells), what=what)
    demand(holds=_is_from(_ZONED_YEAR_1 if zoned else _YEAR_1, times), what=what)
    return times


def _have_seconds(cells: Any) -> bool:
    """Whether all cells begin as `2025-01-01 00:00:00` does, a digit being any character: what they are Arrow says."""
    if not len(cells) - cells.null_count:
        return True
    if lengths(cells)[0] < _TIME_LENGTH:
        return False
    heads = data_of(pc.binary_slice(cells, 0, _TIME_LENGTH))
    count = len(heads) // _TIME_LENGTH

    def at(place: int) -> bytes:
        return heads[place::_TIME_LENGTH]

    is_separated = not at(10).translate(None, b" T")
    return is_separated and at(4).count(b"-") == at(7).count(b"-") == at(13).count(b":") == at(16).count(b":") == count


def _zones_are_known(cells: Any) -> bool:
    """Whether PostgreSQL knows the zones, each of which Arrow knows: Z, +hh or +hh:mm, of less than 16 hours."""
    tails = pc.binary_slice(cells, -3)
    found = [tail for tail in tails.unique().to_pylist() if tail is not None and not tail.endswith(b"Z")]
    minutes = [tail for tail in found if _WITH_MINUTES.fullmatch(tail)]
    if minutes:
        long = cells.filter(pc.is_in(tails, value_set=pa.array(minutes, pa.binary())))
        found += [hours for hours in pc.binary_slice(long, -6, -3).unique().to_pylist() if hours is not None]
    return all(_ZONE_HOURS.fullmatch(hours) for hours in found if hours not in minutes)


def _is_from(begin: datetime, times: Any) -> bool:
    if not len(times) - times.null_count:
        return True
    earliest = pa.scalar(begin, pa.timestamp("us")).cast(times.type)
    return bool(pc.greater_equal(pc.min(times), earliest).as_py())
