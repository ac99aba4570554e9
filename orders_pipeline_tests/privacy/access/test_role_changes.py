"""Whoever is given or loses a right in the database is in the audit log from the next look on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.access.role_changes import note_role_changes
from orders_pipeline.privacy.access.roles import APP, READER, RETENTION
from orders_pipeline.privacy.alerts import ROLES_CHANGED
from orders_pipeline.privacy.checks.checks import roles_are_as_declared


@pytest.fixture
def analyst(postgres_admin: Engine) -> Iterator[str]:
    """A login: roles belong to the server, so it is taken away again."""
    with postgres_admin.connect() as connection:
        connection.execute(text("create role analyst_maria login"))
    yield "analyst_maria"
    with postgres_admin.connect() as connection:
        connection.execute(text("drop role analyst_maria"))


def seen(database: Database, audit: AuditLog) -> list[tuple[str, str, str]]:
    """(outcome, who, what) of each entry about rights, oldest first."""
    entries = [json.loads(line) for line in audit.export(database.now().date())]
    return [
        (entry["outcome"], entry["detail"]["who"], entry["detail"]["what"])
        for entry in entries
        if entry["action"] == "role_change"
    ]


def execute(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def test_the_first_look_tells_of_every_right_and_an_unchanged_database_of_none(database: Database, audit: AuditLog):
    first = note_role_changes(database, audit)
    assert first.granted > 30
    assert {outcome for outcome, _, _ in seen(database, audit)} == {"first_look"}
    assert ("first_look", RETENTION, "EXECUTE on audit.purge_before()") in seen(database, audit)
    again = note_role_changes(database, audit)
    assert (again.granted, again.revoked) == (0, 0)
    assert len(seen(database, audit)) == first.granted


@pytest.mark.parametrize(
    ("statement", "undo", "who", "what"),
    [
        (
            "grant select on vault.records to analyst_maria",
            "revoke select on vault.records from analyst_maria",
            "analyst_maria", "SELECT on vault.records",
        ),
        (
            "grant select (purpose) on audit.entries to analyst_maria",
            "revoke select (purpose) on audit.entries from analyst_maria",
            "analyst_maria", "SELECT on audit.entries.purpose",
        ),
        (
            f"grant {READER} to analyst_maria", f"revoke {READER} from analyst_maria",
            "analyst_maria", f"member of {READER}",
        ),
        (
            "grant pg_read_all_data to analyst_maria", "revoke pg_read_all_data from analyst_maria",
            "analyst_maria", "member of pg_read_all_data",
        ),
        ("alter role analyst_maria superuser", "alter role analyst_maria nosuperuser", "analyst_maria", "superuser"),
        ("alter role analyst_maria createrole", "alter role analyst_maria nocreaterole",
         "analyst_maria", "creates roles"),
        (
            "grant usage on schema vault to public", "revoke usage on schema vault from public",
            "public", "USAGE on schema vault",
        ),
        (
            f"grant execute on function audit.purge_before to {APP}",
            f"revoke execute on function audit.purge_before from {APP}",
            APP, "EXECUTE on audit.purge_before()",
        ),
    ],
)  # fmt: skip
def test_each_right_that_comes_and_goes_is_an_entry_that_names_who_and_what(
    database: Database, audit: AuditLog, analyst: str, statement: str, undo: str, who: str, what: str
):
    before = note_role_changes(database, audit).granted
    execute(database, statement)
    note_role_changes(database, audit)
    assert seen(database, audit)[before:] == [("granted", who, what)]
    execute(database, undo)
    note_role_changes(database, audit)
    assert seen(database, audit)[before + 1 :] == [("revoked", who, what)]
    assert audit.verify().ok


def test_a_grant_to_a_login_by_name_is_not_as_declared(database: Database, analyst: str):
    assert roles_are_as_declared(database).passed
    execute(database, f"grant select on vault.records to {analyst}")
    outcome = roles_are_as_declared(database)
    assert (outcome.passed, outcome.severity) == (False, "ERROR")
    assert "analyst_maria on vault.records" in outcome.description
    execute(database, f"revoke select on vault.records from {analyst}")
    assert roles_are_as_declared(database).passed


@pytest.mark.parametrize("right", ["trigger", "references"])
def test_a_right_to_hang_something_on_a_table_is_seen_too(database: Database, right: str):
    execute(database, f"grant {right} on audit.entries to {READER}")
    assert not roles_are_as_declared(database).passed


def alerts(database: Database) -> list[str]:
    evaluate(database, NOBODY, [ROLES_CHANGED])
    with database.transaction(NOBODY) as tx:
        return [alert.message for alert in open_alerts(tx)]


def test_a_change_is_an_alert_for_at_least_a_day_and_the_first_look_is_none(
    database: Database, audit: AuditLog, analyst: str
):
    note_role_changes(database, audit)
    assert alerts(database) == []
    execute(database, f"grant select on vault.records to {analyst}")
    note_role_changes(database, audit)
    assert alerts(database) == ["In the database 1 rights were given and 0 taken away."]
    for days_ago, still_there in ((1, 1), (2, 0)):
        with database.begin() as connection:
            connection.exec_driver_sql("alter table audit.entries disable trigger all")
            connection.exec_driver_sql(f"update audit.entries set at = now() - interval '{days_ago} days'")
            connection.exec_driver_sql("alter table audit.entries enable trigger all")
        assert len(alerts(database)) == still_there
    execute(database, f"revoke select on vault.records from {analyst}")


FORGED = (
    "insert into audit.entries (actor, action, seller_id, purpose, outcome, detail) values ('job:x', 'push', '*', 'x', "
    '\'granted\', \'{"who": "analyst_maria", "what": "SELECT on vault.records"}\'); '
)
SEED = "insert into pipeline.database_privileges (who, what{}) select 'analyst_maria', 'SELECT on vault.records'{}"


@pytest.mark.parametrize(
    "blinding",
    [
        SEED.format("", ""),
        SEED.format(", entry_id", ", 1"),
        # Some other entry that names the same.
        FORGED + SEED.format(", entry_id", ", max(entry_id) from audit.entries"),
        # Every right is new again: as if nobody had looked yet.
        "delete from pipeline.database_privileges",
    ],
)
def test_who_writes_the_list_of_known_rights_hides_none(
    database: Database, audit: AuditLog, analyst: str, blinding: str
):
    note_role_changes(database, audit)
    # What the pipeline's own role may do.
    with database.begin() as connection:
        connection.execute(text(f"set local role {APP}"))
        connection.exec_driver_sql(blinding)
    execute(database, f"grant select on vault.records to {analyst}")
    changes = note_role_changes(database, audit)
    assert changes.any
    assert ("granted", analyst, "SELECT on vault.records") in seen(database, audit)
    assert alerts(database) != []
    assert not note_role_changes(database, audit).any
    execute(database, f"revoke select on vault.records from {analyst}")


def test_a_login_that_is_named_like_a_mail_address_is_told_of_once(
    database: Database, audit: AuditLog, postgres_admin: Engine
):
    with postgres_admin.connect() as connection:
        connection.execute(text('create role "maria@example.com" login'))
    try:
        note_role_changes(database, audit)
        execute(database, f'grant {READER} to "maria@example.com"')
        assert note_role_changes(database, audit).granted == 1
        assert not note_role_changes(database, audit).any
    finally:
        with postgres_admin.connect() as connection:
            connection.execute(text('drop role "maria@example.com"'))
