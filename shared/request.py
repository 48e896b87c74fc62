"""The JSON body of a request, checked as a whole. All faults are found at once. No environment, no I/O."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from shared.csv_options import OPTION_NAMES, CsvOptions
from shared.errors import Fault, InvalidJson, InvalidRequest, RequestError
from shared.lake.adls_url import ArchiveLocation, parse_adls_url
from shared.names import MAX_NAME_BYTES, QualifiedName, parse_qualified_name


def _connection_uri(value: SecretStr) -> SecretStr:
    uri = value.get_secret_value()
    if not uri.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql:// or postgres://")
    try:
        parse_dsn(uri)
    except ProgrammingError:
        # libpq's own message repeats parts of the URI, the password among them.
        raise ValueError("is not a connection URI that libpq can read") from None
    return value


def _column_name(value: str) -> str:
    if not value:
        raise ValueError("a column name must not be empty")
    return value


def _qualified_name(value: str) -> str:
    parse_qualified_name(value)
    return value


def _cagg_names(value: Any) -> Any:
    if isinstance(value, str) and value.lower() == "all":
        return "all"
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError('must be "all" or a list of names')
    for name in value:
        parse_qualified_name(name)
    return tuple(value)


TableName = Annotated[str, AfterValidator(_qualified_name)]
ColumnName = Annotated[str, AfterValidator(_column_name)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Pg(_Section):
    """Where PostgreSQL is: a URI, or its parts. What is left out is libpq's own environment's."""

    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = None
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    database: str | None = None
    connection_uri: Annotated[SecretStr, AfterValidator(_connection_uri)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Pg:
        parts = ("host", "port", "user", "password", "sslmode")
        both = [name for name in parts if getattr(self, name) is not None]
        if self.connection_uri is not None and both:
            raise ValueError(f"connection_uri already says what {', '.join(both)} say; give one or the other")
        return self


class Destination(_Section):
    """Which table, and how the rows get there."""

    mode: Literal["direct", "staging"] = "direct"
    target_table: TableName | None = None
    create_staging_like: TableName | None = None

    @model_validator(mode="after")
    def _staging_only(self) -> Destination:
        if self.create_staging_like is not None and self.mode != "staging":
            raise ValueError('create_staging_like has a meaning only with mode "staging"')
        return self


class Timescaledb(_Section):
    """What is done about compression and continuous aggregates, best effort."""

    decompress_window: bool = True
    recompress_window: bool = True
    refresh_caggs: Annotated[Literal["all"] | tuple[str, ...], BeforeValidator(_cagg_names)] = ()


class Copy(_Section):
    """How the file is read."""

    csv_options: CsvOptions = CsvOptions()
    columns: tuple[ColumnName, ...] | None = Field(None, min_length=1)
    column_map: Mapping[ColumnName, ColumnName] = {}
    synchronous_commit_off: bool = True

    @model_validator(mode="after")
    def _headerless(self) -> Copy:
        if self.columns is None and not self.csv_options.has_header:
            raise ValueError("columns must name the file's columns where csv_options.HEADER is false")
        if self.columns is not None and len(set(self.columns)) != len(self.columns):
            raise ValueError("columns names a column twice")
        return self


def _archive_location(value: Any, info: ValidationInfo) -> ArchiveLocation:
    if not isinstance(value, str):
        raise ValueError("must be a URL or a path, as text")  # noqa: TRY004 - pydantic collects ValueError only
    try:
        return parse_adls_url(value, **(info.context or {}))
    except RequestError as exc:
        # Carried along, so that the fault stands beside those of the other fields.
        raise PydanticCustomError("adls_url", "{message}", {"message": exc.message, "error": exc}) from exc


class RestoreRequest(_Section):
    """One request: which archive, into which table, how. `docs/request.md` describes each field."""

    # Read as text, kept as what the text says.
    archive: Annotated[ArchiveLocation, BeforeValidator(_archive_location)] = Field(alias="adls_url")
    pg: Pg = Pg()
    destination: Destination = Destination()
    timescaledb: Timescaledb = Timescaledb()
    copy_: Copy = Field(Copy(), alias="copy")

    @property
    def target_table(self) -> QualifiedName:
        """The table that the request names, or else the archive's path."""
        return self._qualified(self.destination.target_table)

    @property
    def staging_like(self) -> QualifiedName:
        """The table that a staging table is made like."""
        return self._qualified(self.destination.create_staging_like or self.destination.target_table)

    def _qualified(self, text: str | None) -> QualifiedName:
        if text is None:
            return QualifiedName(self.archive.schema, self.archive.table)
        name = parse_qualified_name(text)
        return QualifiedName(name.schema or self.archive.schema, name.name)


