"""What operations staff find in the UI, in a real browser: the whole lineage, a red check, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.defs.policy import POLICIES
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.browser import chromium
from orders_pipeline_tests.web.deployment import running_up

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]

LATE = """insert into pipeline.orders (account_id, order_id, status, fulfilled_by, ship_by, fetched_at) values
('{}', '902-1845936-5435065', 'UNSHIPPED', 'MERCHANT', clock_timestamp() - interval '1 hour', clock_timestamp())
returning 1"""


@pytest.mark.slow(47)
def test_a_stranger_finds_the_whole_flow_and_what_to_do_about_a_red_check(tmp_path: Path):
    with Sandbox() as sandbox, chromium(tmp_path) as browser, running_up(sandbox, tmp_path) as up:
        groups = {policy.group for policy in POLICIES.values()}
        browser.open(f"{up.url}/asset-groups?expanded={','.join(f'global@global:{group}' for group in groups)}")
        # Names that are too long for a node are shortened in their middle.
        for name in (*groups, *(name for name in POLICIES if len(name) < 16)):
            browser.wait_for_text(name)

        up.query(LATE.format(sandbox.seller_id))
        browser.open(f"{up.url}/assets/shipment_confirmations?view=checks&checkDetail=shipped_in_time")
        browser.wait_for_text("No order is past its ship-by time unshipped.")
        browser.click_text("Execute", "button")
        browser.wait_for_text("Failed")
        browser.wait_for_text("Ask the warehouse; ship the order, or cancel it at Amazon.")
        browser.console()
        address = browser.run("return document.querySelector('a[href*=\"/docs/runbook.md\"]').href")
        assert address == f"{up.url}/docs/runbook.md#push"
        browser.open(address)
        browser.wait_for_text("order.refused")
        assert browser.run("return document.querySelector(':target').innerText") == "Push"
        assert browser.console() == []
