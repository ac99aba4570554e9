"""What each database role may do, as facts: the same that migrations/sql/roles.sql grants."""

from __future__ import annotations

from sqlalchemy import Connection

from orders_pipeline.database.metadata import SCHEMAS
from orders_pipeline.privacy.access.privileges import existing_roles, granted_privileges, tables

APP, READER, RETENTION = "orders_pipeline_app", "orders_pipeline_reader", "orders_pipeline_retention"
ROLES = (APP, READER, RETENTION)

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
        "audit.chain_lock": _APPEND,
    },
    READER: {"pipeline": _READ, "audit.anchors": _READ},
    RETENTION: {
        "pipeline": _SHRED,
        "pipeline.orders": _REWRAP,
        "pipeline.wms_orders": _REWRAP,
        "pipeline.parked_messages": _REWRAP,
        "pipeline.alerts": _WRITE,
        "pipeline.erasures": _WRITE,
        "pipeline.amazon_rate_limits": _WRITE,
        "pipeline.client_secrets": _WRITE,
        "pipeline.database_privileges": frozenset({"SELECT", "INSERT", "DELETE"}),
        # Who may write a lock's table may take the lock (database.locks); who may only read may not.
        "pipeline.erasures_lock": _WRITE,
        "pipeline.locks": _WRITE,
        "pipeline.run_workers": _WRITE,
        "vault_keys.keys_lock": _WRITE,
        "vault_keys.fingerprint_lock": _WRITE,
        "audit.chain_lock": _APPEND,
        "pipeline.clock_readings": _WRITE,
        "pipeline.work_done": _WRITE,
        "pipeline.seals": _REWRAP,
        "pipeline.jobs": _WRITE,
        "pipeline.refused_records": _WRITE,
        "pipeline.check_results": _WRITE,
        "pipeline.counter_increments": _WRITE,
        "pipeline.amazon_authorizations": _WRITE,
        "pipeline.paused_dependencies": _WRITE,
        "vault.records": _SHRED,
        "vault.amazon_tokens": _WRITE,
        "vault_keys.data_keys": _REWRAP,
        "vault_keys.pending_shreds": _WRITE,
        "audit.entries": _APPEND,
        "audit.anchors": _READ,
    },
}
# Of an audit entry the reader sees that it happened, not the reason that a person gave, nor the detail.
READER_SEES = ("action", "actor", "at", "entry_id", "order_id", "outcome", "seller_id")
# All else that is granted, by (role, object): columns, functions, schemas.
DECLARED_BESIDES: dict[tuple[str, str], str] = {
    **{(READER, f"audit.entries.{column}"): "SELECT" for column in READER_SEES},
    (RETENTION, "audit.purge_before()"): "EXECUTE",
    (RETENTION, "vault.records.stored_at"): "UPDATE",
    (RETENTION, "vault.records.first_stored_at"): "UPDATE",
    **{(role, f"schema {schema}"): "USAGE" for role in (APP, RETENTION) for schema in SCHEMAS},
    (READER, "schema pipeline"): "USAGE",
    (READER, "schema audit"): "USAGE",
}


def differences(connection: Connection) -> tuple[list[str], list[str]]:
    """(roles that are not there, "who on what: has …, should have …" for each grant that is not as declared)."""
    there = existing_roles(connection, ROLES)
    declared = {key: what for key, what in DECLARED_BESIDES.items() if key[0] in there}
    for name in tables(connection, SCHEMAS):
        for role in there:
            if privileges := _declared(role, name):
                declared[role, name] = ", ".join(sorted(privileges))
    # Of everybody, by name or not: past the roles a grant would outlive every review of who is a member of what.
    found = {(row.grantee, row.object): row.privileges for row in granted_privileges(connection, SCHEMAS)}
    both = {key: (found.get(key, "nothing"), declared.get(key, "nothing")) for key in found.keys() | declared.keys()}
    wrong = [
        f"{role} on {name}: has {has}, should have {should_have}"
        for (role, name), (has, should_have) in sorted(both.items())
        if has != should_have
    ]
    return [role for role in ROLES if role not in there], wrong


def _declared(role: str, table: str) -> frozenset[str]:
    declared = DECLARED[role]
    return declared.get(table, declared.get(table.split(".")[0], _NOTHING))
