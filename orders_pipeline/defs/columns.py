"""The columns of a stored table, as its asset's page shows them: read from the table that the queries use."""

from __future__ import annotations

import dagster as dg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

_POSTGRESQL = postgresql.dialect()


def column_schema(table: Table) -> dg.TableSchema:
    """Name, PostgreSQL type, whether it may be empty, and comment of each column."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type.compile(dialect=_POSTGRESQL).lower(),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
            )
            for column in table.columns
        ]
    )
