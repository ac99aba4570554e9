"""What `/metrics` tells is what the databases hold; what fails is told, and hides nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance
from sqlalchemy import Connection, text

from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment.rows import record_acceptance
from orders_pipeline.intake.queue import QueueDepth
from orders_pipeline.intake.queue_depth import note_queue_depth
from orders_pipeline.operations.metrics.family import NEW_WORDS, Family, Group, Sample
from orders_pipeline.operations.metrics.scrape import GROUPS, Scraper
from orders_pipeline.work.jobs import BACKFILLED, WAREHOUSE, Queue
from orders_pipeline.work.pauses import note_refusal, note_success, pause_until
from orders_pipeline.work.queue import enqueue
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.dagster_storage import leave_traces
from orders_pipeline_tests.deployed import deployed
from orders_pipeline_tests.world import World

Values = dict[tuple[str, ...], float]


@pytest.fixture
def scraper(database_url: str, dagster_url: str, tmp_path: Path) -> Iterator[Scraper]:
    opened = Scraper(deployed(database_url, tmp_path, DAGSTER_POSTGRES_URL=dagster_url).settings)
    yield opened
    opened.close()


def told(scraper: Scraper, *, without_account: bool = True) -> Values:
    """Each value by the metric's name without its prefix, and the labels without the only account."""
    found: Values = {}
    for sample in scraper.read():
        labels = tuple(label for label in sample.labels if label != SELLER or not without_account)
        key = (sample.family.name.removeprefix("orders_pipeline_"), *labels)
        assert key not in found, "two samples of one name and one set of labels are no metrics at all"
        found[key] = sample.value
    return found


def histogram(scraper: Scraper, name: str) -> tuple[float, float]:
    """How many, and how many of them within ten seconds."""
    (sample,) = [one for one in scraper.read() if one.family.name == f"orders_pipeline_{name}_seconds"]
    buckets = dict(sample.buckets)
    assert list(buckets.values()) == sorted(buckets.values())
    return buckets["+Inf"], buckets["10.0"]


def test_the_life_of_an_order_is_seen_step_by_step(world: World, scraper: Scraper):
    order_id = world.order()
    world.drain()
    before = told(scraper)
    assert before["order_events_pending",] == 1
    world.sync()
    seen = told(scraper)
    assert seen["orders", "UNSHIPPED", "MERCHANT"] == 1
    assert 0 <= seen["orders_oldest_age_seconds", "UNSHIPPED", "MERCHANT"] < 60
    assert (seen["fulfillment_orders", "accepted"], seen["order_events_pending",]) == (1, 0)
    assert histogram(scraper, "message_to_accepted")[0] == 1
    world.ship(order_id)
    world.poll()
    assert told(scraper)["packages", "pending"] == 1
    world.confirm()
    assert told(scraper)["packages", "accepted"] == 1
    assert histogram(scraper, "shipped_to_confirmed")[0] == 1
    assert histogram(scraper, "confirmed_to_verified")[0] == 0
    world.run_until_idle()
    seen = told(scraper)
    assert ("orders", "SHIPPED", "MERCHANT") not in seen, "what is over is not counted: it is all that there ever was"
    assert seen["packages", "accepted"] == 0
    for name in ("message_to_accepted", "shipped_to_confirmed", "confirmed_to_verified"):
        assert histogram(scraper, name)[0] == 1, name


def test_an_order_counts_once_and_a_purge_takes_nothing_back(world: World, scraper: Scraper):
    order_id = world.accepted()
    with world.database.transaction(SELLER) as tx:
        # The warehouse accepts it once more, as after a change of its content.
        record_acceptance(tx, order_id=order_id, answer="accepted")
    assert histogram(scraper, "message_to_accepted")[0] == 1
    for table in ("order_events", "wms_orders", "fulfillment_orders", "orders"):
        world.sql(f"delete from pipeline.{table}")
    assert histogram(scraper, "message_to_accepted")[0] == 1


def test_orders_that_are_late_and_orders_that_wait_are_counted_with_their_reason(world: World, scraper: Scraper):
    world.accepted()
    world.sql("update pipeline.orders set ship_by = clock_timestamp() - interval '1 minute'")
    waiting = world.order(hear=False)
    world.amazon.request_cancellation(waiting)
    world.hear()
    world.sync()
    # Of a marketplace that is not configured: nobody here ships it.
    elsewhere = world.accepted()
    world.sql(
        "update pipeline.orders set ship_by = clock_timestamp() - interval '1 minute', other_marketplace = true "
        "where order_id = :order_id",
        order_id=elsewhere,
    )
    seen = told(scraper)
    assert seen["orders_past_ship_by",] == 1
    assert seen["fulfillment_orders", "held"] == 1, world.state(waiting)
    assert seen["orders_held", "buyer_asks_to_cancel"] == 1


