"""`make openapi`: the caller's contract as docs/openapi.json (OpenAPI 3.1) and docs/openapi-2.0.json (Swagger 2.0).

Nothing is written twice. The schemas come from the models (tools/schemas.py), the errors from the subclasses of
`RestoreError`, the route from function.json and host.json, words and examples from the pages in docs/. A test fails
if the files are out of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from shared.api.handle import WITH_RETRY_AFTER
from shared.errors import CaggNotFound, RestoreError
from tools.config import REPOSITORY, run_tool
from tools.pages import DOCS, examples, meanings, opening
from tools.schemas import ANSWER, ERROR, PLACE, REQUEST, make_schemas
from tools.swagger import to_swagger

Json = dict[str, Any]

# Of the contract. A change that an old caller would not understand raises it.
VERSION = "1.0"
# Appears inside the answer of a successful restore, never as an answer of its own.
NEVER_AN_ANSWER = {CaggNotFound}


def make_document() -> Json:
    """Return the OpenAPI 3.1 document."""
    prefix, path, method = _route()
    return {
        "openapi": "3.1.0",
        "info": {"title": "restore-chunk", "version": VERSION, "description": opening("README.md")},
        "servers": [
            {
                "url": f"https://{{host}}/{prefix}",
                # Not at the variable: a widely used copy of the 3.1 schema forbids a description there.
                "description": "The function app; host is its default domain, as the portal shows it",
                "variables": {"host": {"default": "restore-chunk.azurewebsites.net"}},
            }
        ],
        # An importer that takes only one takes the first.
        "security": [{"functionKey": []}, {"functionKeyInQuery": []}],
        "paths": {path: {method: _operation()}},
        "components": {
            "schemas": make_schemas(),
            "securitySchemes": {
                "functionKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-functions-key",
                    "description": "A key of the function or of the host",
                },
                "functionKeyInQuery": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "code",
                    "description": "The same key. A URL is logged in many places, so that the header is the better one",
                },
            },
        },
    }


def answer_errors() -> dict[int, list[type[RestoreError]]]:
    """Return the errors that the function answers with, by HTTP status."""
    found: dict[int, list[type[RestoreError]]] = {}
    for kind in sorted(_errors(RestoreError), key=lambda kind: kind.code):
        if kind not in NEVER_AN_ANSWER:
            found.setdefault(kind.status, []).append(kind)
    return dict(sorted(found.items()))


def _errors(kind: type[RestoreError]) -> Iterator[type[RestoreError]]:
    for child in kind.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from _errors(child)


def _route() -> tuple[str, str, str]:
    host = json.loads((REPOSITORY / "host.json").read_text())
    function = json.loads((REPOSITORY / "RestoreChunk" / "function.json").read_text())
    trigger = next(binding for binding in function["bindings"] if binding["type"] == "httpTrigger")
    (method,) = trigger["methods"]
    return host["extensions"]["http"]["routePrefix"], f"/{trigger['route']}", method


def _operation() -> Json:
    return {
        "operationId": "restoreDay",
        "summary": "Restore one archived day",
        "description": opening("docs/request.md"),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": PLACE + REQUEST}, "examples": _request_examples()}},
        },
        "responses": {str(status): response for status, response in sorted(_responses().items())},
    }


def _request_examples() -> Json:
    found: Json = {}
    for heading, example in examples("docs/request.md"):
        name = re.sub(r"\W+", "-", heading.lower()).strip("-")
        while name in found:
            name += "-too"
        found[name] = {"summary": heading, "value": example}
    return found


def _responses() -> dict[int, Json]:
    platform = {int(status): text for status, text in meanings("answer.md", "The platform's own answers").items()}
    bodies = {status: body for _, body in examples("docs/answer.md") for status in _statuses(body)}
    responses = {
        HTTPStatus.OK.value: _response(
            "The day is restored, or `status` says why nothing was written. Read `status`.",
            ANSWER,
            bodies[HTTPStatus.OK],
        )
    }
    for status, kinds in answer_errors().items():
        codes = "\n".join(f"- `{kind.code}`: {_first_sentence(kind)}" for kind in kinds)
        response = _response(f"One of these errors:\n\n{codes}", ERROR, bodies.get(status))
        response["headers"]["x-ms-error-code"] = {
            "description": "The same as `error.code`",
            "required": status not in platform,
            "schema": {"type": "string", "enum": [kind.code for kind in kinds]},
        }
        if status in WITH_RETRY_AFTER:
            response["headers"]["Retry-After"] = {
                "description": "After how many seconds the same request may be sent again",
                "required": True,
                "schema": {"type": "integer", "minimum": 1},
            }
        responses[status] = response
    for status, text in platform.items():
        said = f"The platform's own answer, without the JSON of the function: {text}."
        if status in responses:
            responses[status]["description"] += f"\n\n{said}"
            responses[status]["headers"]["x-ms-request-id"]["required"] = False
        else:
            responses[status] = {"description": said}
    return responses


def _response(description: str, schema: str, example: Any) -> Json:
    content: Json = {"schema": {"$ref": PLACE + schema}}
    if example is not None:
        content["example"] = example
    request_id = {
        "description": "The same as `request_id`: find the log line by it",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    return {
        "description": description,
        "headers": {"x-ms-request-id": request_id},
        "content": {"application/json": content},
    }


def _statuses(body: Any) -> list[int]:
    """Tell which answer an example on the page is: that of a 200, or that of the error that it names."""
    if "error" not in body:
        return [HTTPStatus.OK.value]
    return [kind.status for kind in _errors(RestoreError) if kind.code == body["error"]["code"]]


def _first_sentence(kind: type[RestoreError]) -> str:
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def files() -> dict[str, Json]:
    """Return the documents by their names in docs/."""
    document = make_document()
    return {"openapi.json": document, "openapi-2.0.json": to_swagger(document)}


def main() -> None:
    """Write the documents."""
    for name, document in files().items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    run_tool(main)
