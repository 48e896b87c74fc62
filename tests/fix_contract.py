"""What a caller may rely on: docs/openapi.json, held against real requests and real answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tools.pages import DOCS
from tools.schemas import PLACE, REQUEST, references

DOCUMENT: dict[str, Any] = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS: dict[str, Any] = {
    operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()
}
OPERATION: dict[str, Any] = OPERATIONS["restoreDay"]


def _closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """Allow no field that is not in the document. To callers the answers are open: they may get more one day."""
    for schema in schemas.values():
        for part in [schema, *schema.get("properties", {}).values()]:
            if "properties" in part:
                part.setdefault("additionalProperties", False)
    return schemas


@cache
def validator(schema: str) -> Draft202012Validator:
    """Return the validator of a schema of the document, by its name or by the whole of it as JSON."""
    closed = {"components": {"schemas": _closed(deepcopy(DOCUMENT["components"]["schemas"]))}}
    registry: Registry[Any] = Registry().with_resource("urn:contract", DRAFT202012.create_resource(closed))
    body = json.loads(schema.replace("#/components", "urn:contract#/components"))
    return Draft202012Validator(body, registry=registry)


def faults(schema: Mapping[str, Any], value: Any) -> list[str]:
    found = validator(json.dumps(schema)).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def check_answer(status: int, headers: Mapping[str, str], body: Any, operation: Mapping[str, Any] = OPERATION) -> None:
    """Fail where an answer is not what the document says of an operation's status, headers included."""
    said = operation["responses"].get(str(status))
    assert said is not None, f"the document knows no status {status}"
    given = {name.lower(): value for name, value in headers.items()}
    for name, header in said["headers"].items():
        value: Any = given.get(name.lower())
        assert value is not None or not header["required"], f"{status} lacks the header {name}"
        if value is not None and header["schema"]["type"] == "integer":
            assert value.isdecimal(), (name, value)
            value = int(value)
        assert value is None or not faults(header["schema"], value), (name, value)
    if body is None:
        assert not any(header["required"] for header in said["headers"].values()), "the body is empty"
        return
    assert not faults(said["content"]["application/json"]["schema"], body), body
    if "request_id" in body:
        assert given["x-ms-request-id"] == body["request_id"]
        assert given.get("x-ms-error-code") == body.get("error", {}).get("code")


def request_faults(body: Any) -> list[str]:
    """Say what of a request the document does not allow. The csv options may be in any case, as it says in words."""
    shown = deepcopy(body)
    options = (shown.get("copy") or {}).get("csv_options") if isinstance(shown, dict) else None
    if isinstance(options, dict):
        shown["copy"]["csv_options"] = options = {name.upper(): option for name, option in options.items()}
        if isinstance(options.get("HEADER"), str):
            options["HEADER"] = options["HEADER"].lower()
    return faults({"$ref": PLACE + REQUEST}, shown)


def schemas_of(name: str) -> set[str]:
    """Name a schema and all that it is made of."""
    schemas = DOCUMENT["components"]["schemas"]
    return {name}.union(*(schemas_of(inner) for inner in references(schemas[name])))
