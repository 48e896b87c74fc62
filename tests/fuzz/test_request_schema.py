"""Requests made from the request's own schema: what it allows is never a 500, another type is a 400 that names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model.request import RestoreRequest
from tests.fuzz.fix_fuzz import FUZZ, Target

SCHEMA = RestoreRequest.model_json_schema()

# Names that are there as well as any other text, or most requests would end at an unknown name.
TEXT = st.sampled_from(["t", "time", "v", "nix", ",", '"', "UTF8", "", "NULL", "0" * 64]) | st.text(max_size=6)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMA["$defs"][reference] if reference else schema


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate what a schema allows, as far as pydantic writes schemas for this request."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return st.one_of([from_schema(option) for option in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return BY_TYPE[schema["type"]](schema)


def an_object(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(TEXT, from_schema(schema["additionalProperties"]), max_size=3)
    assert not schema.get("required"), "no field but adls_url is needed"
    return st.fixed_dictionaries({}, optional={name: from_schema(item) for name, item in schema["properties"].items()})


BY_TYPE: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "null": lambda _: st.none(),
    "boolean": lambda _: st.booleans(),
    "string": lambda _: TEXT,
    "integer": lambda schema: st.integers(schema.get("minimum", -(2**70)), schema.get("maximum", 2**70)),
    "number": lambda schema: st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False),
    "array": lambda schema: st.lists(from_schema(schema["items"]), min_size=schema.get("minItems", 0), max_size=4),
    "object": an_object,
}


# The archive is read from text, and the server is the test's: these two are not the schema's to make up.
SECTIONS = {name: item for name, item in SCHEMA["properties"].items() if name not in {"adls_url", "pg"}}
REQUESTS = st.fixed_dictionaries({}, optional={name: from_schema(item) for name, item in SECTIONS.items()})


@pytest.fixture
def base(target: Target) -> dict[str, Any]:
    target.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = target.app.archive("t", b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n")
    return {"adls_url": url, "pg": target.app.database.pg}


@settings(FUZZ, max_examples=300)
@given(request=REQUESTS)
def test_what_the_schema_allows_is_answered(target: Target, base: dict[str, Any], request: dict[str, Any]) -> None:
    answer = target.send(base | request)
    assert answer.status in {200, 400, 404, 409, 422}, answer.body
    assert answer.status == 200 or answer.body["error"]["message"]


def fields(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Walk the schema's fields, those of the sections included."""
    for name, item in resolved(schema)["properties"].items():
        yield (*path, name), item
        if "properties" in resolved(item):
            yield from fields(item, (*path, name))


def types(schema: dict[str, Any]) -> set[str]:
    schema = resolved(schema)
    return {kind for option in schema["anyOf"] for kind in types(option)} if "anyOf" in schema else {schema["type"]}


WRONG: dict[str, Any] = {
    "string": "no such value \u00e9",
    "number": 1.5,
    "boolean": True,
    "integer": 7,
    "array": [1.5],
    "object": {"nix": 1.5},
}

FIELDS = dict(fields(SCHEMA))


def wrong_types() -> list[tuple[tuple[str, ...], str]]:
    """Pair each field with what it is not. In an object or a list that may be one, the members are wrong."""
    return [
        (path, kind)
        for path, schema in FIELDS.items()
        for kind in WRONG
        if kind not in types(schema) or kind in {"array", "object"}
    ] + [(path, "string") for path, schema in FIELDS.items() if "enum" in json.dumps(schema)]


@pytest.mark.parametrize(("path", "kind"), wrong_types())
def test_a_wrong_type_is_refused_by_name(target: Target, path: tuple[str, ...], kind: str) -> None:
    *sections, name = path
    body: dict[str, Any] = {"adls_url": target.app.storage.url("b/db/s.t.2025-01-01.csv.gz")}
    section = body
    for step in sections:
        section = section.setdefault(step, {})
    section[name] = WRONG[kind]
    answer = target.send(json.dumps(body).encode())
    assert (answer.status, answer.body["error"]["retryable"]) == (400, False), answer.body
    shown = ".".join((*sections, name.upper() if "csv_options" in sections else name))
    targets = [answer.body["error"]["target"], *(fault["target"] for fault in answer.body["error"]["details"])]
    assert any(str(found).startswith(shown) for found in targets), targets
