"""Everything that a database holds, column by column, as text or as bytes: for who looks through all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TextClause, text

# Of one value at a time. A page of rows is held in memory, and one value may be a gigabyte.
SLICE = 1 << 16
SLICE_OVERLAP = 1 << 12
ROWS_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can hold a text. `is_bytes`: it is bytea."""

    name: str
    is_bytes: bool


def columns_with_contents(
    connection: Connection, without_schemas: Sequence[str]
) -> dict[tuple[str, str], list[Column]]:
    """The columns of each table that can hold more than numbers, times and ids, by (schema, table)."""
    rows = connection.execute(
        text("""
            select n.nspname, c.relname, a.attname, t.typname = 'bytea' from pg_attribute a
            join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
            join pg_type t on t.oid = a.atttypid
            join pg_type e on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end
            where c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped
            and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname <> all(:without)
            and n.nspname not like 'pg_toast%' and n.nspname not like 'pg_temp%'
            and e.typcategory not in ('N', 'B', 'D', 'T', 'I', 'G', 'E') and e.typname not in ('uuid', 'pg_lsn',
            'xid', 'xid8', 'cid', 'tid') order by 1, 2, a.attnum
        """),
        {"without": list(without_schemas)},
    )
    columns: dict[tuple[str, str], list[Column]] = {}
    for schema, table, name, is_bytes in rows:
        columns.setdefault((schema, table), []).append(Column(name, is_bytes))
    return columns


def contents_of(
    connection: Connection, schema: str, table: str, columns: Sequence[Column]
) -> Iterator[list[list[str | bytes | None]]]:
    """The rows of a table, streamed in pages, the newest first where it has a running number.

    A long value comes in slices that overlap, each in a row of its own. Raises InsufficientPrivilege, as a DBAPIError,
    also where a policy would hide rows.
    """
    # One snapshot: a long value's slices are of the row that was seen.
    connection = connection.execution_options(isolation_level="REPEATABLE READ")
    connection.execute(text("set local row_security = off"))
    named = [(_plain(_quoted(column.name), column), column) for column in columns]
    number = _running_number(connection, schema, table)
    newest_first = f" order by {_quoted(number)} desc" if number else ""
    first = ", ".join(f"substr({plain}, 1, {SLICE})" for plain, _ in named)
    longest = ", ".join(f"length({plain})" for plain, _ in named)
    place = f"{_quoted(schema)}.{_quoted(table)}"
    statement = f"select {first}, ctid::text, greatest({longest}) from {place}{newest_first}"  # noqa: S608  # quoted
    rows = connection.execute(_literally(statement), execution_options={"yield_per": ROWS_A_PAGE})
    for page in rows.partitions(ROWS_A_PAGE):
        long = [row for row in page if row[-1] is not None and row[-1] > SLICE]
        yield [_values(row[:-2]) for row in page]
        for row in long:
            for start in range(1 + SLICE - SLICE_OVERLAP, row[-1] + 1, SLICE - SLICE_OVERLAP):
                slices = ", ".join(f"substr({plain}, {start}, {SLICE})" for plain, _ in named)
                one = f"select {slices} from {place} where ctid = '{row[-2]}'::tid"  # noqa: S608  # quoted, and its own
                yield [_values(found) for found in connection.execute(_literally(one))]


def names_beside(connection: Connection) -> tuple[list[str], list[str], int]:
    """What a look through the tables does not see: foreign tables, the server's other databases, large objects."""
    foreign = connection.execute(text("select relname from pg_class where relkind = 'f' order by 1")).scalars().all()
    others = (
        connection.execute(
            text("select datname from pg_database where datname <> current_database() and not datistemplate order by 1")
        )
        .scalars()
        .all()
    )
    objects = connection.execute(text("select count(*) from pg_largeobject_metadata")).scalar_one()
    return list(foreign), list(others), objects


def _quoted(name: str) -> str:
    """Not by SQLAlchemy: it doubles percent signs in names, and then again in the text."""
    return '"' + name.replace('"', '""') + '"'


def _literally(statement: str) -> TextClause:
    """Without parameters: a colon in a column's name is none."""
    return text(statement.replace(":", "\\:"))


def _plain(name: str, column: Column) -> str:
    return name if column.is_bytes else f"cast({name} as text)"


def _values(row: Sequence[Any]) -> list[str | bytes | None]:
    return [bytes(value) if isinstance(value, memoryview) else value for value in row]


def _running_number(connection: Connection, schema: str, table: str) -> str | None:
    return connection.execute(
        text("""
            select a.attname from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n
            on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
            where i.indisprimary and i.indnatts = 1 and a.atttypid in (20, 23)
            and n.nspname = :schema and c.relname = :table
        """),
        {"schema": schema, "table": table},
    ).scalar_one_or_none()
