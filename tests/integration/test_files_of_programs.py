"""What docs/request.md says of the files of other programs, on the real server: the options are the page's own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App
from tools.pages import section

# A quote, a comma, a NULL and an empty text: what programs write in different ways.
SAMPLES = {
    "PostgreSQL": b'ts,note,v\n2025-01-01 01:00:00+00,"say ""hi"", you",1.5\n2025-01-01 02:00:00+00,,\n'
    b'2025-01-01 03:00:00+00,"",2.5\n',
    "Spark": b'ts,note,v\n2025-01-01T01:00:00.000Z,"say \\"hi\\", you",1.5\n2025-01-01T02:00:00.000Z,,\n'
    b'2025-01-01T03:00:00.000Z,"",2.5\n',
    "Data Factory": b'"ts","note","v"\r\n"2025-01-01 01:00:00.0000000","say \\"hi\\", you","1.5"\r\n'
    b'"2025-01-01 02:00:00.0000000","",""\r\n"2025-01-01 03:00:00.0000000","","2.5"\r\n',
    "pandas": b'ts,note,v\n2025-01-01 01:00:00+00:00,"say ""hi"", you",1.5\n2025-01-01 02:00:00+00:00,,\n'
    b"2025-01-01 03:00:00+00:00,,2.5\n",
    "BigQuery": b'ts,note,v\n2025-01-01 01:00:00 UTC,"say ""hi"", you",1.5\n2025-01-01 02:00:00 UTC,,\n'
    b'2025-01-01 03:00:00 UTC,"",2.5\n',
    "Excel": b'ts;note;v\r\n2025-01-01 01:00;"say ""hi"", you";1,5\r\n2025-01-01 02:00;;\r\n'
    b"2025-01-01 03:00;M\xfcller \x80;2,5\r\n",
}
# What the third row's text is.
THIRD = {"PostgreSQL": "", "Spark": "", "Data Factory": None, "pandas": None, "BigQuery": "", "Excel": "Müller €"}


def documented() -> dict[str, dict[str, Any]]:
    """The page's options by the program's name."""
    text = section("request.md", "Files of other programs")
    found = re.findall(r"^\| (?!written)([\w ]+?) (?:\(|where ).* \| `(\{.*\})` \|$", text, re.MULTILINE)
    return {program: json.loads(options) for program, options in found}


def load(app: App, program: str, options: dict[str, Any], mode: str = "direct", number: str = "float8") -> Answer:
    app.database.execute("DROP TABLE IF EXISTS {s}.t")
    app.database.hypertable("t", f"ts timestamptz NOT NULL, note text, v {number}", time="ts")
    return app.restore(app.archive("t", SAMPLES[program]), copy={"csv_options": options}, destination={"mode": mode})


def test_each_program_of_the_page_has_a_sample() -> None:
    assert set(documented()) == set(SAMPLES) == set(THIRD)


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("program", SAMPLES)
def test_a_file_of_the_program_loads_by_the_options_of_the_page(app: App, program: str, mode: str) -> None:
    number = "text" if program == "Excel" else "float8"
    answer = load(app, program, documented()[program], mode, number)
    assert (answer.status, answer.body.get("status")) == (200, "ok"), answer.body
    first, last = ("1,5", "2,5") if program == "Excel" else (1.5, 2.5)
    assert app.database.fetch(
        "SELECT extract(hour FROM ts AT TIME ZONE 'UTC')::int, note, v FROM {s}.t ORDER BY ts"
    ) == [
        (1, 'say "hi", you', first),
        (2, None, None),
        (3, THIRD[program], last),
    ]


@pytest.mark.parametrize("program", ["Spark", "Data Factory", "Excel"])
def test_without_its_options_the_file_is_refused_or_warned_of(app: App, program: str) -> None:
    options = {name: value for name, value in documented()[program].items() if name == "FORCE_NULL"}
    answer = load(app, program, options)
    warnings = [warning["code"] for warning in answer.body.get("warnings", [])]
    assert answer.status == 422 or warnings == ["BackslashQuotes"], answer.body


# For each row of the page's second table, by its first words: a file as it describes it, of the same two rows.
FURTHER = {
    "columns without": b"ts,note,v,\n2025-01-01 01:00Z,a,1,\n2025-01-01 02:00Z,,2,\n",
    "Excel's first": b"sep=;\r\nts;note;v\r\n2025-01-01 01:00Z;a;1\r\n2025-01-01 02:00Z;;2\r\n",
    "two lines, such": b"# it's \"a comment\n\nts,note,v\n2025-01-01 01:00Z,a,1\n2025-01-01 02:00Z,,2\n",
    "a header whose": b"Zeit,Notiz,Wert\n2025-01-01 01:00Z,a,1\n2025-01-01 02:00Z,,2\n",
    "no header,": b"2025-01-01 01:00Z,a,1\n2025-01-01 02:00Z,,2\n",
    "a column": b"ts,extra,note,v\n2025-01-01 01:00Z,x,a,1\n2025-01-01 02:00Z,y,,2\n",
    "NULL as a word": b"ts,note,v\n2025-01-01 01:00Z,a,1\n2025-01-01 02:00Z,\\N,2\n2025-01-01 03:00Z,\\N,\\N\n",
    "NULL as an": b'ts,note,v\n2025-01-01 01:00Z,a,"1"\n2025-01-01 02:00Z,,"2"\n2025-01-01 03:00Z,,""\n',
}


def further() -> dict[str, dict[str, Any]]:
    """The page's `copy` by the first words of its row."""
    text = section("request.md", "Files of other programs").partition("| the file has |")[2]
    rows = re.findall(r"^\| ([^|]+) \| `(\{.*\})` \|$", text, re.MULTILINE)
    return {next(words for words in FURTHER if row.startswith(words)): json.loads(copy) for row, copy in rows}


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("words", FURTHER)
def test_a_file_with_more_to_it_loads_as_the_page_says(app: App, words: str, mode: str) -> None:
    app.database.hypertable("t", "ts timestamptz NOT NULL, note text, v float8", time="ts")
    url, destination = app.archive("t", FURTHER[words]), {"mode": mode}
    copy = further()[words]
    if mode == "direct":
        assert app.restore(url, destination=destination).status == 422
    answer = app.restore(url, copy=copy, destination=destination)
    assert (answer.status, answer.body.get("status")) == (200, "ok"), answer.body
    assert app.database.fetch("SELECT note, v FROM {s}.t ORDER BY ts")[:2] == [("a", 1), (None, 2)]


def test_a_column_of_numbers_refuses_a_decimal_comma(app: App) -> None:
    answer = load(app, "Excel", documented()["Excel"])
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert answer.body["error"]["details"][0]["column"] == "v"
