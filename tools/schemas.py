"""The request and the answers as JSON schemas (draft 2020-12), made from the models that the function itself uses.

The meaning of a field comes from the tables in docs/request.md and docs/answer.md, so that it is written once. The
schemas use only what importers for OpenAPI 3.0 can read: `enum`, not `const`; no `type` that is a list; no keyword
beside a `$ref`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from shared.model.answer import Answer, ErrorAnswer
from shared.model.backfill import BackfillRequest
from shared.model.backfill_answer import BackfillAnswer, BackfillDryRun, BackfillList, BackfillMonitor
from shared.model.calendar import CalendarPage
from shared.model.monitor import Monitor, MonitorList
from shared.model.request import RestoreRequest
from tools.pages import meanings, rows, section

Schema = dict[str, Any]

PLACE = "#/components/schemas/"
REQUEST, ANSWER, ERROR = "RestoreRequest", "Answer", "ErrorAnswer"
MONITOR, MONITORS, CALENDAR = "Monitor", "MonitorList", "CalendarPage"
BACKFILL, BACKFILL_ANSWER, BACKFILL_DRY_RUN = "BackfillRequest", "BackfillAnswer", "BackfillDryRun"
BACKFILL_MONITOR, BACKFILL_MONITORS = "BackfillMonitor", "BackfillList"
OF_BACKFILLS = (BACKFILL, BACKFILL_ANSWER, BACKFILL_DRY_RUN, BACKFILL_MONITOR, BACKFILL_MONITORS)

# Pydantic keeps its own names for a number that may be null.
_LIMITS = {"ge": "minimum", "le": "maximum"}
# Useless to a caller: a name that repeats the key, and a default that says "left out" again.
_NOISE = {"title", "default"}


def make_schemas() -> dict[str, Schema]:
    """Return every schema by name, with `$ref`s into an OpenAPI document."""
    models: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (REQUEST, "validation", TypeAdapter(RestoreRequest)),
        (ANSWER, "serialization", TypeAdapter(Answer)),
        (ERROR, "serialization", TypeAdapter(ErrorAnswer)),
        (MONITOR, "serialization", TypeAdapter(Monitor)),
        (MONITORS, "serialization", TypeAdapter(MonitorList)),
        (CALENDAR, "serialization", TypeAdapter(CalendarPage)),
        (BACKFILL, "validation", TypeAdapter(BackfillRequest)),
        (BACKFILL_ANSWER, "serialization", TypeAdapter(BackfillAnswer)),
        (BACKFILL_DRY_RUN, "serialization", TypeAdapter(BackfillDryRun)),
        (BACKFILL_MONITOR, "serialization", TypeAdapter(BackfillMonitor)),
        (BACKFILL_MONITORS, "serialization", TypeAdapter(BackfillList)),
    ]
    _, made = TypeAdapter.json_schemas(models, ref_template=PLACE + "{model}")
    schemas = {name: _plain(schema) for name, schema in made["$defs"].items()}
    _in_upper_case(schemas["CsvOptions"])
    for name in _reachable(schemas, REQUEST) | _reachable(schemas, BACKFILL):
        _allow_null(schemas[name])
    request = meanings("request.md", "All fields") | meanings("request.md", "copy.csv_options")
    _describe(schemas, schemas[REQUEST], request)
    _describe(schemas, schemas[BACKFILL], request | meanings("backfills.md", "The request"))
    answer = _with_units("answer.md", "200")
    _name_stages(schemas[ANSWER], answer)
    _describe(schemas, schemas[ANSWER], answer)
    _describe(schemas, schemas[ERROR], _with_units("answer.md", "Errors"))
    _describe(schemas, schemas[MONITOR], _with_units("jobs.md", "See how far it is"))
    _describe(schemas, schemas["CalendarDay"], _with_units("days.md", "The answer"))
    for name, heading in (
        (BACKFILL_MONITOR, "Follow it"),
        (BACKFILL_ANSWER, "The result"),
        (BACKFILL_DRY_RUN, "The plan"),
    ):
        _describe(schemas, schemas[name], _with_units("backfills.md", heading))
    return dict(sorted(schemas.items()))


def references(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that a schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].removeprefix(PLACE)
        for item in schema.values():
            yield from references(item)
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item)


def _reachable(schemas: Mapping[str, Schema], name: str) -> set[str]:
    return {name}.union(*(_reachable(schemas, inner) for inner in references(schemas[name])))


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain: Schema = {}
    key: str
    for key, value in schema.items():
        if key == "properties":
            # Required properties first.
            names = sorted(value, key=lambda name: name not in schema.get("required", ()))
            plain[key] = {name: _plain(value[name]) for name in names}
        elif key == "anyOf":
            # A default belongs to the whole; pydantic before 2.11 leaves that of another field at a shared part.
            plain[key] = [{name: item for name, item in _plain(part).items() if name != "default"} for part in value]
        elif key == "const":
            plain["enum"] = [value]
        elif key == "description":
            # The first paragraph of a docstring; the others are about Python.
            plain[key] = " ".join(value.partition("\n\n")[0].split())
        elif key not in _NOISE or (key == "default" and value is not None and not isinstance(value, dict)):
            plain[_LIMITS.get(key, key)] = _plain(value)
    if "$ref" in plain:
        return {"$ref": plain["$ref"]}
    return plain


def _in_upper_case(csv_options: Schema) -> None:
    csv_options["properties"] = {name.upper(): item for name, item in csv_options["properties"].items()}
    csv_options["description"] += " The function takes the names, and the words of HEADER, in any case."


def _allow_null(schema: Schema) -> None:
    """Let each optional field be null: the function treats null as left out."""
    for name, item in schema.get("properties", {}).items():
        options = item.get("anyOf", [item])
        if name in schema.get("required", ()) or {"type": "null"} in options:
            continue
        default = {"default": item.pop("default")} if "default" in item else {}
        schema["properties"][name] = {"anyOf": [*options, {"type": "null"}], **default}


def _describe(schemas: Mapping[str, Schema], schema: Schema, meaning: Mapping[str, str], path: str = "") -> None:
    """Describe the fields in the words of a table, at every level. A schema in two places keeps the first words."""
    for name, item in schema.get("properties", {}).items():
        if f"{path}{name}" in meaning and "$ref" not in item:
            item.setdefault("description", meaning[f"{path}{name}"])
        below = f"{path}{name}[]." if item.get("type") == "array" else f"{path}{name}."
        _describe(schemas, item, meaning, below)
        for inner in references(item):
            _describe(schemas, schemas[inner], meaning, below)


def _with_units(page: str, heading: str) -> dict[str, str]:
    kinds = {name: cells[0] for name, cells in rows(section(page, heading)).items()}
    return {
        name: f"{text} ({kinds[name]})" if kinds[name] in {"seconds", "bytes"} else text
        for name, text in meanings(page, heading).items()
    }


def _name_stages(answer: Schema, meaning: Mapping[str, str]) -> None:
    """Name the keys of `timings`; the code has them as the stages that a restore went through."""
    timings = answer["properties"]["timings"]
    seconds = timings.pop("additionalProperties")
    stages = [name.removeprefix("timings.") for name in meaning if name.startswith("timings.")]
    timings |= {"properties": {stage: dict(seconds) for stage in stages}, "required": ["total"]}
