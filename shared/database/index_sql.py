"""The statements that drop an index and make it again. Pure.

Two texts here become SQL by themselves, the definition of an index and that of a constraint: PostgreSQL wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from psycopg2 import sql

from shared.database.chunk_indexes import ChunkIndex


def drop_statement(table: sql.Identifier, index: ChunkIndex) -> sql.Composed:
    """Write the DROP of an index, or of the constraint that owns it. Without CASCADE: nothing else goes with it."""
    if index.constraint is None:
        return sql.SQL("DROP INDEX {}").format(index.identifier)
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, sql.Identifier(index.constraint.name))


def make_statements(table: sql.Identifier, index: ChunkIndex) -> Iterator[sql.Composable]:
    """Write what makes an index again, in the tablespace of `default_tablespace`, and gives it back what it had.

    Args:
        table: whose index it is.
        index: what it was.
    """
    constraint = index.constraint
    if constraint is None:
        yield sql.SQL(index.definition)  # lint-sql: pg_get_indexdef wrote it
    else:
        name = sql.Identifier(constraint.name)
        definition = sql.SQL(constraint.definition)  # lint-sql: pg_get_constraintdef wrote it
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, name, definition)
        yield sql.SQL(" ").join([add, _storage(index.options)]) if index.options else add
        if constraint.comment is not None:
            yield sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, table, sql.Literal(constraint.comment))
    if index.comment is not None:
        yield sql.SQL("COMMENT ON INDEX {} IS {}").format(index.identifier, sql.Literal(index.comment))
    for number, target in index.statistics:
        yield sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}").format(
            index.identifier, sql.Literal(number), sql.Literal(target)
        )
    if index.is_clustered:
        yield sql.SQL("ALTER TABLE {} CLUSTER ON {}").format(table, sql.Identifier(index.name))


def column_rename_statements(before: Iterable[ChunkIndex], now: Iterable[ChunkIndex]) -> Iterator[sql.Composed]:
    """Write what gives the indexes' own columns the names that they had.

    A new index takes the names of the table's columns, and one of these may have been renamed since the old index was
    made. The way leads by names that no column has, since two may have changed places.
    """
    columns = {index.name: index.columns for index in now}
    for index in before:
        pairs = enumerate(zip(columns.get(index.name, index.columns), index.columns, strict=False))
        differing = [(f"_restore_{number}", new, old) for number, (new, old) in pairs if new != old]
        yield from [_rename(index, new, between) for between, new, _ in differing]
        yield from [_rename(index, between, old) for between, _, old in differing]


def _rename(index: ChunkIndex, old: str, new: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
        index.identifier, sql.Identifier(old), sql.Identifier(new)
    )


def _storage(options: Sequence[str]) -> sql.Composed:
    """Write the storage parameters, which a constraint's definition lacks."""
    pairs = [option.partition("=") for option in options]
    return sql.SQL("WITH ({})").format(
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, _, value in pairs
        )
    )
