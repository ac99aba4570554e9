"""Writing to the audit log, and changing it afterwards as somebody with all rights could."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from sqlalchemy import text

from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.audit.rows import CANONICAL
from orders_pipeline.database.engine import Database
from orders_pipeline_tests.conftest import SELLER

ENTRY = AuditEntry(action="push", account_id=SELLER, purpose="push to the warehouse", outcome="accepted")
DISABLE = "alter table audit.entries disable trigger all; alter table audit.anchors disable trigger all"
# To the letter as it was: whoever can switch a trigger off can also leave no trace of it.
ENABLE = "; ".join(
    ["alter table audit.entries enable trigger chain"]
    + [f"alter table audit.entries enable always trigger no_{name}" for name in ("update", "delete", "truncate")]
    + [f"alter table audit.anchors enable always trigger no_{name}" for name in ("update", "delete", "truncate")]
    + ["alter table audit.anchors enable always trigger check_anchor"]
)


def write(audit: AuditLog, *order_ids: str) -> None:
    audit.record_many(None, [replace(ENTRY, order_id=order_id) for order_id in order_ids])


def execute(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def as_superuser(database: Database, statement: str) -> None:
    """Change what must not be changed, with every trigger off."""
    with database.begin() as connection:
        connection.exec_driver_sql(DISABLE)
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql(ENABLE)


def recompute_everything(database: Database) -> None:
    """What an attacker with all rights and this source code can do: make the chain fit what they wrote."""
    with database.begin() as connection:
        connection.exec_driver_sql(DISABLE)
        previous = bytes(32)
        numbers = connection.execute(text("select entry_id from audit.entries order by entry_id")).scalars().all()
        for number in numbers:
            canonical = connection.execute(
                text(f"select {CANONICAL} from audit.entries where entry_id = :number"), {"number": number}
            ).scalar_one()
            digest = hashlib.sha256(previous + canonical.encode()).digest()
            connection.execute(
                text("update audit.entries set previous_hash = :previous, entry_hash = :hash where entry_id = :number"),
                {"previous": previous, "hash": digest, "number": number},
            )
            previous = digest
        connection.exec_driver_sql(ENABLE)


def write_days_ago(database: Database, audit: AuditLog, days: int, *order_ids: str) -> None:
    """Entries of an earlier day, in a chain that holds. Everything that is there becomes as much older."""
    as_superuser(database, f"update audit.entries set at = at - interval '{days} days'")
    write(audit, *order_ids)
    as_superuser(
        database,
        f"update audit.entries set at = at - interval '{days} days' "
        f"where entry_id > (select max(entry_id) - {len(order_ids)} from audit.entries)",
    )
    recompute_everything(database)
