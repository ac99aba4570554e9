"""Who has power over buyers' data beside the grants, against what the deployment declares.

Meant to have it: the superuser that the server was made with, the login that this process uses, and whoever
ORDERS_DATABASE_RIGHTS names. Whatever else is there is a difference, in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from orders_pipeline.database.metadata import SCHEMAS
from orders_pipeline.privacy.access.powers import (
    PowerfulObject,
    memberships,
    owners,
    powerful_objects,
    server_administrator,
    session_login,
    unbound_roles,
)
from orders_pipeline.privacy.access.roles import APP, READER, RETENTION, ROLES
from orders_pipeline.settings import DatabaseRight

_RIGHT_OF_ROLE = {APP: "app", READER: "reader", RETENTION: "retention"}

# The audit log's own, each of which the check audit_log_is_retained compares to the letter.
_OURS = {
    *(
        ("function", f"audit.{name}")
        for name in (
            "chain()",
            "check_anchor()",
            "refuse_young_or_unanchored()",
            "purge_before(cutoff timestamp with time zone, actor text, max_entries bigint)",
        )
    ),
    *(("trigger", f"audit.entries.{name}") for name in ("chain", "no_update", "no_delete", "no_truncate")),
    *(("trigger", f"audit.anchors.{name}") for name in ("check_anchor", "no_update", "no_delete", "no_truncate")),
}
# Trusted by its makers' use, if not by PostgreSQL: they watch, and read no table.
_WATCHING_EXTENSIONS = frozenset({"pg_stat_statements", "pgaudit"})


@dataclass(frozen=True, slots=True)
class Powers:
    """`undeclared` is a sentence for each power that nobody declared; `members` of our roles, for people to read.

    `session_owns`: the login of this process owns tables, and so could switch their triggers off.
    """

    undeclared: list[str]
    members: list[str]
    session_owns: bool
    session_unbound: bool


def powers_found(connection: Connection, declared: Sequence[DatabaseRight]) -> Powers:
    """Compare every membership, unbound role, owner and powerful object with what is declared."""
    administrator, session = server_administrator(connection), session_login(connection)
    meant = {(right.who, right.right) for right in declared}
    # Whoever configured the login of ORDERS_DATABASE_URL declared it by that.
    meant |= {(session, right) for right in ("app", "retention", "owner")}

    def may(who: str, right: str) -> bool:
        return who == administrator or (who, right) in meant or (who, "administrator") in meant

    owned, unbound = owners(connection, SCHEMAS), unbound_roles(connection)
    wrong = [f"{who} {powers}" for who, powers in unbound.items() if not may(who, "administrator")]
    wrong += [
        f"{who} owns {name}" + (f" and {count - 1} more" if count > 1 else "")
        for who, (name, count) in owned.items()
        if not may(who, "owner")
    ]
    members: list[str] = []
    for one in memberships(connection, ROLES, SCHEMAS):
        right = _RIGHT_OF_ROLE.get(
            one.role, "owner" if one.role in owned and one.role not in unbound else "administrator"
        )
        sentence = f"{one.who} is a member of {one.role}" + (f" through {one.through}" if one.through else "")
        if one.may_give and not may(one.who, "administrator"):
            wrong.append(f"{sentence} and may give it to others (ADMIN OPTION)")
        elif not may(one.who, right):
            wrong.append(sentence)
        elif one.role in ROLES:
            members.append(f"{one.who}: {right}")
    wrong += [
        str(one)
        for one in powerful_objects(connection, SCHEMAS)
        if not _is_ours(one)
        # A parameter that was given to an administrator gives them nothing new.
        and not (one.kind == "setting" and one.who is not None and may(one.who, "administrator"))
        and not (one.kind == "extension" and may(one.name, "extension"))
    ]
    return Powers(
        undeclared=wrong,
        members=sorted(set(members)),
        session_owns=session in owned,
        session_unbound=session in unbound,
    )


def _is_ours(one: PowerfulObject) -> bool:
    return (one.kind, one.name) in _OURS or (one.kind == "extension" and one.name in _WATCHING_EXTENSIONS)
