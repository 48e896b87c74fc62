from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from shared.csvfile.header_name import HeaderName
from shared.csvfile.options import CsvOptions
from shared.errors import HeaderMismatch, UnknownColumn
from shared.load.target.columns import ColumnPlan, FileColumn, file_columns, plan_columns
from shared.model.request import Copy
from shared.timescale.table import Column

TABLE = (Column("time"), Column("v"), Column("g", is_generated=True))


def copy(**fields: Any) -> Copy:
    return Copy.model_validate(fields)


def in_header(names: Sequence[str]) -> tuple[HeaderName, ...]:
    return tuple(HeaderName(name, place) for place, name in enumerate(names, 1))


def names_in(header: Sequence[str] | None, request: Copy) -> tuple[str | None, ...]:
    return tuple(column.loaded_as for column in file_columns(None if header is None else in_header(header), request))


def printed(names: Sequence[HeaderName]) -> tuple[str, ...]:
    return tuple(str(name) for name in names)


def plan_of(
    names: Sequence[str], table: Sequence[Column] = TABLE, *, options: CsvOptions | None = None, staging: bool = False
) -> ColumnPlan:
    """The plan for a file of these columns, of which none is renamed or left out."""
    columns = [FileColumn(name, name) for name in in_header(names)]
    return plan_columns(columns, table, options=options or CsvOptions(), staging=staging)


def test_the_header_names_the_columns_and_the_map_renames_them() -> None:
    assert names_in(["ts", "v"], copy(column_map={"ts": "time"})) == ("time", "v")
    headerless = copy(csv_options={"HEADER": False}, columns=["ts", "v"], column_map={"ts": "time"})
    assert names_in(None, headerless) == ("time", "v")


def test_a_swap_of_two_names_is_not_a_duplicate() -> None:
    assert names_in(["a", "b"], copy(column_map={"a": "b", "b": "a"})) == ("b", "a")


def test_a_map_that_does_not_fit() -> None:
    with pytest.raises(UnknownColumn, match="nix"):
        file_columns(in_header(["a"]), copy(column_map={"nix": "b"}))
    with pytest.raises(HeaderMismatch, match="twice"):
        file_columns(in_header(["a", "b"]), copy(column_map={"a": "b"}))
    with pytest.raises(HeaderMismatch):
        file_columns(in_header(["b", "a"]), copy(columns=["a", "b"]))


def test_direct_mode_takes_every_column_or_none() -> None:
    plan = plan_of(["v", "time"])
    assert (plan.file_columns, plan.loaded, plan.ignored, plan.defaulted) == (("v", "time"), ("v", "time"), (), ())
    with pytest.raises(UnknownColumn) as caught:
        plan_of(["time", "V", "g"])
    assert [fault.target for fault in caught.value.details] == ["V", "g"]
    assert "did you mean" in caught.value.details[0].message
    assert "generated" in caught.value.details[1].message


SPELLINGS = (
    "V",
    "v ",
    " v",
    "\tv\r\n",
    '"v"',
    " 'V' ",
    "`v`",
    "[v]",
    "\u201cv\u201d",
    "\u00a0v",
    "\ufeffv",
    "v\u200b",
    "\uff56",
)


@pytest.mark.parametrize("staging", [False, True])
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_name_that_is_spelled_almost_like_a_column_is_refused(name: str, *, staging: bool) -> None:
    for names in (["time", name], ["time", "v", name], [name, "x"], ["time", "gone", name]):
        with pytest.raises(UnknownColumn) as caught:
            plan_of(names, staging=staging)
        assert 'did you mean "v"?' in caught.value.details[-1].message
        assert "column_map" in (caught.value.hint or "")
        # Where no name is the table's, the others may be values of a row.
        assert (names[0] == "time" and not staging) or len(caught.value.details) == 1


def test_of_two_columns_the_nearer_one_is_meant() -> None:
    table = (Column("Ts"), Column("ts"), Column('"'), Column("e\u0301"))
    for name, near in ((" ts", "ts"), ('"Ts"', "Ts"), ("\u00e9", "e\u0301")):
        with pytest.raises(UnknownColumn) as caught:
            plan_of(["Ts", name] if name != '"Ts"' else ["ts", name], table, staging=True)
        assert f'did you mean "{near}"?' in caught.value.details[0].message
    # Nothing is left of these names, so they are alike in nothing.
    assert printed(plan_of(["ts", "'"], table, staging=True).drifted) == ("column 2",)


