"""docs/openapi.json is what the code gives, is valid, and is what importers can read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft4Validator
from openapi_spec_validator import validate

from shared.api.parse import parse_request
from shared.errors import InvalidRequest, RequestError
from shared.jobs import http, submit
from tests.fix_contract import DOCUMENT, OPERATION, OPERATIONS, check_answer, request_faults, schemas_of
from tools.config import REPOSITORY
from tools.openapi import files
from tools.pages import DOCS, meanings, rows, section
from tools.schemas import ANSWER, CALENDAR, ERROR, MONITOR, MONITORS, OF_BACKFILLS, REQUEST

URL = "abfss://archive@account.dfs.core.windows.net/backups/weavix/silver.telemetry.2025-01-01.csv.gz"
SWAGGER: dict[str, Any] = json.loads((DOCS / "openapi-2.0.json").read_text(encoding="utf-8"))
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
REQUESTS = OPERATION["requestBody"]["content"]["application/json"]["examples"]
# A caller's request by sections: what it is made of, and where.
SECTIONS: dict[str, tuple[str, ...]] = {
    "RestoreRequest": (),
    "Pg": ("pg",),
    "Destination": ("destination",),
    "Timescaledb": ("timescaledb",),
    "Copy": ("copy",),
    "CsvOptions": ("copy", "csv_options"),
}


def request(path: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    for name in reversed(path):
        fields = {name: fields}
    return {"adls_url": URL} | fields


@pytest.mark.parametrize(("name", "document"), files().items(), ids=files())
def test_the_files_are_what_the_code_gives(name: str, document: dict[str, Any]) -> None:
    assert json.loads((DOCS / name).read_text(encoding="utf-8")) == document, "run make openapi"


@pytest.mark.parametrize("document", [DOCUMENT, SWAGGER], ids=["3.1", "2.0"])
def test_it_is_valid(document: dict[str, Any]) -> None:
    validate(document)


@pytest.mark.parametrize("example", [pytest.param(item["value"], id=name) for name, item in REQUESTS.items()])
def test_the_examples_of_requests_are_requests(example: dict[str, Any]) -> None:
    assert not request_faults(example)


@pytest.mark.parametrize("status", [status for status, said in OPERATION["responses"].items() if "content" in said])
def test_the_examples_of_answers_are_answers(status: str) -> None:
    example = OPERATION["responses"][status]["content"]["application/json"].get("example")
    assert example is not None or status not in {"200", "400"}
    if example is not None:
        headers = {"x-ms-request-id": example["request_id"]}
        code = {"x-ms-error-code": example["error"]["code"]} if "error" in example else {}
        check_answer(int(status), headers | code, example)


def test_all_codes_stand_under_their_status() -> None:
    documented = {code: cells[0] for code, cells in rows(section("errors.md", "All codes")).items()}
    # It never fails a restore.
    del documented["CaggNotFound"]
    said = {
        code: status
        for operation in OPERATIONS.values()
        for status, response in operation["responses"].items()
        for code in response.get("headers", {}).get("x-ms-error-code", {}).get("schema", {}).get("enum", [])
    }
    assert said == documented


def leaves(name: str, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk the fields that hold a value, each under the name that the pages give it."""
    for field, item in SCHEMAS[name]["properties"].items():
        part = next((one for one in item.get("anyOf", []) if "$ref" in one or one.get("type") == "array"), item)
        below = f"{path}{field}[]." if part.get("type") == "array" else f"{path}{field}."
        inner = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(part))
        if inner:
            yield from leaves(inner[0], below)
        elif "properties" in part:
            yield from ((f"{below}{stage}", number) for stage, number in part["properties"].items())
        else:
            yield f"{path}{field}", item


@pytest.mark.parametrize(
    ("name", "page", "headings"),
    [
        (REQUEST, "request.md", ["All fields", "copy.csv_options"]),
        (ANSWER, "answer.md", ["200"]),
        (ERROR, "answer.md", ["Errors"]),
        (MONITOR, "jobs.md", ["See how far it is"]),
        ("CalendarDay", "days.md", ["The answer"]),
    ],
)
def test_each_field_of_the_pages_is_in_the_schema_with_its_words(name: str, page: str, headings: list[str]) -> None:
    documented: dict[str, str] = {}
    for heading in headings:
        documented |= meanings(page, heading)
    # One row of the page stands for the parts of a list or of an object.
    whole = {
        field for field in documented if any(path.startswith((f"{field}.", f"{field}[].")) for path, _ in leaves(name))
    }
    described = {path: item.get("description") for path, item in leaves(name)}
    assert set(described) >= set(documented) - whole
    lacking = {path for path in described if not described[path]}
    assert all(path.startswith(tuple(whole)) for path in lacking), lacking


