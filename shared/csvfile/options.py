"""`copy.csv_options`: COPY's own CSV options, with names in any case, checked by COPY's own rules.

The rules are in PostgreSQL's `ProcessCopyOptions` (src/backend/commands/copy.c) and in the reference page of
COPY. They are also checked here, so that a caller learns of all faults at once, before the archive is read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from psycopg2.extensions import encodings
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from shared.csvfile.head import CsvDialect, clean_encoding_name

OPTION_NAMES = (
    "HEADER",
    "DELIMITER",
    "NULL",
    "QUOTE",
    "ESCAPE",
    "ENCODING",
    "FORCE_NULL",
    "FORCE_NOT_NULL",
    "DEFAULT",
)


def _one_byte(value: str) -> str:
    if len(value) != 1 or not value.isascii() or value in "\r\n":
        raise ValueError("must be a single one-byte character other than a line break")
    return value


def _no_line_break(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("must not contain a line break")
    return value


def _known_encoding(value: str) -> str:
    name = clean_encoding_name(value).upper()
    if not value.isascii() or name not in encodings:
        raise ValueError("must be an encoding that PostgreSQL knows, such as UTF8 or LATIN1")
    return name


def _header(value: Any) -> Any:
    text = str(value).lower()
    if text not in ("true", "false", "match"):
        raise ValueError('must be true, false or "match"')
    return text if text == "match" else text == "true"


def _column_names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _no_doubles(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError("names a column twice")
    return value


OneByte = Annotated[str, AfterValidator(_one_byte), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1})]
Marker = Annotated[str, AfterValidator(_no_line_break)]
ColumnNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_column_names),
    AfterValidator(_no_doubles),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class CsvOptions(BaseModel):
    """The options of `COPY ... FROM STDIN (FORMAT csv, ...)`.

    Attributes:
        header: True skips the first line; "match" also requires it to name the table's columns in order.
        delimiter: separates two fields.
        null: an unquoted field of this text is NULL.
        quote: encloses a field.
        escape: precedes a quote inside a quoted field; None: the same as `quote`.
        encoding: the file's encoding, by PostgreSQL's name. The default is UTF8, not the server's encoding, so that an
            archive means the same everywhere.
        force_null: columns in which a quoted `null` is NULL too; `("*",)` means all columns.
        force_not_null: columns in which `null` is never NULL.
        default: an unquoted field of this text is the column's default (PostgreSQL 16 and newer).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: Annotated[
        bool | Literal["match"],
        BeforeValidator(_header),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false", "match"]}]}),
    ] = True
    delimiter: OneByte = ","
    null: Marker = ""
    quote: OneByte = '"'
    escape: OneByte | None = None
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "UTF8"
    force_null: ColumnNames = ()
    force_not_null: ColumnNames = ()
    default: Marker | None = None

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        lowered: dict[str, Any] = {}
        for name, option in value.items():
            key = name.lower()
            if key in lowered:
                raise ValueError(f"{name.upper()} is given twice")
            lowered[key] = option
        # A JSON null means "not given": Data Factory sends it for an empty parameter.
        return {key: option for key, option in lowered.items() if option is not None}

    @model_validator(mode="after")
    def _agree(self) -> CsvOptions:
        if self.delimiter == self.quote:
            raise ValueError("DELIMITER and QUOTE must differ")
        for name, marker in (("NULL", self.null), ("DEFAULT", self.default or "")):
            if self.delimiter in marker:
                raise ValueError(f"the DELIMITER must not appear in {name}")
            if self.quote in marker:
                raise ValueError(f"the QUOTE must not appear in {name}")
        if self.default is not None and self.default == self.null:
            raise ValueError("NULL and DEFAULT must differ")
        return self

    @property
    def has_header(self) -> bool:
        """Whether the first line names the columns."""
        return self.header is not False

    @property
    def without_header(self) -> CsvOptions:
        """The same options for the part of the file after the header."""
        return self.model_copy(update={"header": False})

    @property
    def dialect(self) -> CsvDialect:
        """The options that determine where fields and records end."""
        return CsvDialect(
            delimiter=self.delimiter,
            quote=self.quote,
            escape=self.escape or self.quote,
            encoding=self.encoding,
        )