def test_a_column_that_is_left_out_is_a_warning() -> None:
    def warned(names: list[str]) -> list[str]:
        return [notice.message for notice in plan_of(names, staging=True).warnings]

    assert warned(["time", "v"]) == warned(["time", "g"]) == warned(["time"]) == []
    ((alone,), (beside,), (lines,)) = (warned(["time", "v", "w"]), warned(["time", "w"]), warned(["time", "v", "a\nb"]))
    assert ('"w"' in alone, "renamed" in alone) == (True, False)
    assert ('"v"' in beside, "renamed" in beside) == (True, True)
    assert ("column 3" in lines, "a\nb" in lines) == (True, False)


@pytest.mark.parametrize("options", [{"header": "match"}, {"force_null": ("time",)}, {"force_not_null": ("time",)}])
def test_a_row_that_is_taken_for_a_header_is_not_repeated(options: dict[str, Any]) -> None:
    with pytest.raises((HeaderMismatch, UnknownColumn)) as caught:
        plan_of(["private", "1"], options=CsvOptions(**options))
    assert "private" not in str(caught.value)


def test_staging_leaves_out_what_the_table_does_not_take() -> None:
    plan = plan_of(["old", "time", "g"], staging=True)
    assert (plan.loaded, printed(plan.ignored), plan.defaulted) == (("time",), ("old", "g"), ("v",))
    with pytest.raises(UnknownColumn):
        plan_of(["old"], staging=True)


def test_match_is_postgresqls_own_rule() -> None:
    match = CsvOptions(header="match")
    assert plan_of(["time", "v"], options=match).loaded == ("time", "v")
    for header in (["v", "time"], ["time"], ["time", "v", "g"]):
        with pytest.raises(HeaderMismatch):
            plan_of(header, options=match, staging=True)


def test_forced_columns_must_be_in_the_file() -> None:
    with pytest.raises(UnknownColumn, match="FORCE_NULL"):
        plan_of(["time"], options=CsvOptions(force_null=("v",)))
    plan_of(["time"], options=CsvOptions(force_null=("*",)))


def test_a_column_that_the_map_leaves_out_reaches_nothing() -> None:
    leave_out = copy(column_map={"v": None, "": None, "old": "v"})
    columns = file_columns(in_header(["", "v", "time", "old", ""]), leave_out)
    for staging in (False, True):
        plan = plan_columns(columns, TABLE, options=CsvOptions(header="match"), staging=staging)
        assert plan.file_columns == (None, None, "time", "v", None)
        assert (plan.loaded, printed(plan.ignored), plan.defaulted) == (("time", "v"), ("", "v", ""), ())
        assert (plan.drifted, plan.warnings, plan.by_staging) == ((), (), True)
    assert plan_columns(columns[2:3], TABLE, options=CsvOptions(), staging=False).by_staging is False


def test_what_is_left_out_is_not_a_misspelled_column_and_the_others_are_as_before() -> None:
    columns = file_columns(in_header(["time", "V", "V", "gone"]), copy(column_map={"V": None}))
    with pytest.raises(UnknownColumn) as caught:
        plan_columns(columns, TABLE, options=CsvOptions(), staging=False)
    assert [fault.target for fault in caught.value.details] == ["gone"]
    plan = plan_columns(columns, TABLE, options=CsvOptions(), staging=True)
    assert (printed(plan.ignored), printed(plan.drifted)) == (("V", "V", "gone"), ("gone",))
    assert plan.defaulted == ("v",)
    assert "renamed" in plan.warnings[0].message


def test_a_map_may_leave_out_what_is_nameless_but_must_name_what_is_there() -> None:
    assert names_in(["time"], copy(column_map={"": None})) == ("time",)
    with pytest.raises(UnknownColumn, match="nix"):
        file_columns(in_header(["time"]), copy(column_map={"nix": None}))


