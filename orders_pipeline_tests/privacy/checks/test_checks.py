"""Each check is green over a sound store, and red as soon as what it stands for is broken."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY, AlertKind
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.in_transit import is_encrypted
from orders_pipeline.privacy.alerts import SECRET_ENDS
from orders_pipeline.privacy.audit_export.copies import Witness
from orders_pipeline.privacy.check_result import CheckResult
from orders_pipeline.privacy.checks.checks import (
    audit_chain_is_intact,
    audit_log_is_retained,
    client_secret_is_young,
    every_reading_is_audited,
    every_record_opens,
    nothing_past_its_time,
    tls_on_every_endpoint,
)
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.settings import Settings, load_settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.alerts import REFUSED
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.audit.tampering import write_days_ago
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.privacy.conftest import NAME, PHONE, PutOrder, kept_ids


def run(database: Database, statement: str, **values: Any) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


def settings(**changes: str) -> Settings:
    return load_settings(
        {
            "AMAZON_LWA_CLIENT_ID": "amzn1.application-oa2-client.test",
            "AMAZON_LWA_CLIENT_SECRET": "amzn1.oa2-cs.v1.0123456789abcdef",
            "AMAZON_LWA_REFRESH_TOKEN": "Atzr|refresh",
            "AMAZON_SELLER_ID": SELLER,
            "AMAZON_MARKETPLACE_ID": MARKETPLACE,
            "AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/orders",
            "WMS_BASE_URL": "https://warehouse.test",
            "WMS_TOKEN": "token",
            **changes,
        }
    )


def holds_numbers_only(outcome: CheckResult) -> bool:
    return all(type(value) in (int, float, bool) for value in outcome.as_metadata().values())


@pytest.mark.parametrize(
    ("order", "late"),
    [
        # Within the day that a nightly run takes; then red.
        ({"status": "CANCELLED", "queue": None, "stored": 0.9}, 0),
        ({"status": "CANCELLED", "queue": None, "stored": 1.5}, 1),
        ({"status": "SHIPPED", "queue": "closed", "deliver_by": 7.5, "stored": 20}, 0),
        ({"status": "SHIPPED", "queue": "closed", "deliver_by": 9, "stored": 20}, 1),
        ({"queue": "refused", "deliver_by": 0.5, "stored": 9}, 0),
        ({"queue": "refused", "deliver_by": 2, "stored": 9}, 1),
    ],
)
def test_what_is_late_by_more_than_a_run_is_red(
    database: Database, put_order: PutOrder, order: dict[str, Any], late: int
):
    put_order("111-1", **order)
    outcome = nothing_past_its_time(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["late"], outcome.severity) == (not late, late, "ERROR")
    assert holds_numbers_only(outcome)


def test_past_the_hard_limit_is_red_at_once(database: Database, put_order: PutOrder):
    put_order("111-1", status="SHIPPED", queue="closed", package="accepted", left=30.1, delivered=29.9, deliver_by=9)
    assert nothing_past_its_time(database, account_id=SELLER).numbers["past_hard_limit"] == 0
    run(database, "update pipeline.orders set delivered_at = clock_timestamp() - interval '30 days 1 minute'")
    outcome = nothing_past_its_time(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["past_hard_limit"]) == (False, 1)


def test_a_flipped_bit_and_a_swapped_record_are_found(database: Database, vault: Vault, put_order: PutOrder):
    for number in range(5):
        put_order(f"111-{number}")
    outcome = every_record_opens(vault)
    assert (outcome.passed, outcome.numbers["records"]) == (True, 5)
    # One bit, and one record in the place of another.
    run(
        database,
        "update vault.records set ciphertext = set_byte(ciphertext, 3, get_byte(ciphertext, 3) # 1) "
        "where subject_id = '111-1'",
    )
    run(
        database,
        "update vault.records a set ciphertext = b.ciphertext, nonce = b.nonce from vault.records b "
        "where a.subject_id = '111-2' and b.subject_id = '111-3'",
    )
    outcome = every_record_opens(vault)
    assert (outcome.passed, outcome.severity, outcome.numbers["refused"]) == (False, "ERROR", 2)
    assert len(open_keys(database, REFUSED)) == 2
    run(database, "delete from vault.records where subject_id = '111-1'")
    every_record_opens(vault)
    assert open_keys(database, REFUSED) == ["vault.refused:shipping_details:111-2"]


def open_keys(database: Database, kind: AlertKind) -> list[str]:
    """The keys of this kind's open alerts, after its query was asked."""
    evaluate(database, NOBODY, [kind])
    with database.transaction(NOBODY) as tx:
        return [alert.key for alert in open_alerts(tx)]