def test_work_its_pauses_the_queue_and_alerts_are_told(world: World, scraper: Scraper):
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, Queue.PUSH, ["115-1", "115-2"])
        enqueue(tx, Queue.DELIVERY, ["115-3"], due_in=world.database.now() - world.database.now())
        pause_until(tx, WAREHOUSE, world.database.now().replace(year=2100), "it is away")
        note_queue_depth(tx, QueueDepth(visible=7, in_flight=2, delayed=1))
    world.sql("update pipeline.jobs set due_at = clock_timestamp() - interval '1 hour' where subject = '115-1'")
    world.sql("update pipeline.jobs set parked_at = clock_timestamp() where subject = '115-3'")
    world.sql(
        "insert into pipeline.alerts (account_id, key, severity, message, what_to_do) values "
        "(:seller, 'amazon.role:shipping_address', 'error', '-', '-'), (:seller, 'work.parked:115-3', 'warning', '-', "
        "'-'), (:seller, 'gone.kind:1', 'error', '-', '-')",
        seller=SELLER,
    )
    world.sql(
        "insert into pipeline.alert_channels (channel, failing_since) "
        "values ('slack', clock_timestamp() - interval '1 hour'), ('email', null), ('somebody''s', null)"
    )
    seen = told(scraper)
    assert 3600 <= seen["alert_channel_failing_seconds", "slack"] < 3660
    assert {key[1] for key in seen if key[0] == "alert_channel_failing_seconds"} == {"slack", "email"}
    assert (seen["jobs", "push", "due"], seen["jobs", "delivery", "parked"]) == (2, 1)
    assert 3600 <= seen["jobs_oldest_due_age_seconds", "push"] < 3660
    assert seen["jobs_oldest_due_age_seconds", "fetch"] == 0
    assert seen["dependency_paused", "warehouse", "limit"] == 1
    assert seen["notification_queue_messages", "visible"] == 7
    assert seen["notification_queue_measured_age_seconds",] < 60
    assert seen["alerts_open", "amazon.role:shipping_address", "error"] == 1
    assert seen["alerts_open", "work.parked", "warning"] == 1
    assert seen["alerts_open", "other", "error"] == 1, "a kind of another release"


def test_a_dependency_that_refuses_is_paused_until_it_answers_also_between_two_tries(world: World, scraper: Scraper):
    with world.database.transaction(SELLER) as tx:
        note_refusal(tx, WAREHOUSE, None, "it is away")
        pause_until(tx, "amazon", world.database.now(), "its quota is spent")
    world.sql("update pipeline.paused_dependencies set until = clock_timestamp() - interval '1 second'")
    seen = told(scraper)
    assert seen["dependency_paused", "warehouse", "refusal"] == 1
    assert seen["dependency_paused", "amazon", "limit"] == 0
    with world.database.transaction(SELLER) as tx:
        note_success(tx, WAREHOUSE)
    assert ("dependency_paused", "warehouse", "refusal") not in told(scraper)


def test_work_of_a_backfill_may_wait_and_is_counted_all_the_same(world: World, scraper: Scraper):
    with world.database.transaction(SELLER) as tx:
        enqueue(tx, Queue.FETCH, ["115-1"], priority=BACKFILLED)
        enqueue(tx, Queue.FETCH, ["115-2"])
    world.sql("update pipeline.jobs set due_at = clock_timestamp() - interval '9 hours' where subject = '115-1'")
    seen = told(scraper)
    assert seen["jobs", "fetch", "due"] == 2
    assert seen["jobs_oldest_due_age_seconds", "fetch"] < 60


def test_words_of_amazons_that_we_do_not_know_are_bounded_and_none_is_lost(world: World, scraper: Scraper):
    for number in range(NEW_WORDS + 5):
        order_id = world.order()
        world.sync()
        world.sql(
            "update pipeline.orders set status = :word where order_id = :order_id",
            word=f"New status {number:02}",
            order_id=order_id,
        )
    counted = {key[1]: value for key, value in told(scraper).items() if key[0] == "orders"}
    assert counted == {**{f"New status {number:02}": 1 for number in range(NEW_WORDS)}, "other": 5}


