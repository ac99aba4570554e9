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
from datetime import UTC, datetime, timedelta
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
LAUNCH = """mutation($job: String!, $assets: [AssetKeyInput!], $checks: [AssetCheckHandleInput!]) {
  launchRun(executionParams: {mode: "default", selector: {repositoryLocationName: "orders_pipeline",
  repositoryName: "__repository__", jobName: $job, assetSelection: $assets, assetCheckSelection: $checks}}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LATE = """update pipeline.orders set ship_by = clock_timestamp() - interval '70 minutes', status = 'UNSHIPPED'
where order_id = (select order_id from pipeline.orders where fulfilled_by = 'MERCHANT' limit 1) returning 1"""
REWRITTEN = """alter table audit.entries disable trigger all;
update audit.entries set purpose = 'another' where entry_id = 12;
alter table audit.entries enable trigger all; select 1"""
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
# WebDriver's names of keys: Control with A, all keys up; Return.
SELECT_ALL, ENTER = "\ue009a\ue000", "\ue007"
WINDOW = (1600, 1000)
# Cut out, in fewer colours: half of the bytes, and no difference that a reader sees.
REDUCE = """const [data, left, top, widest] = arguments; return new Promise(done => { const image = new Image();
image.onload = () => { const across = image.width - left, down = image.height - top;
const scale = Math.min(1, widest / across); const canvas = new OffscreenCanvas(across * scale, down * scale);
const flat = canvas.getContext('2d'); flat.imageSmoothingQuality = 'high';
flat.drawImage(image, left, top, across, down, 0, 0, across * scale, down * scale);
const pixels = flat.getImageData(0, 0, canvas.width, canvas.height); const all = pixels.data;
for (let at = 0; at < all.length; at += 1) if (at % 4 < 3) all[at] = Math.min(255, Math.round(all[at] / 17) * 17);
flat.putImageData(pixels, 0, 0); canvas.convertToBlob({type: 'image/png'}).then(blob => {
const reader = new FileReader(); reader.onload = () => done(reader.result.split(',')[1]);
reader.readAsDataURL(blob); }); }; image.src = 'data:image/png;base64,' + data; });"""


@dataclass(frozen=True)
class Picture:
    """A page of the UI: the text that shows it is there, what is done before it is taken, and what is cut off."""

    name: str
    path: str
    text: str
    prepare: Callable[[Browser], None] = lambda _: None
    window: tuple[int, int] = WINDOW
    cut_left: int = 0
    cut_top: int = 0
    widest: int = WINDOW[0]
    # What loads after the text is there: plots, icons, the layout and the states of the graph.
    settles: float = 3.0


def _backfill_dialog(browser: Browser) -> None:
    browser.click_text("Materialize…", "button")
    browser.wait_for_text("Launch backfill")
    browser.click_text("Custom")
    today = datetime.now(UTC).date()
    days = f"[{today - timedelta(days=5)}...{today - timedelta(days=3)}]"
    browser.type_into("[role=dialog] input[type=text]", f"{SELECT_ALL}{days}{ENTER}")
    browser.wait_for_text("3 partitions")


def _scaffold(browser: Browser) -> None:
    browser.click_text("Scaffold missing config", "button")
    browser.click_text("Confirm", "button")
    browser.wait_for_text("BUYER_WITHDREW")


def _plots(browser: Browser) -> None:
    browser.click_text("Plots", "button")
    browser.wait_for_text("fulfillment_accepted")
    browser.run(
        "const names = [...document.querySelectorAll('*')].filter(one => !one.children.length && "
        "one.innerText === 'message_to_warehouse_p50_seconds'); names[0].scrollIntoView()"
    )


def _audit_check(name: str) -> str:
    return f"/assets/pii_access_log?view=checks&checkDetail={name}"


# As the UI names them, to be opened.
GROUPS = dict.fromkeys(f"global@global:{policy.group}" for policy in POLICIES.values())
PICTURES = [
    Picture(
        "lineage",
        f"/asset-groups?expanded={','.join(GROUPS)}",
        "Reload definitions",
        window=(2600, 1600),
        cut_left=545,
        cut_top=110,
        widest=1400,
        settles=15.0,
    ),
    Picture("asset_intake", "/assets/order_notifications?view=overview", "Amazon's queues"),
    Picture("asset_orders", "/assets/shipping_details?view=overview", "AES-256-GCM"),
    Picture("asset_fulfillment", "/assets/wms_orders?view=overview", "What the warehouse accepted"),
    Picture("asset_shipments", "/assets/shipment_confirmations?view=overview", "What Amazon was told"),
    Picture("asset_compliance", "/assets/pii_retention?view=overview", "What was shredded"),
    Picture("order_board", "/assets/order_board?view=overview", "Where all orders are"),
    Picture("order_board_plots", "/assets/order_board?view=overview", "Where all orders are", _plots),
    Picture("board", "/board", "Needs a person"),
    Picture("check_late", "/assets/shipment_confirmations?view=checks&checkDetail=shipped_in_time", "shipped_in_time"),
    Picture("check_red", _audit_check("audit_chain_is_intact"), "audit_chain_is_intact"),
    Picture("backfill", "/assets/order_events?view=partitions", "No partition selected", _backfill_dialog),
    Picture("automation", "/automation", "nightly_assets_sensor"),
    Picture("runs", "/runs", "Launched by"),
    Picture("jobs", "/jobs", "waive_hold"),
    Picture("job", "/locations/orders_pipeline/jobs/erase", "Cannot be undone"),
    Picture("launchpad", "/locations/orders_pipeline/jobs/waive_hold/playground", "Launch Run", _scaffold),
    Picture("sensor", "/locations/orders_pipeline/sensors/drain_notifications_sensor", "Reads Amazon's queues"),
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
    browser.resize(*picture.window)
    browser.open(f"{up.url}{picture.path}")
    browser.wait_for_text(picture.text)
    picture.prepare(browser)
    time.sleep(picture.settles)
    whole = base64.b64encode(browser.screenshot()).decode()
    browser.open("about:blank")
    image = base64.b64decode(browser.run(REDUCE, whole, picture.cut_left, picture.cut_top, picture.widest))
    assert len(image) < LARGEST_BYTES, f"{picture.name}: {len(image)} bytes"
    (into / f"{picture.name}.png").write_bytes(image)
    _log(f"{picture.name}: {len(image) // 1000} kB")


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
