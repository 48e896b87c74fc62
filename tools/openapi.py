"""`make openapi`: the caller's contract as docs/openapi.json (OpenAPI 3.1) and docs/openapi-2.0.json (Swagger 2.0).

Nothing is written twice. The schemas come from the models (tools/schemas.py), the answers from tools/responses.py, the
routes from function.json and host.json, words and examples from the pages in docs/. A test fails if the files are out
of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from shared.model.monitor import STATUSES
from tools.config import REPOSITORY, run_tool
from tools.pages import DOCS, examples, meanings, opening
from tools.responses import (
    backfill_cancel_responses,
    backfill_list_responses,
    backfill_monitor_responses,
    backfill_post_responses,
    backfill_result_responses,
    backfill_retry_responses,
    cancel_responses,
    days_responses,
    list_responses,
    monitor_responses,
    post_responses,
    result_responses,
)
from tools.schemas import BACKFILL, PLACE, REQUEST, make_schemas
from tools.swagger import to_swagger

Json = dict[str, Any]

# Of the contract. A change that an old caller would not understand raises it.
VERSION = "1.0"


_TEXT: Json = {"type": "string"}
_DATE: Json = _TEXT | {"format": "date"}
_ID: Json = _TEXT | {"pattern": "^[A-Za-z0-9._-]{1,64}$"}
_ID_IN_PATH: Json = {"name": "id", "in": "path", "required": True, "description": "The operation's", "schema": _ID}
_IDS_IN_HEADERS: list[Json] = [
    {
        "name": "Operation-Id",
        "in": "header",
        "description": "An id of the caller's own: the same request under it is the same operation. No `.` or `..`",
        "schema": _ID,
    },
    {"name": "Repeatability-Request-ID", "in": "header", "description": "Another name for Operation-Id", "schema": _ID},
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Another name for Operation-Id; the id may stand in quotes",
        "schema": _TEXT | {"pattern": '^("[A-Za-z0-9._-]{1,64}"|[A-Za-z0-9._-]{1,64})$'},
    },
]
_TOKEN_IN_QUERY: Json = {
    "name": "token",
    "in": "query",
    "required": True,
    "description": "Opens this result alone; `Location` has it. No key is needed",
    "schema": _TEXT,
}


def make_document() -> Json:
    """Return the OpenAPI 3.1 document."""
    prefix = json.loads((REPOSITORY / "host.json").read_text())["extensions"]["http"]["routePrefix"]
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
        "paths": _paths(),
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


def _paths() -> Json:
    operation_id = _ID_IN_PATH
    status, result = _route("RestoreStatus"), _route("RestoreResult")
    one, several = status.replace("{id?}", "{id}"), status.removesuffix("/{id?}")
    return {
        _route("RestoreChunk"): {"post": _restore()},
        several: {
            "get": {
                "operationId": "listRestores",
                "summary": "List asynchronous restores",
                "parameters": _parameters("jobs.md", "List them", _LIST_TYPES),
                "responses": list_responses(),
            }
        },
        one: {
            "get": {
                "operationId": "getRestore",
                "summary": "See how far an asynchronous restore is",
                "parameters": [operation_id],
                "responses": monitor_responses(),
            },
            "delete": {
                "operationId": "cancelRestore",
                "summary": "Stop an asynchronous restore",
                "parameters": [operation_id],
                "responses": cancel_responses(),
            },
        },
        _route("RestoreDays"): {
            "get": {
                "operationId": "listDays",
                "summary": "See which days of a table are archived, there, restored or missing",
                "parameters": _parameters("days.md", "The query", _DAYS_TYPES, required={"adls_url", "from", "to"}),
                "responses": days_responses(),
            }
        },
        result: {
            "get": {
                "operationId": "getRestoreResult",
                "summary": "Wait for an asynchronous restore, and get its answer",
                "security": [],
                "parameters": [operation_id, _TOKEN_IN_QUERY],
                "responses": result_responses(),
            }
        },
        **_backfill_paths(),
    }


def _backfill_paths() -> Json:
    route = _route("RestoreBackfills")
    one, several = route.replace("{id?}", "{id}"), route.removesuffix("/{id?}")
    return {
        several: {
            "get": {
                "operationId": "listBackfills",
                "summary": "List backfills",
                "parameters": _parameters("backfills.md", "List them", _LIST_TYPES),
                "responses": backfill_list_responses(),
            },
            "post": {
                "operationId": "restoreDays",
                "summary": "Restore many archived days",
                "description": opening("docs/backfills.md"),
                "parameters": _IDS_IN_HEADERS,
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": PLACE + BACKFILL},
                            "examples": _request_examples("docs/backfills.md"),
                        }
                    },
                },
                "responses": backfill_post_responses(),
            },
        },
        one: {
            "get": {
                "operationId": "getBackfill",
                "summary": "See how far a backfill is, and how each day ended",
                "parameters": [_ID_IN_PATH, *_parameters("backfills.md", "Page through its days", _PAGE_TYPES)],
                "responses": backfill_monitor_responses(),
            },
            "delete": {
                "operationId": "cancelBackfill",
                "summary": "Start no further day of a backfill",
                "parameters": [_ID_IN_PATH, *_parameters("backfills.md", "Stop it", _STOP_TYPES)],
                "responses": backfill_cancel_responses(),
            },
        },
        _route("RestoreBackfillRetry"): {
            "post": {
                "operationId": "retryBackfill",
                "summary": "Restore the days of a backfill once more that are not in",
                "parameters": [_ID_IN_PATH],
                "responses": backfill_retry_responses(),
            }
        },
        _route("RestoreBackfillResult"): {
            "get": {
                "operationId": "getBackfillResult",
                "summary": "Wait for a backfill, and get its answer",
                "security": [],
                "parameters": [_ID_IN_PATH, _TOKEN_IN_QUERY],
                "responses": backfill_result_responses(),
            }
        },
    }


def _route(folder: str) -> str:
    function = json.loads((REPOSITORY / folder / "function.json").read_text())
    trigger = next(binding for binding in function["bindings"] if binding["type"] == "httpTrigger")
    return f"/{trigger['route']}"


def _restore() -> Json:
    text = {"type": "string"}
    return {
        "operationId": "restoreDay",
        "summary": "Restore one archived day",
        "description": opening("docs/request.md"),
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "description": "`respond-async` takes the restore for the queue, as the field `async` does",
                "schema": text,
            },
            *_IDS_IN_HEADERS,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": PLACE + REQUEST},
                    "examples": _request_examples("docs/request.md"),
                }
            },
        },
        "responses": post_responses(),
    }


def _top(default: int) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": 1000, "default": default}


_LIST_TYPES: Json = {"status": _TEXT | {"enum": list(STATUSES)}, "day": _DATE, "top": _top(50)}
_PAGE_TYPES: Json = {"top": _top(100), "after": _DATE}
_STOP_TYPES: Json = {"running": _TEXT | {"enum": ["cancel"]}}
_DAYS_TYPES: Json = {"from": _DATE, "to": _DATE, "counts": {"type": "boolean", "default": False}, "top": _top(400)}


def _parameters(page: str, heading: str, types: Json, *, required: Collection[str] = ()) -> list[Json]:
    """Return the parameters of a query, in the words of a table."""
    return [
        {
            "name": name,
            "in": "query",
            "description": meaning,
            "schema": types.get(name, _TEXT),
            **({"required": True} if name in required else {}),
        }
        for name, meaning in meanings(page, heading).items()
    ]


def _request_examples(page: str) -> Json:
    found: Json = {}
    for heading, example in examples(page):
        name = re.sub(r"\W+", "-", heading.lower()).strip("-")
        while name in found:
            name += "-too"
        found[name] = {"summary": heading, "value": example}
    return found


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