def test_no_buyer_order_or_text_of_others_is_in_any_label(world: World, scraper: Scraper):
    order_id = world.accepted()
    world.ship(order_id, carrier="Bluefin Couriers", tracking="TRACK-77")
    world.confirm_and_verify()
    words = {word for sample in scraper.read() for word in sample.labels}
    text = "\n".join(sorted(words)).lower()
    for other in (order_id, "canary", "bluefin", "track-77", "sku-"):
        assert other.lower() not in text


def test_buyers_data_is_counted_by_age_and_is_still_told_to_who_may_not_read_it(world: World, scraper: Scraper):
    world.accepted()
    seen = told(scraper)
    assert seen["personal_data_records", "up_to_7_days"] == 1
    assert seen["personal_data_records", "older"] == 0
    world.sql("update vault.records set first_stored_at = clock_timestamp() - interval '61 days'")
    assert told(scraper)["personal_data_records", "older"] == 0, "it is read at most every five minutes"


def test_dagsters_runs_heartbeats_and_ticks_are_told(instance: DagsterInstance, scraper: Scraper):
    leave_traces(instance, sensor="deliver_alerts_sensor", failed_ticks=2)
    seen = told(scraper)
    assert seen["daemon_heartbeat_age_seconds", "SENSOR"] < 60
    assert seen["ticks_failed_last_hour", "deliver_alerts_sensor"] == 2
    assert seen["runs", "NOT_STARTED"] == 1
    assert seen["runs_oldest_queued_age_seconds",] == 0
    assert {key[1] for key in seen if key[0] == "runs_ended_last_hour"} == {"SUCCESS", "FAILURE", "CANCELED"}


# --- what fails


def _failing(connection: Connection, _account_ids: object) -> Iterator[Sample]:
    connection.execute(text("select 1 / 0"))
    yield from ()


def _defect(_connection: Connection, _account_ids: object) -> Iterator[Sample]:
    raise KeyError("a buyer's name")


BROKEN = Family("orders_pipeline_broken", "gauge", "-")


@pytest.mark.parametrize("read", [_failing, _defect])
def test_a_group_that_fails_is_a_metric_and_hides_no_other(
    world: World, database_url: str, dagster_url: str, tmp_path: Path, read: Callable[..., Iterator[Sample]]
):
    world.accepted()
    settings = deployed(database_url, tmp_path, DAGSTER_POSTGRES_URL=dagster_url).settings
    scraper = Scraper(settings, groups=(Group("broken", (BROKEN,), read), *GROUPS))
    for times in (1, 2):
        seen = told(scraper)
        assert (seen["scrape_group_read", "broken"], seen["scrape_errors_total", "broken"]) == (0, times)
        assert [seen["scrape_group_read", group.name] for group in GROUPS] == [1] * len(GROUPS)
        assert seen["orders", "UNSHIPPED", "MERCHANT"] == 1
        assert (seen["up", "orders"], seen["up", "dagster"]) == (1, 1)
    scraper.close()


def test_a_database_that_is_away_is_told_at_once_and_the_other_is_read(database_url: str, tmp_path: Path):
    nobody = "postgresql+psycopg2://nobody@127.0.0.1:9/dagster"
    scraper = Scraper(deployed(database_url, tmp_path, DAGSTER_POSTGRES_URL=nobody).settings)
    began = time.monotonic()
    seen = told(scraper)
    assert time.monotonic() - began < 5
    assert (seen["up", "orders"], seen["up", "dagster"], seen["scrape_group_read", "dagster"]) == (1, 0, 0)
    assert seen["order_events_pending",] == 0
    scraper.close()


def test_a_table_that_somebody_locked_costs_its_group_two_seconds(
    database: Database, database_url: str, dagster_url: str, tmp_path: Path
):
    scraper = Scraper(deployed(database_url, tmp_path, DAGSTER_POSTGRES_URL=dagster_url).settings)
    with database.begin() as connection:
        connection.execute(text("lock table pipeline.jobs in access exclusive mode"))
        began = time.monotonic()
        seen = told(scraper)
        assert time.monotonic() - began < 5
    assert (seen["scrape_group_read", "work"], seen["scrape_group_read", "orders"]) == (0, 1)
    assert told(scraper)["scrape_group_read", "work"] == 1
    scraper.close()
