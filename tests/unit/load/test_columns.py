from __future__ import annotations

from typing import Any

import pytest

from shared.csvfile.options import CsvOptions
from shared.errors import HeaderMismatch, UnknownColumn
from shared.load.columns import file_columns, plan_columns
from shared.model.request import Copy
from shared.timescale.table import Column

TABLE = (Column("time"), Column("v"), Column("g", is_generated=True))


def copy(**fields: Any) -> Copy:
    return Copy.model_validate(fields)


def test_the_header_names_the_columns_and_the_map_renames_them() -> None:
    assert file_columns(["ts", "v"], copy(column_map={"ts": "time"})) == ("time", "v")
    headerless = copy(csv_options={"HEADER": False}, columns=["ts", "v"], column_map={"ts": "time"})
    assert file_columns(None, headerless) == ("time", "v")


def test_a_swap_of_two_names_is_no_double() -> None:
    assert file_columns(["a", "b"], copy(column_map={"a": "b", "b": "a"})) == ("b", "a")


def test_a_map_that_does_not_fit() -> None:
    with pytest.raises(UnknownColumn, match="nix"):
        file_columns(["a"], copy(column_map={"nix": "b"}))
    with pytest.raises(HeaderMismatch, match="twice"):
        file_columns(["a", "b"], copy(column_map={"a": "b"}))
    with pytest.raises(HeaderMismatch):
        file_columns(["b", "a"], copy(columns=["a", "b"]))


def test_direct_mode_takes_every_column_or_none() -> None:
    plan = plan_columns(["v", "time"], TABLE, options=CsvOptions(), staging=False)
    assert (plan.file_columns, plan.loaded, plan.ignored, plan.defaulted) == (("v", "time"), ("v", "time"), (), ())
    with pytest.raises(UnknownColumn) as caught:
        plan_columns(["time", "V", "g"], TABLE, options=CsvOptions(), staging=False)
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
            plan_columns(names, TABLE, options=CsvOptions(), staging=staging)
        assert 'did you mean "v"?' in caught.value.details[-1].message
        assert "column_map" in (caught.value.hint or "")
        # Where no name is the table's, the others may be values of a row.
        assert (names[0] == "time" and not staging) or len(caught.value.details) == 1


def test_of_two_columns_the_nearer_one_is_meant() -> None:
    table = (Column("Ts"), Column("ts"), Column('"'), Column("e\u0301"))
    for name, near in ((" ts", "ts"), ('"Ts"', "Ts"), ("\u00e9", "e\u0301")):
        with pytest.raises(UnknownColumn) as caught:
            plan_columns(["Ts", name] if name != '"Ts"' else ["ts", name], table, options=CsvOptions(), staging=True)
        assert f'did you mean "{near}"?' in caught.value.details[0].message
    # Nothing is left of these names, so they are alike in nothing.
    assert plan_columns(["ts", "'"], table, options=CsvOptions(), staging=True).drifted == ("'",)


def test_a_column_that_is_left_out_is_a_warning() -> None:
    def warned(names: list[str]) -> list[str]:
        return [notice.message for notice in plan_columns(names, TABLE, options=CsvOptions(), staging=True).warnings]

    assert warned(["time", "v"]) == warned(["time", "g"]) == warned(["time"]) == []
    ((alone,), (beside,), (lines,)) = (warned(["time", "v", "w"]), warned(["time", "w"]), warned(["time", "v", "a\nb"]))
    assert ('"w"' in alone, "renamed" in alone) == (True, False)
    assert ('"v"' in beside, "renamed" in beside) == (True, True)
    assert ("column 3" in lines, "a\nb" in lines) == (True, False)


@pytest.mark.parametrize("options", [{"header": "match"}, {"force_null": ("time",)}, {"force_not_null": ("time",)}])
def test_a_row_that_is_taken_for_a_header_is_not_repeated(options: dict[str, Any]) -> None:
    with pytest.raises((HeaderMismatch, UnknownColumn)) as caught:
        plan_columns(["private", "1"], TABLE, options=CsvOptions(**options), staging=False)
    assert "private" not in str(caught.value)


def test_staging_leaves_out_what_the_table_does_not_take() -> None:
    plan = plan_columns(["old", "time", "g"], TABLE, options=CsvOptions(), staging=True)
    assert (plan.loaded, plan.ignored, plan.defaulted) == (("time",), ("old", "g"), ("v",))
    with pytest.raises(UnknownColumn):
        plan_columns(["old"], TABLE, options=CsvOptions(), staging=True)


def test_match_is_postgresqls_own_rule() -> None:
    match = CsvOptions(header="match")
    assert plan_columns(["time", "v"], TABLE, options=match, staging=False).loaded == ("time", "v")
    for header in (["v", "time"], ["time"], ["time", "v", "g"]):
        with pytest.raises(HeaderMismatch):
            plan_columns(header, TABLE, options=match, staging=True)


def test_forced_columns_must_be_in_the_file() -> None:
    with pytest.raises(UnknownColumn, match="FORCE_NULL"):
        plan_columns(["time"], TABLE, options=CsvOptions(force_null=("v",)), staging=False)
    plan_columns(["time"], TABLE, options=CsvOptions(force_null=("*",)), staging=False)
