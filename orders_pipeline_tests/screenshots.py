"""The pictures of the README and the docs, taken from a running system: `make screenshots`.

A sandbox and `orders-pipeline up` are started as `make dev` starts them. A small day of orders goes through; one order
is then made late and one entry of the audit log is rewritten, so that there is something red to see.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from orders_pipeline.defs.policy import POLICIES
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline_tests.browser import Browser, chromium
from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.web.deployment import Up, ask, running_up, wait_until

IMAGES = ROOT / "docs" / "images"
ORDERS = 24
LARGEST_BYTES = 200_000
# What a page loads after its text is there: plots, icons, the layout of the graph.
SETTLED_SECONDS = 2.5
LAUNCH = """mutation($job: String!, $assets: [AssetKeyInput!], $checks: [AssetCheckHandleInput!]) {
  launchRun(executionParams: {mode: "default", selector: {repositoryLocationName: "orders_pipeline",
  repositoryName: "__repository__", jobName: $job, assetSelection: $assets, assetCheckSelection: $checks}}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LATE = """update pipeline.orders set ship_by = clock_timestamp() - interval '70 minutes', status = 'UNSHIPPED'
where order_id = (select order_id from pipeline.orders where fulfilled_by = 'MERCHANT' limit 1) returning 1"""
REWRITTEN = """alter table audit.entries disable trigger all;
update audit.entries set purpose = 'another' where entry_id = 12 returning 1"""
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
# Fewer colours: a third of the bytes, and no difference that a reader sees.
REDUCE = """const data = arguments[0]; return new Promise(done => { const image = new Image(); image.onload = () => {
const canvas = new OffscreenCanvas(image.width, image.height); const flat = canvas.getContext('2d');
flat.drawImage(image, 0, 0); const pixels = flat.getImageData(0, 0, image.width, image.height);
const all = pixels.data;
for (let at = 0; at < all.length; at += 1) if (at % 4 < 3) all[at] = Math.min(255, Math.round(all[at] / 17) * 17);
flat.putImageData(pixels, 0, 0); canvas.convertToBlob({type: 'image/png'}).then(blob => {
const reader = new FileReader(); reader.onload = () => done(reader.result.split(',')[1]);
reader.readAsDataURL(blob); }); }; image.src = 'data:image/png;base64,' + data; });"""


@dataclass(frozen=True)
class Picture:
    """A page of the UI: the text that shows it is there, and what is done before it is taken."""

    name: str
    path: str
    text: str
    prepare: Callable[[Browser], None] = lambda _: None


def _backfill_dialog(browser: Browser) -> None:
    browser.click_text("Materialize…", "button")
    browser.wait_for_text("Launch backfill")


def _plots(browser: Browser) -> None:
    browser.click_text("Plots", "button")
    browser.wait_for_text("fulfillment_accepted")


def _audit_check(name: str) -> str:
    return f"/assets/pii_access_log?view=checks&checkDetail={name}"


# As the UI names them, to be opened.
GROUPS = dict.fromkeys(f"global@global:{policy.group}" for policy in POLICIES.values())
PICTURES = [
    Picture("lineage", f"/asset-groups?expanded={','.join(GROUPS)}", "Reload definitions"),
    Picture("asset_intake", "/assets/order_notifications?view=overview", "Amazon's queues"),
    Picture("asset_orders", "/assets/shipping_details?view=overview", "AES-256-GCM"),
    Picture("asset_fulfillment", "/assets/wms_orders?view=overview", "What the warehouse accepted"),
    Picture("asset_shipments", "/assets/shipment_confirmations?view=overview", "What Amazon was told"),
    Picture("asset_compliance", "/assets/pii_retention?view=overview", "What was shredded"),
    Picture("order_board", "/assets/order_board?view=overview", "Where all orders are"),
    Picture("order_board_plots", "/assets/order_board?view=overview", "Where all orders are", _plots),
    Picture("check_late", "/assets/shipment_confirmations?view=checks&checkDetail=shipped_in_time", "shipped_in_time"),
    Picture("check_red", _audit_check("audit_chain_is_intact"), "audit_chain_is_intact"),
    Picture("backfill", "/assets/order_events?view=partitions", "No partition selected", _backfill_dialog),
    Picture("automation", "/automation", "nightly_assets_sensor"),
    Picture("runs", "/runs", "Launched by"),
    Picture("jobs", "/jobs", "waive_hold"),
    Picture("job", "/locations/orders_pipeline/jobs/erase", "Cannot be undone"),
    Picture("launchpad", "/locations/orders_pipeline/jobs/waive_hold/playground", "Launch Run"),
    Picture("runbook", "/docs/runbook.md#push", "Push"),
]


@click.command()
@click.option("--into", type=click.Path(path_type=Path), default=IMAGES, help="The folder.", show_default=True)
@click.option("--only", multiple=True, help="The names of the pictures; all without one.")
def main(into: Path, only: tuple[str, ...]) -> None:
    """Take the pictures."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="orders-") as name:
        folder = Path(name)
        with (
            Sandbox(time_scale=40, floor=FloorOptions(unknown_carrier_share=0.1)) as sandbox,
            running_up(sandbox, folder) as up,
        ):
            _play(sandbox, up)
            with chromium(folder) as browser:
                for picture in PICTURES:
                    if not only or picture.name in only:
                        _take(browser, up, picture, into)


def _play(sandbox: Sandbox, up: Up) -> None:
    """A small day, then something that is late and something that was changed by hand."""
    for number in range(ORDERS):
        sandbox.add_order(status="UNSHIPPED" if number % 4 else "PENDING")
    _log("orders go through")
    confirmed = "select count(*) from pipeline.shipment_confirmations where state = 'confirmed'"
    wait_until(lambda: up.query(confirmed)[0][0] >= ORDERS // 2, up)
    for job in ("sweep_orders", "refresh_reports", "shred_expired_pii", "doctor", "prune_history"):
        _run(up, job)
    up.query(LATE)
    up.query(REWRITTEN)
    for job in ("refresh_reports", "shred_expired_pii", "doctor"):
        _run(up, job)
    sandbox.add_order(status="UNSHIPPED")


def _run(up: Up, job: str) -> None:
    _log(f"job {job}")
    launched = ask(up.url, LAUNCH, job=job)["launchRun"]
    run_id = launched["run"]["runId"]
    wait_until(lambda: ask(up.url, RUN, id=run_id)["runOrError"]["status"] in ("SUCCESS", "FAILURE"), up)


def _take(browser: Browser, up: Up, picture: Picture, into: Path) -> None:
    browser.open(f"{up.url}{picture.path}")
    browser.wait_for_text(picture.text)
    picture.prepare(browser)
    time.sleep(SETTLED_SECONDS)
    image = browser.screenshot()
    browser.open("about:blank")
    image = base64.b64decode(browser.run(REDUCE, base64.b64encode(image).decode()))
    (into / f"{picture.name}.png").write_bytes(image)
    _log(f"{picture.name}: {len(image) // 1000} kB")


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
