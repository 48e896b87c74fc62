"""The fields of a request, and their checks. `docs/request.md` describes each field. No environment, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from shared.csvfile.head import MOST_COLUMNS
from shared.csvfile.options import CsvOptions
from shared.errors import RequestError
from shared.model.location import ArchiveLocation, bare_etag, parse_adls_url
from shared.names import QualifiedName, check_name, parse_qualified_name
from shared.postgres.uri import SslMode, check_hosts, check_login, read_connection_uri
from shared.secret import Secret


def _connection_uri(value: Secret) -> Secret:
    read_connection_uri(value.get_secret_value())
    return value


def _qualified_name(value: str) -> str:
    parse_qualified_name(value)
    return value


def _no_boolean(value: Any) -> Any:
    # In Python a boolean is an integer.
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _no_boolean_ratio(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number from 0 to 1")  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _sha256(value: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise ValueError("must be 64 hexadecimal digits")
    return value.lower()


def _etag(value: str) -> str:
    etag = bare_etag(value)
    # RFC 9110, section 8.8.3, in ASCII.
    if not re.fullmatch("[!#-~]{1,128}", etag):
        raise ValueError("must be an ETag such as 0x8DD2D6A1B2C3D4E")
    return etag


def _flag_or(word: str) -> Callable[[Any, ValidatorFunctionWrapHandler], Any]:
    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as exc:
            raise ValueError(f'must be true, false or "{word}"') from exc

    return check


def _cagg_names(value: Any) -> Any:
    if isinstance(value, str) and value.lower() == "all":
        return "all"
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError('must be "all" or a list of names')
    if len(value) > MOST_CAGGS:
        raise ValueError(f"must name {MOST_CAGGS} aggregates at most")
    for name in value:
        parse_qualified_name(name)
    return tuple(value)


# Data Factory accepts answers of 4 MB at most.
MOST_CAGGS = 1000


def _only_nothing_for_no_name(value: Mapping[str, str | None]) -> Mapping[str, str | None]:
    if value.get("") is not None:
        raise ValueError('the key "" stands for all columns without a name, so it may only be null: leave them out')
    return value


TableName = Annotated[str, AfterValidator(_qualified_name)]
ColumnName = Annotated[str, AfterValidator(check_name)]
# A name in the file. It may be too long for PostgreSQL: staging ignores such a column.
FileColumnName = Annotated[str, Field(min_length=1)]
WholeNumber = Annotated[int, BeforeValidator(_no_boolean)]
Ratio = Annotated[float, BeforeValidator(_no_boolean_ratio), Field(ge=0, le=1)]


def field_error(field: str, message: str) -> PydanticCustomError:
    """Return the error of a check of several fields, for the one to correct: its path below the model that checks."""
    return PydanticCustomError("of_field", "{message}", {"message": message, "field": field})


class Section(BaseModel):
    """A part of a request. It takes no field that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Pg(Section):
    """Which server to connect to, and as whom: a URI, or its parts. App settings supply what is omitted."""

    host: Annotated[str, AfterValidator(check_hosts)] | None = None
    port: WholeNumber | None = Field(None, ge=1, le=65535)
    user: Annotated[str, AfterValidator(check_login)] | None = None
    password: Annotated[Secret, Field(max_length=8192)] | None = None
    auth: Literal["password", "entra"] | None = None
    sslmode: SslMode | None = None
    database: Annotated[str, AfterValidator(check_login)] | None = None
    connection_uri: Annotated[Secret, AfterValidator(_connection_uri), Field(max_length=8192)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Pg:
        parts = ("host", "port", "user", "password", "sslmode")
        both = [name for name in parts if getattr(self, name) is not None]
        if self.connection_uri is not None and both:
            raise ValueError(f"connection_uri and {', '.join(both)} exclude each other; give one or the other")
        return self

    @model_validator(mode="after")
    def _token_or_password(self) -> Pg:
        if self.auth == "entra" and self.parameters.get("password"):
            raise ValueError('a password and auth "entra" exclude each other; give one or the other')
        return self

    @property
    def parameters(self) -> dict[str, str]:
        """The request's connection parameters, by libpq's keywords. They may hold a password."""
        given: dict[str, str | None] = {"host": self.host, "user": self.user, "sslmode": self.sslmode}
        if self.connection_uri is not None:
            given |= read_connection_uri(self.connection_uri.get_secret_value())
        given |= {"port": str(self.port)} if self.port is not None else {}
        given |= {"password": self.password.get_secret_value()} if self.password is not None else {}
        given |= {"dbname": self.database} if self.database is not None else {}
        return {keyword: value for keyword, value in given.items() if value is not None}


OnExisting: TypeAlias = Literal["error", "append", "skip", "replace"]


class Destination(Section):
    """Which table, and how the rows get there."""

    mode: Literal["direct", "staging"] = "direct"
    target_table: TableName | None = None
    create_staging_like: TableName | None = None
    on_existing: OnExisting | None = None
    min_rows_ratio: Ratio = 0.5
    on_referenced: Literal["error", "allow"] = "error"
    sequences: Literal["warn", "advance"] = "warn"
    rows_outside_window: Literal["error", "allow"] = "error"
    time_column: ColumnName | None = None

    @model_validator(mode="after")
    def _staging_only(self) -> Destination:
        if self.create_staging_like is not None and self.is_direct:
            raise field_error("create_staging_like", 'create_staging_like is allowed only with mode "staging"')
        return self

    @model_validator(mode="after")
    def _replaces_the_day_alone(self) -> Destination:
        # Not with `verify` false, which is the caller's word that every row is of the day.
        if self.on_existing == "replace" and self.rows_outside_window == "allow":
            raise ValueError(
                'on_existing "replace" and rows_outside_window "allow" exclude each other: "replace" removes only rows'
                " of the day, so a repeated request would duplicate the rows outside it"
            )
        return self

    @property
    def is_direct(self) -> bool:
        """Whether a row in conflict is an error, as in a COPY, and not skipped."""
        return self.mode == "direct"

    @property
    def existing_rows(self) -> OnExisting:
        """What to do about rows that the day already has. Staging skips conflicts, so it may append by default."""
        return self.on_existing or ("error" if self.is_direct else "append")

    def may_replace(self, before: int, by: int) -> bool:
        """Whether a day of so many rows may be replaced by so many."""
        # As it is written: to Python, 0.1 * 30 is more than 3.
        return by >= Fraction(str(self.min_rows_ratio)) * before


class Timescaledb(Section):
    """What to do about compression and continuous aggregates. Best effort."""

    decompress_window: Annotated[bool | Literal["auto"], WrapValidator(_flag_or("auto"))] = True
    recompress_window: bool = True
    compress_new_chunks: bool = False
    refresh_caggs: Annotated[Literal["all"] | tuple[str, ...], BeforeValidator(_cagg_names)] = ()


class Copy(Section):
    """How the file is read."""

    csv_options: CsvOptions = CsvOptions()
    header: Literal["check", "ignore"] = "check"
    skip_lines: WholeNumber = Field(0, ge=0, le=1000)
    columns: tuple[FileColumnName, ...] | None = Field(None, min_length=1, max_length=MOST_COLUMNS)
    column_map: Annotated[Mapping[str, ColumnName | None], AfterValidator(_only_nothing_for_no_name)] = {}
    synchronous_commit_off: bool = True
    transfer: Literal["auto", "spool", "stream"] = "auto"
    format: Literal["auto", "text", "binary"] = "auto"
    indexes: Literal["auto", "keep"] = "auto"
    on_error: Literal["stop", "skip"] = "stop"
    max_rejected_rows: WholeNumber | None = Field(None, ge=0)
    expected_rows: WholeNumber | None = Field(None, ge=0)
    expected_etag: Annotated[str, AfterValidator(_etag)] | None = None
    expected_sha256: (
        Annotated[str, AfterValidator(_sha256), WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})]
        | None
    ) = None

    @model_validator(mode="after")
    def _headerless(self) -> Copy:
        if self.columns is None and not self.csv_options.has_header:
            raise field_error("columns", "columns must name the file's columns if csv_options.HEADER is false")
        if self.columns is not None and len(set(self.columns)) != len(self.columns):
            raise field_error("columns", "columns names a column twice")
        return self

    @model_validator(mode="after")
    def _ignored_header(self) -> Copy:
        if self.header == "ignore" and (self.columns is None or self.csv_options.header is not True):
            raise field_error("header", 'header "ignore" needs columns, and csv_options.HEADER true')
        return self

    @property
    def left_out(self) -> frozenset[str]:
        """The names in the file of the columns that are not loaded; an empty one stands for all without a name."""
        return frozenset(name for name, column in self.column_map.items() if column is None)

    @model_validator(mode="after")
    def _rejects(self) -> Copy:
        if (self.on_error == "skip") != (self.max_rejected_rows is not None):
            message = 'on_error "skip" needs max_rejected_rows, and max_rejected_rows needs on_error "skip"'
            raise field_error("max_rejected_rows" if self.max_rejected_rows is None else "on_error", message)
        return self


