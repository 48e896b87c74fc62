"""Table names as a request writes them: `schema.table`, with double quotes only if a name holds a dot."""

from __future__ import annotations

import re
from dataclasses import dataclass

# NAMEDATALEN - 1. PostgreSQL truncates a longer name with only a NOTICE, so two long names could become the same.
MAX_NAME_BYTES = 63

_PART = r'"((?:[^"]|"")+)"|([^".][^.]*)'
_QUALIFIED = re.compile(rf"(?:{_PART})(?:\.(?:{_PART}|([^\"].*)))?", re.DOTALL)


@dataclass(frozen=True)
class QualifiedName:
    """The name of a table or view, as written, case included. The schema is None if the request omits it."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        """Return the name for a person."""
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


def is_listed(table: QualifiedName, pattern: str) -> bool:
    """Whether an entry of a list, `schema.table` with `*` and `?`, is for a table."""
    # As in the file's name: the first dot divides, so that `silver.*` is every table of one schema and of no other.
    schema, _, name = pattern.partition(".")
    return _is_like(schema, table.schema or "") and _is_like(name, table.name)


def _is_like(pattern: str, text: str) -> bool:
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(char, re.escape(char)) for char in pattern), text, re.DOTALL) is not None


def parse_qualified_name(text: str) -> QualifiedName:
    """Read `table`, `schema.table` or `"a.schema"."a.table"`.

    The schema ends at the first dot outside double quotes. Inside quotes, two double quotes mean one.

    Args:
        text: the name as the request has it.

    Returns:
        The two parts.

    Raises:
        ValueError: the text has none of these forms, or a part is longer than 63 bytes.
    """
    match = _QUALIFIED.fullmatch(text)
    if match is None:
        raise ValueError('must be "table" or "schema.table"; put a part in double quotes if it holds a dot')
    first_quoted, first_plain, second_quoted, second_plain, rest = match.groups()
    first = _unquote(first_quoted, first_plain)
    second = _unquote(second_quoted, second_plain or rest)
    for part in (first, second):
        if part is not None and len(part.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"a name may have {MAX_NAME_BYTES} bytes at most")
    if first is None:  # pragma: no cover - the pattern always matches a first part
        raise ValueError("the name is empty")
    return QualifiedName(None, first) if second is None else QualifiedName(first, second)


def check_name(text: str) -> str:
    """Return a name, unless PostgreSQL would truncate it and so refer to another object.

    Raises:
        ValueError: it is empty or too long.
    """
    if not 0 < len(text.encode()) <= MAX_NAME_BYTES:
        raise ValueError(f"must have 1 to {MAX_NAME_BYTES} bytes")
    return text


def _unquote(quoted: str | None, plain: str | None) -> str | None:
    return plain if quoted is None else quoted.replace('""', '"')


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for a message: `1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