def test_a_record_under_an_older_key_is_a_warning_until_the_rotation_has_ended(
    vault: Vault, keyring: LocalKeyring, put_order: PutOrder
):
    put_order("111-1")
    keyring.add_key()
    outcome = every_record_opens(vault)
    assert (outcome.passed, outcome.severity, outcome.numbers["under_older_key"]) == (False, "WARN", 1)


def test_details_without_a_call_and_a_push_without_a_reveal_are_found(database: Database, put_order: PutOrder):
    put_order("111-1", sent=True, stored=0)
    assert every_reading_is_audited(database, account_id=SELLER).passed
    put_order("111-2", sent=True, stored=0, audited=False)
    # An entry that came after the reading is no entry.
    put_order("111-3", sent=True, stored=3)
    outcome = every_reading_is_audited(database, account_id=SELLER)
    assert not outcome.passed
    assert outcome.as_metadata() == {
        "stored": 3, "stored_without_call": 2, "sent": 3, "sent_without_reveal": 1, "sent_without_hash": 0,
    }  # fmt: skip


def test_a_changed_entry_and_a_cut_end_of_the_audit_log_are_found(
    database: Database, audit: AuditLog, put_order: PutOrder
):
    for number in range(3):
        put_order(f"111-{number}")
    head = audit.head()
    assert head is not None
    assert audit_chain_is_intact(database, audit, [Witness(head, database.now(), "a test")]).passed
    run(database, "alter table audit.entries disable trigger all")
    run(database, "delete from audit.entries where entry_id = :id", id=head.entry_id)
    assert audit_chain_is_intact(database, audit).passed
    assert not audit_chain_is_intact(database, audit, [Witness(head, database.now(), "a test")]).passed
    run(database, "update audit.entries set outcome = 'refused' where entry_id = 2")
    outcome = audit_chain_is_intact(database, audit)
    assert (outcome.passed, outcome.numbers["first_bad"]) == (False, 2)


def test_a_lock_of_the_audit_log_that_is_off_or_a_head_that_is_gone_are_found(database: Database, put_order: PutOrder):
    put_order("111-1")
    assert audit_log_is_retained(database).passed
    for statement in (
        "alter table audit.entries disable trigger no_delete",
        "alter table audit.entries enable trigger no_delete",
        "drop trigger check_anchor on audit.anchors",
    ):
        with database.engine.connect() as connection:
            connection.execute(text(statement))
            connection.commit()
        outcome = audit_log_is_retained(database)
        assert (outcome.passed, outcome.numbers["differences"] > 0) == (False, True)
    run(database, "alter table audit.entries disable trigger all")
    run(database, "delete from audit.entries where entry_id = 1")
    assert audit_log_is_retained(database).numbers["beginning_accounted_for"] is False