def test_something_must_be_left() -> None:
    with pytest.raises(UnknownColumn, match="all") as caught:
        plan_columns(
            file_columns(in_header(["v"]), copy(column_map={"v": None})), TABLE, options=CsvOptions(), staging=True
        )
    assert caught.value.target == "copy.column_map"


@pytest.mark.parametrize("value", ["x", ""])
def test_the_key_of_nameless_columns_renames_none(value: str) -> None:
    with pytest.raises(ValidationError):
        copy(column_map={"": value})


ROW = ("2025-01-01", "a row's value", "word7731")


@pytest.mark.parametrize("say", [str, repr, "{}".format, "%s".__mod__])
def test_a_name_out_of_the_file_prints_as_its_position_until_it_is_known(say: Callable[[HeaderName], str]) -> None:
    name = HeaderName("private", 3)
    assert "private" not in say(name)
    assert str(name) == name.quoted == "column 3"
    assert (str(name.marked(known=True)), name.marked(known=True).quoted) == ("private", '"private"')
    assert str(HeaderName("private\nx", 3).marked(known=True)) == "column 3"
    with pytest.raises(TypeError):
        json.dumps(name)


def test_before_the_table_is_known_only_names_of_the_request_are_shown() -> None:
    for request, shown in (
        (copy(columns=["time", "zz"]), 'column 1, column 2, column 3, "time"'),
        (copy(column_map={"nix": "time", "time": "x"}), 'column 1, column 2, column 3, "time"'),
    ):
        with pytest.raises((HeaderMismatch, UnknownColumn)) as caught:
            file_columns(in_header([*ROW, "time"]), request)
        assert str(caught.value).endswith(f"the file's columns are {shown}")
    with pytest.raises(UnknownColumn, match="none of them is one of the file's 3 columns"):
        file_columns(in_header(ROW), copy(column_map={"nix": "time"}))


@pytest.mark.parametrize(
    ("names", "ignored"),
    [
        # At least half of the names are the table's, so it is a header; a word in it is a name.
        (("time", "v", "word7731", "größe_2"), ("word7731", "größe_2")),
        (("time", "v", "two words", "a-b", "x" * 64), ("column 3", "column 4", "column 5")),
        # Less than half: it may be a row in which two values are also names.
        (("time", "v", *ROW), ("column 3", "column 4", "column 5")),
        # Behind a quote that is not closed there are rows.
        (("time", "v", "g", "a\nb", "word7731"), ("g", "column 4", "column 5")),
    ],
)
def test_names_that_an_answer_shows(names: tuple[str, ...], ignored: tuple[str, ...]) -> None:
    plan = plan_of(names, staging=True)
    assert printed(plan.ignored) == ignored
    # No text of the file goes any further.
    assert set(plan.file_columns) <= {"time", "v", "g", None}
    assert "word7731" in ignored or "word7731" not in repr(plan)


def test_a_name_that_differs_from_a_columns_in_spelling_only_is_shown_unless_it_is_long() -> None:
    for name, shown in ((' "V" ', ' "V" '), ("v" + " " * 99, "column 2")):
        with pytest.raises(UnknownColumn) as caught:
            plan_of(["x", name, *ROW], staging=True)
        assert (caught.value.target, 'did you mean "v"?' in caught.value.details[0].message) == (shown, True)


def test_what_is_near_to_a_value_is_not_told() -> None:
    table = (Column("time"), Column("v"), Column("confidential"))
    with pytest.raises(UnknownColumn) as caught:
        plan_of(["time", "confidentia!", *ROW], table)
    assert "confidential" not in str([fault.message for fault in caught.value.details])


def test_the_widest_table_has_each_name_read_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row beside 1,600 columns took half a minute, when each name of the file was read beside each of the table."""
    names = [f"c{number}" for number in range(1_600)]
    real, read = unicodedata.normalize, list[str]()

    def normalize(form: Any, text: str, /) -> str:
        read.append(text)
        return real(form, text)

    monkeypatch.setattr("unicodedata.normalize", normalize)
    plan = plan_of([*names[:-1], "gone"], [Column(name) for name in names], staging=True)
    assert (len(plan.loaded), printed(plan.drifted), plan.defaulted) == (1_599, ("gone",), ("c1599",))
    # Reading one of the 3,200 names normalizes it twice.
    assert 0 < len(read) <= 4 * 3_200
