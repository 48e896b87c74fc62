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
    given: list[sql.Composable] = [
        sql.SQL("FORMAT csv"),
        sql.SQL("HEADER true" if options.has_header else "HEADER false"),
        sql.SQL("DELIMITER {}").format(sql.Literal(options.delimiter)),
        sql.SQL("NULL {}").format(sql.Literal(options.null)),
        sql.SQL("QUOTE {}").format(sql.Literal(options.quote)),
        sql.SQL("ESCAPE {}").format(sql.Literal(options.escape or options.quote)),
        sql.SQL("ENCODING {}").format(sql.Literal(options.encoding)),
    ]
    force_null, force_not_null = sql.SQL("FORCE_NULL ({})"), sql.SQL("FORCE_NOT_NULL ({})")
    for option, chosen in ((force_null, options.force_null), (force_not_null, options.force_not_null)):
        forced = columns if chosen == ("*",) else [names.get(name, name) for name in chosen]
        if forced:
            given.append(option.format(_list(forced)))
    if options.default is not None:
        given.append(sql.SQL("DEFAULT {}").format(sql.Literal(options.default)))
    if skip_errors:
        given.append(sql.SQL("ON_ERROR ignore, LOG_VERBOSITY verbose"))
    return sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(
        table,
        _list(columns),
        sql.SQL(", ").join(given),
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
    changes = [sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name)) for name in generated]
    for name, type_ in added.items():
        as_sql = sql.SQL(type_)  # lint-sql: the catalogue's own, which format_type has quoted
        changes.append(sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(name), as_sql))
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