@pytest.mark.parametrize(
    ("changes", "environ", "in_clear"),
    [
        ({}, {}, 0),
        ({}, {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9324"}, 0),
        ({}, {"AWS_ENDPOINT_URL_SQS": "http://sqs.internal:9324"}, 1),
    ],
)
def test_an_endpoint_in_clear_is_named(
    database: Database, changes: dict[str, str], environ: dict[str, str], in_clear: int
):
    outcome = tls_on_every_endpoint(database, settings(**changes), environ)
    assert (outcome.passed, outcome.numbers["in_clear"]) == (in_clear == 0, in_clear)
    assert "sqs.internal" not in outcome.description


@pytest.mark.parametrize(
    ("url", "protected"),
    [
        ("postgresql+psycopg2://postgres:@/orders?host=%2Ftmp%2Fsocket", True),
        ("postgresql+psycopg2://me@localhost/orders", True),
        ("postgresql+psycopg2://me@db.internal/orders?sslmode=verify-full", True),
        ("postgresql+psycopg2://me@db.internal/orders?sslmode=prefer", False),
        ("postgresql+psycopg2://me@db.internal/orders", False),
    ],
)
def test_a_database_elsewhere_needs_tls_that_cannot_be_talked_out_of(url: str, protected: bool):
    assert is_encrypted(url, {}) is protected


@pytest.mark.parametrize(
    ("age_days", "passed", "severity", "warned"),
    [
        (0, True, "WARN", 0),
        (89, True, "WARN", 0),
        (91, True, "WARN", 90),
        (121, True, "WARN", 60),
        (151, False, "WARN", 30),
        (166, False, "WARN", 15),
        (174, False, "ERROR", 7),
        (179.5, False, "ERROR", 1),
        (181, False, "ERROR", 1),
    ],
)
def test_a_secret_that_grows_old_warns_at_amazons_days(
    database: Database, vault: Vault, age_days: float, passed: bool, severity: str, warned: int
):
    client_secret_is_young(database, vault, settings())
    run(
        database,
        "update pipeline.client_secrets set first_seen_at = clock_timestamp() - make_interval(secs => :age)",
        age=age_days * 86_400,
    )
    outcome = client_secret_is_young(database, vault, settings())
    assert (outcome.passed, outcome.severity, outcome.numbers["warned_at_days"]) == (passed, severity, warned)
    with database.begin() as connection:
        rows = str(connection.execute(text("select * from pipeline.client_secrets")).all())
    days = [int(key.rsplit(":", 1)[1]) for key in open_keys(database, SECRET_ENDS)]
    assert days == ([warned] if warned else [])
    assert "0123456789abcdef" not in rows + outcome.description
    # A new secret is another one, seen for the first time; the old one's warning is over.
    new = client_secret_is_young(database, vault, settings(AMAZON_LWA_CLIENT_SECRET="amzn1.oa2-cs.v1.fedcba98"))
    assert new.passed
    assert open_keys(database, SECRET_ENDS) == []


@pytest.mark.parametrize("noted_before", [True, False])
def test_amazons_word_about_the_end_of_a_secret_counts_more_than_our_reckoning(
    database: Database, vault: Vault, noted_before: bool
):
    if noted_before:
        client_secret_is_young(database, vault, settings())
    parked_id = "00000000-0000-0000-0000-000000000001"
    ends = (database.now() + timedelta(days=20)).isoformat()
    body = {
        "notificationVersion": "1.0",
        "notificationType": "APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY",
        "payload": {
            "applicationOAuthClientSecretExpiry": {
                "clientId": "amzn1.application-oa2-client.test",
                "clientSecretExpiryTime": ends,
                "clientSecretExpiryReason": "PERIODIC_ROTATION",
            }
        },
    }
    with database.transaction(SELLER) as tx:
        tx.execute(
            text(
                "insert into pipeline.parked_messages (parked_id, account_id, message_id, notification_type, reason, "
                "body_bytes, parked_at) values (:id, :seller, 'm', 'APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY', 'x', 1, "
                "clock_timestamp() - make_interval(hours => :hours))"
            ),
            # It may have come before the first check that notes the secret.
            {"id": parked_id, "seller": SELLER, "hours": 0 if noted_before else 10},
        )
        vault.store(
            tx, kind="parked_message", subject_id=parked_id,
            plaintext=json.dumps(body).encode(), expires_at=datetime.fromisoformat(ends))  # fmt: skip
    outcome = client_secret_is_young(database, vault, settings())
    assert (outcome.passed, outcome.numbers["from_amazon"], outcome.numbers["notices_read"]) == (False, True, 1)
    assert 19 < outcome.numbers["days_left"] < 20.1
    # Used up: the retention takes it.
    apply_retention(database, vault, None, account_id=SELLER)
    with database.begin() as connection:
        assert (
            connection.execute(text("select count(*) from vault.records where kind = 'parked_message'")).scalar() == 0
        )


HOLLOW = "create or replace function audit.{} returns trigger language plpgsql as $$ begin return {}; end $$"


@pytest.mark.parametrize(
    "statement",
    [
        "alter table audit.entries disable trigger no_update",
        "drop trigger no_delete on audit.entries",
        # It is there, it is on, and it does nothing.
        HOLLOW.format("refuse()", "new"),
        HOLLOW.format("refuse_young_or_unanchored()", "old"),
        HOLLOW.format("check_anchor()", "new"),
        (
            "create or replace function audit.purge_before(cutoff timestamptz, actor text default 'job:x', "
            "max_entries bigint default 1) returns bigint language sql as 'delete from audit.entries; select 1::bigint'"
        ),
        # Nothing is left of it at all.
        (
            "alter table audit.entries disable trigger all; delete from audit.entries; "
            "alter table audit.entries enable trigger all; alter table audit.entries enable always trigger no_update; "
            "alter table audit.entries enable always trigger no_delete; "
            "alter table audit.entries enable always trigger no_truncate"
        ),
    ],
)
def test_a_lock_that_is_gone_or_hollow_and_a_log_that_is_gone_are_found(
    database: Database, put_order: PutOrder, statement: str
):
    put_order("111-1")
    assert audit_log_is_retained(database).passed
    with database.begin() as connection:
        connection.exec_driver_sql(statement)
    assert not audit_log_is_retained(database).passed


def test_a_trigger_or_a_rule_that_is_not_ours_can_drop_entries_and_is_found(database: Database):
    assert audit_log_is_retained(database).passed
    run(database, "create function public.swallow() returns trigger language plpgsql as 'begin return null; end'")
    run(database, "create trigger aaa before insert on audit.entries for each row "
        "when (new.action = 'reveal') execute function public.swallow()")  # fmt: skip
    assert not audit_log_is_retained(database).passed
    run(database, "drop trigger aaa on audit.entries")
    run(database, "create rule aaa as on insert to audit.entries where new.action = 'reveal' do instead nothing")
    assert not audit_log_is_retained(database).passed


def test_a_second_reading_needs_an_entry_of_its_own(database: Database, vault: Vault, put_order: PutOrder):
    put_order("111-1", sent=True, stored=0)
    assert every_reading_is_audited(database, account_id=SELLER).passed
    # Ten days later the details are stored again, and sent again, past the pipeline.
    run(
        database,
        "update vault.records set stored_at = clock_timestamp() + interval '10 days' where subject_id = '111-1'",
    )
    run(database, "update pipeline.wms_orders set sent_at = clock_timestamp() + interval '10 days'")
    outcome = every_reading_is_audited(database, account_id=SELLER)
    assert (outcome.numbers["stored_without_call"], outcome.numbers["sent_without_reveal"]) == (1, 1)


def test_of_an_order_from_before_the_newest_sending_was_noted_any_reveal_counts(
    database: Database, put_order: PutOrder
):
    put_order("111-1", sent=True, stored=0)
    # Release 0001 noted the first attempt and the acceptance; where the warehouse was away, hours apart.
    run(
        database,
        "update pipeline.wms_orders set sent_at = null, first_attempt_at = first_attempt_at - interval '5 hours'",
    )
    assert every_reading_is_audited(database, account_id=SELLER).passed


def test_no_check_says_whose_data_it_looked_at(database: Database, vault: Vault, audit: AuditLog, put_order: PutOrder):
    put_order("111-1", status="CANCELLED", queue="cancelled", deliver_by=50, bought=60, sent=True)
    outcomes = [
        nothing_past_its_time(database, account_id=SELLER),
        every_record_opens(vault),
        every_reading_is_audited(database, account_id=SELLER),
        audit_chain_is_intact(database, audit),
        audit_log_is_retained(database),
        tls_on_every_endpoint(database, settings(), {}),
        client_secret_is_young(database, vault, settings()),
    ]
    told = " ".join(f"{outcome}" for outcome in outcomes)
    assert kept_ids(database) == {"111-1"}
    assert all(word not in told for word in (*NAME.split(), PHONE, "111-1", "Atzr|"))
    assert all(holds_numbers_only(outcome) and outcome.source and outcome.description for outcome in outcomes)


def test_an_audit_log_that_is_kept_past_its_24_months_is_red(database: Database, audit: AuditLog):
    write_days_ago(database, audit, 731 + 30, "111-1")
    assert audit_log_is_retained(database).numbers["past_24_months"] is False
    # The first becomes two days older.
    write_days_ago(database, audit, 2, "111-2")
    outcome = audit_log_is_retained(database)
    assert (outcome.passed, outcome.numbers["past_24_months"]) == (False, True)
