"""The statements of the load: COPY, staging table, INSERT. Pure: what goes in are names and options.

Names are `sql.Identifier`, values are `sql.Literal`; no text of a request ever becomes SQL by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg2 import sql

from shared.csv_options import CsvOptions


def copy_statement(
    table: sql.Identifier,
    columns: Sequence[str],
    options: CsvOptions,
    renamed: Mapping[str, str] | None = None,
    *,
    skip_errors: bool = False,
) -> sql.Composed:
    """Write `COPY table (columns) FROM STDIN WITH (FORMAT csv, ...)`.

    `HEADER match` is not left to PostgreSQL: it would compare names before `column_map` and would trip over
    a byte order mark. The header was read and compared before; here it is only skipped.

    Args:
        table: what is copied into.
        columns: in the file's order, under the table's names.
        options: the request's.
        renamed: for columns that `force_null` and `force_not_null` name otherwise than the table does.
        skip_errors: leave out rows that cannot be parsed, with a NOTICE for each (PostgreSQL 17 and newer; never on a
            hypertable, where it loads them with other values: measured on 2.29.2 and 2.31.0).
    """
    names = renamed or {}
    given: list[tuple[str, sql.Composable]] = [
        ("FORMAT", sql.SQL("csv")),
        ("HEADER", sql.SQL("true" if options.has_header else "false")),
        ("DELIMITER", sql.Literal(options.delimiter)),
        ("NULL", sql.Literal(options.null)),
        ("QUOTE", sql.Literal(options.quote)),
        ("ESCAPE", sql.Literal(options.escape or options.quote)),
        ("ENCODING", sql.Literal(options.encoding)),
    ]
    for option, chosen in (("FORCE_NULL", options.force_null), ("FORCE_NOT_NULL", options.force_not_null)):
        forced = columns if chosen == ("*",) else [names.get(name, name) for name in chosen]
        if forced:
            given.append((option, sql.SQL("({})").format(_list(forced))))
    if options.default is not None:
        given.append(("DEFAULT", sql.Literal(options.default)))
    if skip_errors:
        given += [("ON_ERROR", sql.SQL("ignore")), ("LOG_VERBOSITY", sql.SQL("verbose"))]
    return sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(
        table,
        _list(columns),
        sql.SQL(", ").join(sql.SQL(option + " {}").format(value) for option, value in given),
    )


def create_staging(
    staging: sql.Identifier, like: sql.Identifier, *, generated: Sequence[str], added: Mapping[str, str]
) -> sql.Composed:
    """Write the statements that make the staging table.

    It lives in the load's transaction, so that a crash takes it along. It has all that `like` has, but no indexes,
    which a table read once only pays for. A generated column becomes a plain one that may be empty, since an
    exported one stands in the file.

    Args:
        staging: its name.
        like: the table that it is made like.
        generated: columns of `like` that PostgreSQL computes.
        added: columns that `like` lacks, with their type as PostgreSQL's `format_type` writes it: the one text
            here that becomes SQL, and it comes from the catalogue.
    """
    changes = [
        *(sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name)) for name in generated),
        *(sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(name), sql.SQL(type_)) for name, type_ in added.items()),
    ]
    create = sql.SQL("CREATE UNLOGGED TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES EXCLUDING GENERATED)")
    statements = [create.format(staging, like)]
    if changes:
        statements.append(sql.SQL("ALTER TABLE {} {}").format(staging, sql.SQL(", ").join(changes)))
    return sql.SQL("; ").join(statements)


def insert_from_staging(table: sql.Identifier, staging: sql.Identifier, columns: Sequence[str]) -> sql.Composed:
    """Write the INSERT that takes over what the table does not hold yet.

    OVERRIDING SYSTEM VALUE: an archived row keeps the number that an identity column gave it, as COPY would.
    """
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ON CONFLICT DO NOTHING").format(
        table, _list(columns), _list(columns), staging
    )


def drop_table(table: sql.Identifier) -> sql.Composed:
    """Write the DROP of the staging table."""
    return sql.SQL("DROP TABLE {}").format(table)


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
