"""An OpenAPI 3.1 document of ours -> Swagger 2.0, for importers that read nothing newer.

Those are Logic Apps' custom connectors and its action HTTP + Swagger; docs/openapi.md has the sources. Where 2.0 cannot
express a limit, the schema is left open: it takes all that the 3.1 schema takes.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

_OLD_PLACE, _NEW_PLACE = "#/components/schemas/", "#/definitions/"
# Keywords that 2.0 lacks. They only narrow or describe.
_UNKNOWN = {"propertyNames", "writeOnly"}


def to_swagger(document: Json) -> Json:
    """Convert the document.

    Args:
        document: OpenAPI 3.1, one server, JSON bodies only, every schema in its components.

    Returns:
        The same contract as Swagger 2.0.
    """
    (server,) = document["servers"]
    defaults = {name: variable["default"] for name, variable in server["variables"].items()}
    address = urlsplit(server["url"].format(**defaults))
    schemes = document["components"]["securitySchemes"]
    return {
        "swagger": "2.0",
        "info": document["info"],
        "host": address.netloc,
        "basePath": address.path,
        "schemes": [address.scheme],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": schemes,
        "security": document["security"],
        "paths": {
            path: {method: _operation(operation) for method, operation in operations.items()}
            for path, operations in document["paths"].items()
        },
        "definitions": {name: _schema(schema) for name, schema in document["components"]["schemas"].items()},
    }


def _operation(operation: Json) -> Json:
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", [])]
    if "requestBody" in operation:
        body = operation["requestBody"]
        schema = _schema(body["content"]["application/json"]["schema"])
        parameters.insert(0, {"in": "body", "name": "request", "required": body["required"], "schema": schema})
    responses = {status: _response(response) for status, response in operation["responses"].items()}
    kept = {name: value for name, value in operation.items() if name not in {"requestBody", "responses"}}
    return {**kept, "parameters": parameters, "responses": responses}


def _parameter(parameter: Json) -> Json:
    kept = {name: value for name, value in parameter.items() if name != "schema"}
    return {**kept, **_schema(parameter["schema"])}


def _response(response: Json) -> Json:
    converted: Json = {"description": response["description"]}
    content = response.get("content", {}).get("application/json")
    if content is not None:
        converted["schema"] = _schema(content["schema"])
        if "example" in content:
            converted["examples"] = {"application/json": content["example"]}
    headers = response.get("headers", {})
    if headers:
        converted["headers"] = {
            name: {"description": header["description"], **_schema(header["schema"])}
            for name, header in headers.items()
        }
    return converted


def _schema(schema: Json) -> Json:
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace(_OLD_PLACE, _NEW_PLACE)}
    kept = {name: value for name, value in schema.items() if name not in {"anyOf", *_UNKNOWN}}
    for name in ("properties", "items", "additionalProperties"):
        if name == "properties" and name in kept:
            kept[name] = {field: _schema(item) for field, item in kept[name].items()}
        elif isinstance(kept.get(name), dict):
            kept[name] = _schema(kept[name])
    options = schema.get("anyOf", [])
    is_nullable = {"type": "null"} in options
    values = [_schema(option) for option in options if option != {"type": "null"}]
    if len(values) == 1 and "$ref" in values[0]:
        # Keywords beside a reference do not count; the referenced schema has the description.
        return values[0]
    if len(values) == 1:
        kept = values[0] | kept
    # For several types, name none and take any.
    return kept | ({"x-nullable": True} if is_nullable else {})
