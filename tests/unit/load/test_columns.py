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
