"""What each database role may do, as facts: the same that migrations/sql/roles.sql grants.

Belongs here: the declaration and its comparison with the catalog. Elsewhere: granting (roles.sql), the check (checks).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from orders_pipeline.store.evidence import (
    column_privileges,
    existing_roles,
    table_privileges,
    who_may_purge_audit,
)
from orders_pipeline.store.grants import grants
from orders_pipeline.store.schema import SCHEMAS

APP, READER, RETENTION = "orders_pipeline_app", "orders_pipeline_reader", "orders_pipeline_retention"
ROLES = (APP, READER, RETENTION)
# Everybody who may connect: nothing at all.
EVERYBODY = "public"

_READ = frozenset({"SELECT"})
_APPEND = frozenset({"SELECT", "INSERT"})
_WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_SHRED = frozenset({"SELECT", "DELETE"})
_REWRAP = frozenset({"SELECT", "UPDATE", "DELETE"})
_NOTHING: frozenset[str] = frozenset()

# By schema, and by "schema.table" where a table differs.
DECLARED: dict[str, dict[str, frozenset[str]]] = {
    APP: {
        "pipeline": _WRITE,
        "vault": _WRITE,
        "vault_keys": _WRITE,
        "audit.entries": _APPEND,
        "audit.anchors": _READ,
    },
    READER: {"pipeline": _READ, "audit.anchors": _READ},
    RETENTION: {
        "pipeline": _SHRED,
        "pipeline.orders": _REWRAP,
        "pipeline.wms_orders": _REWRAP,
        "pipeline.fulfillment_queue": _WRITE,
        "pipeline.alerts": _WRITE,
        "pipeline.erasures": _WRITE,
        "pipeline.database_grants": frozenset({"SELECT", "INSERT", "DELETE"}),
        "vault.records": _SHRED,
        "vault.amazon_tokens": _REWRAP,
        "vault_keys.data_keys": _REWRAP,
        "vault_keys.unsettled_shreds": frozenset({"SELECT", "INSERT", "DELETE"}),
        "audit.entries": _APPEND,
        "audit.anchors": _READ,
    },
    EVERYBODY: {},
}
# Of an audit entry the reader sees that it happened, not the reason that a person gave, nor the detail.
READER_SEES = ("action", "actor", "at", "entry_id", "order_id", "outcome", "seller_id")


def differences(connection: Connection) -> tuple[list[str], list[str]]:
    """(roles that are not there, "role on table: has …, should have …" for each grant that is not as declared)."""
    there = existing_roles(connection, ROLES)
    rows = table_privileges(connection, (*there, EVERYBODY), SCHEMAS)
    wrong: list[str] = []
    for row in rows:
        declared = DECLARED[row.role]
        wanted = declared.get(f"{row.schema}.{row.name}", declared.get(row.schema, _NOTHING))
        if frozenset[str](row.privileges) != wanted:
            wrong.append(
                f"{row.role} on {row.schema}.{row.name}: has {_words(row.privileges)}, should have {_words(wanted)}"
            )
    for row in grants(connection, SCHEMAS):
        if row.grantee not in (*ROLES, EVERYBODY):
            # By name, past the roles: it would outlive every review of who is a member of what.
            wrong.append(f"{row.grantee} on {row.object}: has {row.privileges}, should have nothing of its own")
    if READER in there and column_privileges(connection, READER, "audit", "entries") != list(READER_SEES):
        wrong.append(f"{READER} on audit.entries: other columns than {', '.join(READER_SEES)}")
    purgers = who_may_purge_audit(connection, (*there, EVERYBODY))
    if purgers != [role for role in (RETENTION,) if role in there]:
        wrong.append(f"audit.purge_before: may be run by {_words(purgers)}")
    return [role for role in ROLES if role not in there], wrong


def _words(privileges: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(privileges)) or "nothing"
