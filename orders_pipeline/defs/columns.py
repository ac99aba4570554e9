"""The columns of a stored table, as its asset's page shows them: read from the table that the queries use.

A column that leads to a buyer has the tag `pii`. None holds what identifies one in clear (docs/compliance.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

_POSTGRESQL = postgresql.dialect()
# By their names, which are the same in every table.
PII: Mapping[str, str] = {
    "ciphertext": "encrypted",
    "value_hashes": "keyed hashes",
    "content_hash": "keyed hash",
    # To Amazon, the warehouse or a carrier they name an order, and so a person.
    "order_id": "pseudonym",
    "subject_id": "pseudonym",
    "wms_id": "pseudonym",
    "package_id": "pseudonym",
    "tracking_number": "pseudonym",
}


def column_schema(table: Table) -> dg.TableSchema:
    """Name, PostgreSQL type, whether it may be empty, and comment of each column."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type.compile(dialect=_POSTGRESQL).lower(),
                description=column.comment,
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
                tags={"pii": PII[column.name]} if column.name in PII else {},
            )
            for column in table.columns
        ]
    )