@pytest.mark.parametrize("path", SECTIONS.values(), ids=SECTIONS)
def test_an_unknown_field_is_refused_wherever_it_stands(path: tuple[str, ...]) -> None:
    assert not request_faults(request(path))
    assert request_faults(request(path, nix=1))
    with pytest.raises(InvalidRequest):
        parse_request(json.dumps(request(path, nix=1)).encode())


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for name, path in SECTIONS.items() for field in SCHEMAS[name]["properties"] if field != "adls_url"],
)
def test_null_is_left_out(path: tuple[str, ...], field: str) -> None:
    body = request(path, **{field: None})
    assert parse_request(json.dumps(body).encode()) == parse_request(json.dumps({"adls_url": URL}).encode())
    assert not request_faults(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"adls_url": None},
        {"adls_url": ""},
        [],
        {"adls_url": URL, "pg": {"port": 0}},
        {"adls_url": URL, "pg": {"sslmode": "on"}},
        {"adls_url": URL, "destination": {"mode": "Direct"}},
        {"adls_url": URL, "timescaledb": {"refresh_caggs": "some"}},
        {"adls_url": URL, "copy": {"expected_rows": -1}},
        {"adls_url": URL, "copy": {"expected_sha256": "abc"}},
        {"adls_url": URL, "copy": {"csv_options": {"DELIMITER": "ab"}}},
        {"adls_url": URL, "copy": {"csv_options": {"HEADER": "maybe"}}},
    ],
)
def test_what_the_schema_refuses_the_function_refuses_too(body: Any) -> None:
    assert request_faults(body)
    with pytest.raises(RequestError):
        parse_request(json.dumps(body).encode())


def test_every_section_of_the_request_is_looked_at() -> None:
    assert schemas_of(REQUEST) == set(SECTIONS)


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from parts(item)


def test_nothing_in_it_is_known_to_stop_an_importer() -> None:
    # docs/openapi.md says where each of these comes from.
    for part in parts(SCHEMAS):
        assert "$ref" not in part or set(part) == {"$ref"}
        assert not isinstance(part.get("type"), list)
        assert "const" not in part
    for part in parts(SWAGGER["definitions"]):
        assert not {"anyOf", "oneOf", "propertyNames", "const"} & set(part)
        assert part.get("type") != "null"
    for document, most in (("openapi.json", 4_000_000), ("openapi-2.0.json", 1_000_000)):
        assert (DOCS / document).stat().st_size < most
    assert len(OPERATIONS) == sum(map(len, DOCUMENT["paths"].values()))
    for name, operation in OPERATIONS.items():
        assert re.fullmatch(r"\w{1,76}", name)
        assert len(operation["summary"]) <= 300
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        schemas = [content["content"]["application/json"]["schema"] for content in contents if "content" in content]
        assert all(set(schema) == {"$ref"} for schema in schemas)
    # A schema that leads back to itself would never end here.
    assert set(SCHEMAS) == set().union(
        *(schemas_of(name) for name in (ANSWER, ERROR, REQUEST, MONITOR, MONITORS, CALENDAR, *OF_BACKFILLS))
    )


def with_null(value: Any) -> Any:
    """What Swagger 2.0 means by `x-nullable`, in words of JSON Schema."""
    if isinstance(value, list):
        return [with_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {name: with_null(item) for name, item in value.items() if name != "x-nullable"}
    return {"anyOf": [schema, {"type": "null"}]} if value.get("x-nullable") is True else schema


@pytest.mark.parametrize("example", [pytest.param(item["value"], id=name) for name, item in REQUESTS.items()])
def test_the_older_form_takes_the_same_requests(example: dict[str, Any]) -> None:
    schema = {"$ref": "#/definitions/RestoreRequest", "definitions": with_null(SWAGGER["definitions"])}
    Draft4Validator(schema).validate(example)
    assert not Draft4Validator(schema).is_valid(example | {"nix": 1})


def test_the_older_form_says_the_same_of_the_answers() -> None:
    for path, operations in SWAGGER["paths"].items():
        for method, operation in operations.items():
            check_older_form(operation, DOCUMENT["paths"][path][method])
    assert (SWAGGER["host"], SWAGGER["basePath"]) == ("restore-chunk.azurewebsites.net", "/api")
    # A connector takes the first of several.
    assert SWAGGER["security"][0] == {"functionKey": []}


def check_older_form(operation: dict[str, Any], newer: dict[str, Any]) -> None:
    assert set(operation["responses"]) == set(newer["responses"])
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names - {"request"} == {parameter["name"] for parameter in newer.get("parameters", [])}
    for status, response in operation["responses"].items():
        assert set(response.get("headers", {})) == set(newer["responses"][status].get("headers", {}))
        assert ("schema" in response) == ("content" in newer["responses"][status])


def test_the_function_makes_no_schema_when_it_starts() -> None:
    sources = [*(REPOSITORY / "shared").rglob("*.py"), *(REPOSITORY / "RestoreChunk").rglob("*.py")]
    assert not [path for path in sources if re.search(r"\bTypeAdapter\b|\bmodel_json_schema\b", path.read_text())]


def test_it_names_the_headers_and_parameters_that_the_function_reads() -> None:
    def names(operation: str) -> set[str]:
        return {one["name"] for one in OPERATIONS[operation]["parameters"]}

    assert names("restoreDay") == {"Prefer", *submit.ID_HEADERS}
    assert names("restoreDays") == set(submit.ID_HEADERS)
    assert names("listRestores") == {*http.FILTERS, "top", "after"}
