from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restorectl import texts

anything = st.text(st.characters())


@given(anything)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert texts.plain(text).isprintable()


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_what_can_be_seen_stays(text: str) -> None:
    assert texts.plain(text) == text


@given(anything)
def test_json_stays_the_same_value_and_is_harmless(text: str) -> None:
    written = texts.safe_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(written) == {text: [text]}
    assert not set(written) & {chr(code) for code in [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2028]}


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2177822, "2.1 MiB"), (5 * 1024**4, "5.0 TiB")],
)
def test_sizes(number: int | None, text: str) -> None:
    assert texts.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, ""), (0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234567, "1,234,567 rows")]
)
def test_counts(number: int | None, text: str) -> None:
    assert texts.count(number, "rows") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (61, "1 min 01 s"), (3599.7, "1 h 00 min")],
)
def test_durations(number: float | None, text: str) -> None:
    assert texts.seconds(number) == text


def test_times_are_shown_to_the_second() -> None:
    assert texts.moment("2025-01-01T02:03:04.567Z") == "2025-01-01 02:03:04Z"
    assert texts.moment("2025-01-01T02:03:04Z") == "2025-01-01 02:03:04Z"
    assert texts.moment("soon") == "soon"
    assert texts.moment(None) == ""


def test_times_of_a_list_are_shown_to_the_minute() -> None:
    assert texts.minute("2025-01-01T02:03:04.567Z") == "2025-01-01 02:03Z"
    assert texts.minute("soon") == "soon"
    assert texts.minute(None) == ""
