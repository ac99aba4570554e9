"""Whatever times are stored, and whatever the clock did: no buyer's data is kept for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.channels.amazon.timing import AmazonClock, Timing
from orders_pipeline.database.clocks import retention_now
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.alerts import CLOCK_WRONG
from orders_pipeline.privacy.checks.checks import every_reading_is_audited, nothing_past_its_time
from orders_pipeline.privacy.retention.clock import RETAINED_AT_MOST
from orders_pipeline.privacy.retention.database_clock import (
    amazon_time_observer,
    clocks_are_believable,
)
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.vault.access import Vault
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.privacy.checks.test_checks import run
from orders_pipeline_tests.privacy.conftest import PutOrder, WarehouseInMemory, kept_ids

# PostgreSQL's own end of time: no arithmetic and no Python date survives it.
FAR = "timestamptz 'infinity'"
EVERY_TIME = (
    f"update vault.records set stored_at = {FAR}, first_stored_at = {FAR}, expires_at = {FAR}; "
    f"update pipeline.orders set first_seen_at = {FAR}, purchased_at = {FAR}, ship_by = {FAR}, deliver_by = {FAR}, "
    f"delivered_at = {FAR}, seen_on_its_way_at = {FAR}; "
    f"update pipeline.fulfillment_orders set changed_at = {FAR}; "
    f"update pipeline.shipment_confirmations set shipped_at = {FAR}, reported_at = {FAR}; "
    f"update pipeline.wms_orders set first_attempt_at = {FAR}, sent_at = {FAR}, accepted_at = {FAR}, erased_at = {FAR}"
    "; insert into pipeline.jobs (account_id, queue, subject, due_at, lease_id, leased_until) "
    f"values ('{SELLER}', 'erase', '3-accepted', {FAR}, gen_random_uuid(), {FAR})"
)


def later(database: Database, days: float) -> None:
    """So many days go by: what is stored as past moves back; what is still to come does too."""
    age = f"- make_interval(secs => {days * 86_400})"
    run(database, f"update vault.records set stored_at = stored_at {age}, first_stored_at = first_stored_at {age}")
    run(database, f"update pipeline.orders set first_seen_at = first_seen_at {age}, purchased_at = purchased_at {age}, "
        f"ship_by = ship_by {age}, deliver_by = deliver_by {age}, delivered_at = delivered_at {age}")  # fmt: skip
    run(database, f"update pipeline.shipment_confirmations set shipped_at = shipped_at {age}, "
        f"reported_at = reported_at {age}")  # fmt: skip
    columns = ("first_attempt_at", "sent_at", "accepted_at", "erase_requested_at")
    run(database, f"update pipeline.wms_orders set {', '.join(f'{name} = {name} {age}' for name in columns)}")
    run(database, f"update pipeline.jobs set due_at = due_at {age}")


def everything(put_order: PutOrder) -> None:
    put_order("1-queued", queue="queued", deliver_by=-3)
    put_order("2-held", queue="held", deliver_by=-3)
    put_order("3-accepted", queue="accepted", sent=True, deliver_by=-3)
    put_order("4-closed", status="SHIPPED", queue="closed", package="confirmed", left=1, deliver_by=-3, sent=True)
    put_order("5-open", status="SHIPPED", queue="closed", package="accepted", left=1, deliver_by=-3, sent=True)
    put_order("6-by-hand", status="SHIPPED", queue=None, deliver_by=-3)


def test_times_that_are_still_to_come_make_nothing_immortal_and_are_red(
    database: Database, vault: Vault, warehouse: WarehouseInMemory, put_order: PutOrder
):
    everything(put_order)
    assert clocks_are_believable(database).passed
    with database.begin() as connection:
        connection.exec_driver_sql(EVERY_TIME)
    outcome = clocks_are_believable(database)
    assert (outcome.passed, outcome.severity) == (False, "ERROR")
    assert outcome.numbers["future_times"] > 20
    # The retention puts each in its place, which is accounted for, and stays red for the day.
    apply_retention(database, vault, warehouse, account_id=SELLER)
    outcome = clocks_are_believable(database)
    assert (outcome.passed, outcome.numbers["future_times"]) == (False, 0)
    assert outcome.numbers["mended_in_the_last_day"] > 20
    later(database, RETAINED_AT_MOST / timedelta(days=1))
    apply_retention(database, vault, warehouse, account_id=SELLER)
    assert kept_ids(database) == set()
    assert sorted(warehouse.erased) == ["3-accepted", "4-closed", "5-open"]
    assert nothing_past_its_time(database, account_id=SELLER).passed


def test_a_record_that_says_it_was_stored_in_thirty_years_goes_by_its_order(
    database: Database, vault: Vault, put_order: PutOrder
):
    put_order("111-1", status="CANCELLED", queue="cancelled")
    run(database, f"update vault.records set stored_at = {FAR}, first_stored_at = {FAR}")
    apply_retention(database, vault, None, account_id=SELLER)
    assert kept_ids(database) == set()


@pytest.mark.parametrize("expires", [FAR, "null"])
def test_a_parked_message_goes_two_weeks_after_it_was_stored_whatever_it_says(
    database: Database, vault: Vault, expires: str
):
    with database.transaction(SELLER) as tx:
        vault.store(tx, kind="parked_message", subject_id="1", plaintext=b"x",
                    expires_at=None)  # fmt: skip
    run(database, f"update vault.records set expires_at = {expires}")
    apply_retention(database, vault, None, account_id=SELLER)
    count = "select count(*) from vault.records where kind = 'parked_message'"
    with database.begin() as connection:
        assert connection.execute(text(count)).scalar_one() == 1
    later(database, 14.1)
    apply_retention(database, vault, None, account_id=SELLER)
    with database.begin() as connection:
        assert connection.execute(text(count)).scalar_one() == 0


def told(database: Database, offset: timedelta) -> None:
    """One answer of Amazon's, whose Date is so far from the database's clock."""
    clock = AmazonClock(Timing(), observer=amazon_time_observer(database, every_seconds=0))
    clock.learn(format_datetime((datetime.now(UTC) + offset).replace(microsecond=0), usegmt=True))


@pytest.mark.parametrize("offset", [timedelta(minutes=-7), timedelta(minutes=7)])
def test_a_clock_that_is_minutes_from_amazons_is_an_alert_until_it_is_right(database: Database, offset: timedelta):
    def alerts() -> list[str]:
        evaluate(database, NOBODY, [CLOCK_WRONG])
        with database.transaction(NOBODY) as tx:
            return [alert.message for alert in open_alerts(tx)]

    assert alerts() == []
    told(database, timedelta(seconds=-20))
    assert alerts() == []
    told(database, offset)
    direction = "ahead of" if offset < timedelta() else "behind"
    assert alerts() == [f"The database's clock is 7 minutes {direction} Amazon's."]
    assert not clocks_are_believable(database).passed
    told(database, timedelta(seconds=1))
    assert alerts() == []
    assert clocks_are_believable(database).passed


def test_a_clock_set_back_retains_nothing_past_amazons_date(database: Database, vault: Vault, put_order: PutOrder):
    put_order("111-1", status="SHIPPED", queue="closed", package="accepted", left=1, deliver_by=-2)
    # Seen from a clock that was set back by 40 days, this is what Amazon tells, now and an hour later.
    told(database, timedelta(days=40))
    run(database, "update pipeline.clock_readings set ahead_since = ahead_since - interval '61 minutes'")
    told(database, timedelta(days=40))
    with database.begin() as connection:
        assert retention_now(connection) > database.now() + timedelta(days=39)
    assert nothing_past_its_time(database, account_id=SELLER).numbers["past_hard_limit"] == 1
    apply_retention(database, vault, None, account_id=SELLER)
    assert kept_ids(database) == set()


def test_one_answer_with_a_date_years_ahead_destroys_nothing(database: Database, vault: Vault, put_order: PutOrder):
    put_order("111-1", queue="queued", deliver_by=-5)
    told(database, timedelta(days=4000))
    apply_retention(database, vault, None, account_id=SELLER)
    assert kept_ids(database) == {"111-1"}
    # Also when it was the last one for hours: nobody has confirmed it.
    run(database, "update pipeline.clock_readings set ahead_since = ahead_since - interval '5 hours', "
                  "read_at = read_at - interval '5 hours'")  # fmt: skip
    apply_retention(database, vault, None, account_id=SELLER)
    assert kept_ids(database) == {"111-1"}


def test_a_clock_that_was_ahead_for_a_while_leaves_no_order_to_be_destroyed_early(
    database: Database, vault: Vault, put_order: PutOrder
):
    put_order("111-1", queue="queued", deliver_by=-5)
    told(database, timedelta(days=400))
    told(database, timedelta())
    apply_retention(database, vault, None, account_id=SELLER)
    assert kept_ids(database) == {"111-1"}


def test_no_answer_of_amazons_is_lost_because_the_database_is_away(database_url: str, caplog: Any):
    away = Database(database_url.replace("test_", "gone_"))
    clock = AmazonClock(Timing(), observer=amazon_time_observer(away, every_seconds=0))
    clock.learn(format_datetime(datetime.now(UTC).replace(microsecond=0), usegmt=True))
    assert clock.known
    assert "was not noted" in caplog.text
    away.close()


def test_a_time_that_was_mended_accuses_nobody_of_a_reading_without_an_entry(
    database: Database, vault: Vault, put_order: PutOrder
):
    put_order("111-1", queue="accepted", deliver_by=-5, sent=True, stored=0)
    # The clock was a day ahead while the order was stored and sent: its entries are from then, its times are mended.
    ahead = "clock_timestamp() + interval '1 day'"
    run(database, f"update vault.records set stored_at = {ahead}, first_stored_at = {ahead}")
    run(database, f"update pipeline.wms_orders set sent_at = {ahead}, first_attempt_at = {ahead}")
    run(database, "alter table audit.entries disable trigger no_update")
    run(database, f"update audit.entries set at = {ahead} where order_id = '111-1'")
    run(database, "alter table audit.entries enable always trigger no_update")
    apply_retention(database, vault, None, account_id=SELLER)
    assert every_reading_is_audited(database, account_id=SELLER).passed
    # Without any entry it is red all the same.
    run(database, "update pipeline.wms_orders set order_id = '111-2'")
    assert every_reading_is_audited(database, account_id=SELLER).numbers["sent_without_reveal"] == 1