def _archive_location(value: Any, info: ValidationInfo) -> ArchiveLocation:
    if not isinstance(value, str):
        raise ValueError("must be a URL or a path, as text")  # noqa: TRY004 - pydantic collects ValueError only
    try:
        return parse_adls_url(value, **(info.context or {}))
    except RequestError as exc:
        # Wrapped, so that the fault is listed together with those of the other fields.
        raise PydanticCustomError("adls_url", "{message}", {"message": exc.message, "error": exc}) from exc


class RestoreOptions(Section):
    """What a request says of each day that it restores."""

    pg: Pg = Pg()
    destination: Destination = Destination()
    timescaledb: Timescaledb = Timescaledb()
    copy_: Copy = Field(Copy(), alias="copy")
    verify: bool = True

    @model_validator(mode="after")
    def _rejects_by_staging(self) -> Self:
        # COPY with ON_ERROR into a hypertable loads the bad rows with other values (measured on 2.29.2 and 2.31.0).
        if self.copy_.on_error == "skip" and self.destination.is_direct:
            raise field_error("copy.on_error", 'copy.on_error "skip" works only with destination.mode "staging"')
        return self

    @property
    def refuses_rows_outside(self) -> bool:
        """Whether a row that is not of the archive's day ends the restore. With `verify` false nobody looks for one."""
        return self.verify and self.destination.rows_outside_window == "error"

    @property
    def secrets(self) -> list[str]:
        """The fields of the request that hold a secret."""
        found = []
        if self.pg.password is not None:
            found.append("pg.password")
        if self.pg.connection_uri is not None and "password" in self.pg.parameters:
            found.append("pg.connection_uri")
        return found


class RestoreRequest(RestoreOptions):
    """One request: which archive, into which table, how. `docs/request.md` describes each field."""

    # Text in the request, parsed here.
    archive: Annotated[
        ArchiveLocation, BeforeValidator(_archive_location), WithJsonSchema({"type": "string", "minLength": 1})
    ] = Field(alias="adls_url")
    dry_run: Annotated[bool | Literal["full"], WrapValidator(_flag_or("full"))] = False
    async_: bool | None = Field(None, alias="async")

    @property
    def secrets(self) -> list[str]:
        """The fields of the request that hold a secret."""
        return ([] if self.archive.sas is None else ["adls_url"]) + super().secrets

    @property
    def target_table(self) -> QualifiedName:
        """The table that the request names; otherwise the one that the archive's path names."""
        return self._qualified(self.destination.target_table)

    @property
    def staging_like(self) -> QualifiedName:
        """The table that the staging table is modeled on."""
        return self._qualified(self.destination.create_staging_like or self.destination.target_table)

    def _qualified(self, text: str | None) -> QualifiedName:
        if text is None:
            return QualifiedName(self.archive.schema, self.archive.table)
        name = parse_qualified_name(text)
        return QualifiedName(name.schema or self.archive.schema, name.name)
