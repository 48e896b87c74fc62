from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.window import TimeKind, day_window, is_written_time_of, iso, units_per_second_of

DAY = date(2025, 1, 1)
DAYS = st.dates(min_value=date(1975, 1, 1), max_value=date(2200, 1, 1))


@pytest.mark.parametrize(
    ("kind", "lower", "upper", "last"),
    [
        ("timestamptz", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", "2025-01-01T23:59:59.999999Z"),
        ("timestamp", "2025-01-01T00:00:00", "2025-01-02T00:00:00", "2025-01-01T23:59:59.999999"),
        ("date", "2025-01-01", "2025-01-02", "2025-01-01"),
        ("integer", 1735689600, 1735776000, 1735775999),
        ("uuid", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", "2025-01-01T23:59:59.999000Z"),
    ],
)
def test_the_day_in_each_type(kind: TimeKind, lower: str | int, upper: str | int, last: str | int) -> None:
    window = day_window(DAY, kind)
    assert (iso(window.lower), iso(window.upper), iso(window.last)) == (lower, upper, last)


@pytest.mark.parametrize(
    ("day", "lower", "upper", "last"),
    [
        # As TimescaleDB's to_uuidv7_boundary() has the first two.
        (DAY, "01941f29-7c00-7000", "0194244f-d800-7000", "0194244f-d7ff-7fff"),
        (date(1970, 1, 1), "00000000-0000-7000", "00000526-5c00-7000", "00000526-5bff-7fff"),
        # Before 1970 no UUID has a time.
        (date(1969, 12, 31), "00000000-0000-7000", "00000000-0000-7000", "00000000-0000-7fff"),
        (date(9998, 12, 31), "e6707548-5400-7000", "e6707a6e-b000-7000", "e6707a6e-afff-7fff"),
    ],
)
def test_the_day_as_uuids(day: date, lower: str, upper: str, last: str) -> None:
    window = day_window(day, "uuid")
    assert window.column_bounds == (f"{lower}-8000-000000000000", f"{upper}-8000-000000000000")
    assert window.column_ends == (f"{lower}-8000-000000000000", f"{last}-bfff-ffffffffffff")


def test_chunk_ranges_are_compared_in_utc() -> None:
    expected = (datetime(2025, 1, 1, tzinfo=timezone.utc), datetime(2025, 1, 2, tzinfo=timezone.utc))
    for kind in ("timestamptz", "timestamp", "date", "uuid"):
        assert day_window(DAY, kind).chunk_bounds == expected
    assert day_window(DAY, "integer", 1000).chunk_bounds == (1735689600000, 1735776000000)


@given(DAYS, st.integers(0, 86399), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_the_unit_is_read_off_a_value_of_the_day(day: date, second: int, units: int) -> None:
    epoch = (day - date(1970, 1, 1)) // timedelta(days=1) * 86400
    value = (epoch + second) * units
    assert units_per_second_of([str(value)], day) == units
    assert units_per_second_of(["not a number", value], day) == units
    window = day_window(day, "integer", units)
    assert isinstance(window.lower, int)
    assert isinstance(window.upper, int)
    assert window.lower <= value < window.upper


@pytest.mark.parametrize("sample", ["", "x", "0", "-5", "20089", "99999999999999999999999", "1.5", "²"])
def test_a_value_that_is_far_from_the_day_decides_nothing(sample: str) -> None:
    assert units_per_second_of([sample], DAY) is None


@pytest.mark.parametrize(
    "value",
    [
        *("1735689600", "1735775999", "1735775999.9", "1.7356932e9", "1735689600000", "1735689600000000"),
        *("1735775999999999999", "2025-01-01 00:00", "2025-01-01T23:59:59.5Z", "2025-01-01 01:00:00+00"),
        *("2025-01-01 01:00:00,5 UTC", "2025-01-01T01:00-0230"),
    ],
)
def test_a_time_of_the_day_in_any_usual_form(value: str) -> None:
    assert is_written_time_of(value, DAY)


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "7", "-1", "nan", "inf", "20250101", "1735689599", "1735776000", "1735776000000", "2025-01-01"),
        *("2025-01-02 00:00", "2024-12-31 23:59", "at 2025-01-01 01:00", "2025-01-01 01:00 error", "1735689600 s"),
    ],
)
def test_what_is_not_a_time_of_the_day(value: str) -> None:
    assert not is_written_time_of(value, DAY)


def test_a_day_before_1970_has_no_numbers() -> None:
    assert not any(is_written_time_of(value, date(1969, 12, 31)) for value in ("-1", "0", "1", "-86400000"))
