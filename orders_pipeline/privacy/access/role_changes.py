"""Account for every change of who may do what in the database: it goes into the audit log.

PostgreSQL tells nobody when a role is given or taken away (event triggers do not see it), so it is looked
for: after each migration, every five minutes, and with every compliance run. An entry says when it was seen; who did it
is in the server's own log.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from orders_pipeline.audit.log import DETAIL_TEXT_CHARACTERS, AuditEntry, AuditLog
from orders_pipeline.audit.redaction import redact
from orders_pipeline.database.engine import Database
from orders_pipeline.database.metadata import SCHEMAS
from orders_pipeline.privacy.access.powers import powerful_objects
from orders_pipeline.privacy.access.privileges import (
    delete_privileges,
    granted_privileges,
    lock_recorded_privileges,
    memberships,
    powers,
    record_privileges,
    recorded_privileges,
    were_recorded,
)
from orders_pipeline.privacy.access.roles import ROLES

PURPOSE = "database privileges"


@dataclass(frozen=True, slots=True)
class RoleChanges:
    """How many privileges were granted and revoked since the last check. The first check has
    nothing to compare with.
    """

    granted: int
    revoked: int
    first_look: bool

    @property
    def any(self) -> bool:
        return bool(self.granted or self.revoked) and not self.first_look


def note_role_changes(database: Database, audit: AuditLog) -> RoleChanges:
    """Write an audit entry for each privilege that was granted or revoked since the last check. The
    first check records all.
    """
    with database.begin() as connection:
        lock_recorded_privileges(connection)
        known = recorded_privileges(connection)
        now = rights(connection)
        recorded = {right for right, is_recorded in known.items() if is_recorded}
        first_look = not recorded and not were_recorded(connection)
        added, gone = sorted(now - recorded), sorted(recorded - now)
        delete_privileges(connection, known.keys() - (recorded & now))
        entries = [_entry("first_look" if first_look else "granted", *one) for one in added]
        entries += [_entry("revoked", *one) for one in gone]
        audit.record_many(connection, entries)
        record_privileges(connection, len(entries))
    return RoleChanges(len(added), len(gone), first_look=first_look)


def rights(connection: Connection) -> set[tuple[str, str]]:
    """(who, what) of every right on our schemas, as words, and as the audit log writes them."""
    found = {
        *(
            (row.grantee, _short(f"{row.privileges} on {row.object}"))
            for row in granted_privileges(connection, SCHEMAS)
        ),
        *((row.member, _short(f"member of {row.role}")) for row in memberships(connection, ROLES, SCHEMAS)),
        *((row.role, _short(row.powers)) for row in powers(connection)),
        *((one.who or "database", _short(str(one))) for one in powerful_objects(connection, SCHEMAS)),
    }
    # A login may be named like a mail address, which the log masks.
    return {(redact(who), redact(what)) for who, what in found}


def _entry(outcome: str, who: str, what: str) -> AuditEntry:
    return AuditEntry(
        action="role_change", account_id="*", purpose=PURPOSE, outcome=outcome, detail={"who": who, "what": what}
    )


def _short(what: str) -> str:
    return what if len(what) <= DETAIL_TEXT_CHARACTERS else f"{what[: DETAIL_TEXT_CHARACTERS - 1]}…"
