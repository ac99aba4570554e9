"""Evidence that can be forged, dropped or put back in place is found out."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.channels.amazon.audit import AuditSink
from orders_pipeline.channels.amazon.auth.restricted_calls import restricted_call
from orders_pipeline.channels.amazon.errors import AmazonUnavailable
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER
from orders_pipeline.database.engine import Database
from orders_pipeline.orders.erasures import insert_erasure
from orders_pipeline.privacy.checks.checks import (
    client_secret_is_young,
    erased_within_the_day,
    every_reading_is_audited,
)
from orders_pipeline.privacy.retention.retained import sellers_with_data
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.vault.access import Vault
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.privacy.checks.test_checks import run, settings
from orders_pipeline_tests.privacy.conftest import KIND, PutOrder, WarehouseInMemory

FORMER = "AFORMERSELLER1"


class Sink(AuditSink):
    """The pipeline's own way from a call to the audit log."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def record(self, action: str, order_id: str | None, purpose: str, outcome: str, detail: Any) -> None:
        self._audit.record(
            None, action=action, account_id=SELLER, order_id=order_id, purpose=purpose, outcome=outcome,
            actor="job:test", detail=detail,
        )  # fmt: skip


def refuse() -> None:
    raise AmazonUnavailable("Amazon did not answer", operation="getOrder", status=503)


def test_only_a_successful_call_is_evidence_of_a_reading(
    database: Database, vault: Vault, audit: AuditLog, put_order: PutOrder
):
    with pytest.raises(AmazonUnavailable):
        restricted_call(Sink(audit), GET_ORDER, "111-1", refuse)
    put_order("111-1", audited=False, stored=0)
    assert every_reading_is_audited(database, account_id=SELLER).numbers["stored_without_call"] == 1
    restricted_call(Sink(audit), GET_ORDER, "111-1", lambda: None)
    with pytest.raises(AmazonUnavailable):
        restricted_call(Sink(audit), GET_ORDER, "111-1", refuse)
    run(database, "update vault.records set stored_at = clock_timestamp() where kind = :kind", kind=KIND)
    assert every_reading_is_audited(database, account_id=SELLER).passed


def test_a_reveal_that_was_refused_is_no_evidence_of_what_was_sent(
    database: Database, vault: Vault, audit: AuditLog, put_order: PutOrder
):
    put_order("111-1", sent=True, stored=0, audited=False)
    common: dict[str, Any] = {"account_id": SELLER, "order_id": "111-1", "actor": "job:test", "purpose": "push"}
    audit.record(None, action="amazon_restricted_call", outcome="requested", **common)
    audit.record(None, action="reveal", outcome="allowed", **common)
    audit.record(None, action="reveal", outcome="refused_integrity", **common)
    run(database, "update vault.records set stored_at = clock_timestamp() where kind = :kind", kind=KIND)
    run(database, "update pipeline.wms_orders set sent_at = clock_timestamp()")
    assert every_reading_is_audited(database, account_id=SELLER).as_metadata() == {
        "stored": 1, "stored_without_call": 0, "sent": 1, "sent_without_reveal": 1, "sent_without_hash": 0,
    }  # fmt: skip
    audit.record(None, action="reveal", outcome="allowed", **common)
    run(database, "update pipeline.wms_orders set sent_at = clock_timestamp()")
    assert every_reading_is_audited(database, account_id=SELLER).passed


@pytest.mark.parametrize("nulled", ["content_hash = null", "content_hash = null, sent_at = null"])
def test_a_sending_whose_content_hash_is_gone_is_red(
    database: Database, vault: Vault, put_order: PutOrder, nulled: str
):
    put_order("111-1", sent=True, stored=0)
    assert every_reading_is_audited(database, account_id=SELLER).passed
    run(database, f"update pipeline.wms_orders set {nulled}")
    outcome = every_reading_is_audited(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["sent_without_hash"]) == (False, 1)


def test_an_erasure_of_a_removed_seller_is_carried_out(database: Database, vault: Vault, warehouse: WarehouseInMemory):
    # Nothing but the request is left of it: neither order, nor details, nor a copy at the warehouse.
    with database.transaction(FORMER) as tx:
        insert_erasure(tx, None)
        tx.execute(text("update pipeline.erasures set requested_at = clock_timestamp() - interval '2 days'"))
    outcome = erased_within_the_day(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["open"], outcome.numbers["overdue"]) == (False, 1, 1)
    for seller in sellers_with_data(database, SELLER):
        apply_retention(database, vault, warehouse, account_id=seller)
    outcome = erased_within_the_day(database, account_id=SELLER)
    assert (outcome.passed, outcome.numbers["open"]) == (True, 0)


def park_notice(database: Database, vault: Vault, ends_in: timedelta) -> None:
    """What anybody who can write to the queue can make us park."""
    parked_id = "00000000-0000-0000-0000-000000000001"
    notice = {"clientId": "amzn1.application-oa2-client.test",
              "clientSecretExpiryTime": (database.now() + ends_in).isoformat()}  # fmt: skip
    with database.transaction(SELLER) as tx:
        tx.execute(
            text(
                "insert into pipeline.parked_messages (parked_id, account_id, message_id, notification_type, reason, "
                "body_bytes) values (:id, :seller, 'm', 'APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY', 'x', 1)"
            ),
            {"id": parked_id, "seller": SELLER},
        )
        vault.store(
            tx, kind="parked_message", subject_id=parked_id,
            plaintext=json.dumps({"payload": {"applicationOAuthClientSecretExpiry": notice}}).encode(),
            expires_at=None)  # fmt: skip


def test_a_forged_notice_cannot_put_the_end_of_the_client_secret_off(database: Database, vault: Vault):
    client_secret_is_young(database, vault, settings())
    run(database, "update pipeline.client_secrets set first_seen_at = clock_timestamp() - interval '160 days'")
    park_notice(database, vault, timedelta(days=3000))
    outcome = client_secret_is_young(database, vault, settings())
    assert (outcome.passed, outcome.numbers["from_amazon"]) == (False, False)
    assert 19 < outcome.numbers["days_left"] <= 20
    # Nor does a first sight that is still to come.
    run(database, "update pipeline.client_secrets set first_seen_at = clock_timestamp() + interval '900 days'")
    assert client_secret_is_young(database, vault, settings()).numbers["days_left"] <= 180
