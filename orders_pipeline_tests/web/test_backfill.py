"""A backfill through the web port of a real deployment: killed between two pages, brought back, and true throughout."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.browser import chromium
from orders_pipeline_tests.web.deployment import Up, ask, running_up, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]

DAYS = [(datetime.now(UTC) - timedelta(days=ago)).date() for ago in (5, 4, 3)]
ORDERS, PAGES = 750, 8
# WebDriver's names of keys: Control with A, all keys up; Return.
SELECT_ALL, ENTER = "\ue009a\ue000", "\ue007"
LAUNCH = """mutation($days: [String!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: [{path: ["order_events"]}], partitionNames: $days}) {
    __typename ... on LaunchBackfillSuccess { backfillId } } }"""
BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id } } } }"
BACKFILL = (
    """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
)
GREEN = """{ assetNodeOrError(assetKey: {path: ["order_events"]}) { ... on AssetNode {
  assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }"""
RUNS = """query($id: String!) { runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
  ... on Runs { results { runId status } } } }"""
# Two and a half tokens above what a backfill leaves to others.
BUCKET = """insert into pipeline.amazon_rate_limits (application_id, seller_id, region, operation, rate, burst, tokens)
  values ('{AMAZON_LWA_CLIENT_ID}', '{AMAZON_SELLER_ID}', '{AMAZON_REGION}', 'searchOrders', 0.168, 20, 7.5)
  returning 1"""
FILL = "update pipeline.amazon_rate_limits set tokens = {}, refilled_at = clock_timestamp() returning 1"


@pytest.mark.slow(136)
def test_a_killed_backfill_goes_on_where_it_was_and_a_live_order_does_not_wait_for_it(tmp_path: Path):
    # A page in six seconds, as both sides see it.
    with Sandbox(time_scale=30, amazon=AmazonOptions(listing_delay_seconds=0)) as sandbox:
        _past_orders(sandbox)
        with running_up(sandbox, tmp_path) as up:
            up.query(BUCKET.format(**sandbox.environment()))
            _pick_days_and_launch(up, tmp_path)
            (backfill,) = wait_until(lambda: _backfills(up), up)
            wait_until(lambda: _pages(up) >= 3, up)
            # No page for an hour: whatever happens from here on happens between two pages.
            up.query(FILL.format(-1_000))
            live = sandbox.add_order(status="UNSHIPPED")
            wait_until(lambda: live.order_id in sandbox.warehouse.orders, up)
            assert (_status(up, backfill), _green(up)) == ("REQUESTED", [])
            read = _pages(up)
            assert read < PAGES
            assert _searches(sandbox) == read

            (run,) = _runs(up, backfill)
            (worker,) = up.query(f"select process from pipeline.run_workers where run_id = '{run['runId']}'")
            os.kill(int(worker.process.split()[0]), signal.SIGKILL)
            up.query(FILL.format(19))
            wait_until(lambda: _status(up, backfill) not in ("REQUESTED", None), up)
            assert _status(up, backfill) == "COMPLETED_SUCCESS"
            assert sorted(one["status"] for one in _runs(up, backfill)) == ["FAILURE", "SUCCESS"]
            assert _searches(sandbox) == PAGES, "no page is asked for twice"
            assert _green(up) == [(DAYS[0].isoformat(), DAYS[-1].isoformat())]
            assert up.query("select count(*) from pipeline.orders")[0][0] == ORDERS + 1


def _pick_days_and_launch(up: Up, folder: Path) -> None:
    """As a person does, in a browser; where there is none, as the page would."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        ask(up.url, LAUNCH, days=[day.isoformat() for day in DAYS])
        return
    with chromium(folder) as browser:
        browser.open(f"{up.url}/assets/order_events?view=partitions")
        browser.wait_for_text("No partition selected")
        browser.click_text("Materialize…", "button")
        browser.wait_for_text("Launch backfill")
        browser.click_text("Custom")
        days = f"[{DAYS[0]}...{DAYS[-1]}]"
        browser.type_into("[role=dialog] input[type=text]", f"{SELECT_ALL}{days}{ENTER}")
        browser.wait_for_text(f"{len(DAYS)} partitions")
        browser.click_text("Launch backfill", "button")
        browser.wait_for(lambda: _backfills(up), "the backfill")


def _backfills(up: Up) -> list[str]:
    return [one["id"] for one in ask(up.url, BACKFILLS)["partitionBackfillsOrError"]["results"]]


def _past_orders(sandbox: Sandbox) -> None:
    for number in range(ORDERS):
        order = sandbox.add_order(status="SHIPPED", notify=False)
        order.last_updated = datetime.combine(DAYS[number % len(DAYS)], time(12), UTC) + timedelta(seconds=number)
        order.created = order.last_updated - timedelta(hours=1)


def _pages(up: Up) -> int:
    return int(up.query("select coalesce(sum(pages), 0) from pipeline.search_windows where purpose = 'backfill'")[0][0])


def _searches(sandbox: Sandbox) -> int:
    return sandbox.amazon.ledger.requests["searchOrders"]


def _status(up: Up, backfill: str) -> str | None:
    return ask(up.url, BACKFILL, id=backfill)["partitionBackfillOrError"].get("status")


def _runs(up: Up, backfill: str) -> list[dict[str, Any]]:
    return list(ask(up.url, RUNS, id=backfill)["runsOrError"]["results"])


def _green(up: Up) -> list[tuple[str, str]]:
    ranges = ask(up.url, GREEN)["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    return [(one["startKey"], one["endKey"]) for one in ranges if one["status"] == "MATERIALIZED"]