def parse_request(
    body: bytes, *, default_account_url: str | None = None, default_filesystem: str | None = None
) -> RestoreRequest:
    """Read and check a request.

    Args:
        body: the HTTP body, JSON in UTF-8.
        default_account_url: the account that a bare path belongs to.
        default_filesystem: the file system that a bare path belongs to.

    Returns:
        The request, frozen.

    Raises:
        InvalidJson: the body is not one JSON object.
        InvalidRequest: fields are unknown, missing or wrong; `details` names each of them.
        InvalidArchiveUrl: nothing but `adls_url` is wrong.
        StorageHostNotAllowed: the same, because of its host.
        ConfigurationError: a bare path meets a default that cannot be read.
    """
    document = _load_json(body)
    faults = list(_unstorable_text(document, ()))
    if faults:
        raise InvalidRequest("the request holds text that cannot be stored", details=faults)
    try:
        context = {"default_account_url": default_account_url, "default_filesystem": default_filesystem}
        return RestoreRequest.model_validate(_without_nulls(document), context=context)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
        if len(errors) == 1 and errors[0]["type"] == "adls_url":
            raise errors[0]["ctx"]["error"] from None
        faults = [_fault(error) for error in errors]
        count = "one field is" if len(faults) == 1 else f"{len(faults)} fields are"
        raise InvalidRequest(f"{count} wrong", target=faults[0].target, details=faults) from None


def _load_json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        # Only the place is told: the text around it may be a password.
        place = f" at line {exc.lineno} column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else ""
        reason = str(exc) if isinstance(exc, _JsonRuleError) else "the body is not valid JSON"
        raise InvalidJson(reason + place) from None
    if not isinstance(document, dict):
        raise InvalidJson("the body is JSON, but not an object")
    return document


class _JsonRuleError(ValueError):
    """JSON that Python would read but that says two things, or nothing."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _JsonRuleError("an object of the body holds the same name twice")
    return dict(pairs)


def _no_constant(_: str) -> Any:
    raise _JsonRuleError("NaN and Infinity are not JSON")


def _unstorable_text(value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    """Find what neither PostgreSQL nor UTF-8 can hold: the character zero, and half of a surrogate pair."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            yield Fault("InvalidValue", "must not hold U+0000 or half a surrogate pair", _target(path))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _unstorable_text(name, path)
            yield from _unstorable_text(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable_text(item, (*path, index))


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """Drop what is null, at the top and in each section: to callers that is the same as left out."""
    return {
        name: {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
        for name, value in document.items()
        if value is not None
    }


_PYDANTIC_CODES = {"extra_forbidden": "UnknownField", "missing": "MissingField"}


def _fault(error: ErrorDetails) -> Fault:
    code = _PYDANTIC_CODES.get(error["type"], "InvalidValue")
    path = error["loc"]
    if error["type"] == "adls_url":
        return Fault(error["ctx"]["error"].code, error["msg"], _target(path))
    in_csv_options = path[:2] == ("copy", "csv_options")
    if in_csv_options and len(path) > 2:  # noqa: PLR2004 - behind the two names of the section
        path = (*path[:2], str(path[2]).upper(), *path[3:])
    if code == "UnknownField":
        return Fault(code, "unknown field" + _did_you_mean(path, in_csv_options=in_csv_options), _target(path))
    message = error["msg"].removeprefix("Value error, ")
    return Fault(code, message[:1].lower() + message[1:], _target(path))


def _did_you_mean(path: tuple[str | int, ...], *, in_csv_options: bool) -> str:
    sections: dict[str | int, type[BaseModel]] = {
        "pg": Pg,
        "destination": Destination,
        "timescaledb": Timescaledb,
        "copy": Copy,
    }
    if in_csv_options:
        known = list(OPTION_NAMES)
    else:
        model = RestoreRequest if len(path) == 1 else sections[path[0]]
        known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _target(path: tuple[str | int, ...]) -> str:
    """Write a place in the request, cut short: an unknown name can be of any length."""
    return ".".join(str(part)[:MAX_NAME_BYTES] for part in path) or "body"
