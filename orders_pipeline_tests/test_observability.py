"""Metrics, their page, the dashboard and the alert rules name the same things, and Prometheus itself accepts them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
import yaml
from dagster import DagsterInstance
from starlette.applications import Starlette

from orders_pipeline.channels.amazon.quota.limits import Limits
from orders_pipeline.channels.amazon.quota.operations import OPERATIONS
from orders_pipeline.channels.amazon.timing import Timing
from orders_pipeline.intake.queue import QueueDepth
from orders_pipeline.intake.queue_depth import note_queue_depth
from orders_pipeline.model.order import Priority
from orders_pipeline.operations.metrics.scrape import FAMILIES, Scraper
from orders_pipeline.operations.overdue import watch_scheduled_work
from orders_pipeline.web.metrics import METRICS_PATH, Metrics
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.dagster_storage import leave_traces
from orders_pipeline_tests.deployed import deployed
from orders_pipeline_tests.free_port import free_port
from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.world import World, open_world

FOLDER = ROOT / "docs" / "observability"
PAGE, RULES, RULES_TEST = ROOT / "docs" / "observability.md", FOLDER / "alerts.yml", FOLDER / "alerts_test.yml"
NAMES = {family.name for family in FAMILIES}
HISTOGRAMS = {family.name for family in FAMILIES if family.kind == "histogram"}
# What a query may name.
QUERIED = (NAMES - HISTOGRAMS) | {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")}
# Which holds no sample where there is nothing to tell, with what else is in the store of the test below.
WITHOUT_A_SAMPLE = {"orders_pipeline_run_wait_seconds"}
WAITED_SECONDS = 60.0


def tool(name: str) -> str:
    """`make test` installs Debian's package where it may; in CI it must be there."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed: `make promtool` as root on Debian installs it"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\borders_pipeline_\w+", re.sub(r'"[^"]*"', "", expression)))


def as_prometheus_asks(query: str) -> str:
    """Grafana's variables as Grafana fills them in."""
    return query.replace("$__rate_interval", "1m").replace("$account", ".*")


def test_every_metric_is_on_the_page_with_its_kind_and_labels_and_no_other():
    listed = re.findall(
        r"^\| `(orders_pipeline_\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE
    )
    expected = [(one.name, one.kind, ", ".join(one.labels) or "none", one.help) for one in FAMILIES]
    assert listed == expected
    assert len(NAMES) == len(FAMILIES)


def test_the_dashboard_shows_every_metric_and_names_no_other():
    named = {name for query in dashboard_queries() for name in metrics_in(query)}
    assert named - QUERIED == set()
    shown = {re.sub("_(bucket|count|sum)$", "", name) if name not in NAMES else name for name in named}
    assert NAMES - shown == set()


def test_every_rule_names_metrics_that_are_there_and_a_section_of_the_runbook():
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in rules():
        assert metrics_in(rule["expr"]) - QUERIED == set(), rule["alert"]
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (page, anchor in anchors) == ("docs/runbook.md", True), rule["alert"]
        assert rule["labels"]["severity"] in ("error", "warning", "none")


def test_promtool_accepts_the_rules_the_configuration_and_every_query_of_the_dashboard(tmp_path: Path):
    promtool = tool("promtool")
    recorded = [{"record": f"panel:{n}", "expr": as_prometheus_asks(q)} for n, q in enumerate(dashboard_queries())]
    queries = tmp_path / "queries.yml"
    queries.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    shutil.copy(RULES, tmp_path)
    (tmp_path / "orders_metrics_token").write_text("t")
    for command in (
        ["check", "rules", str(RULES), str(queries)],
        ["check", "config", str(tmp_path / "prometheus.yml")],
    ):
        checked = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_rule_is_quiet_while_all_is_well_and_fires_when_it_is_not():
    promtool = tool("promtool")
    cases = {case["name"]: case["alert_rule_test"] for case in yaml.safe_load(RULES_TEST.read_text())["tests"]}
    always = "OrdersPipelineWatchdog"
    for rule in rules():
        tried = [bool(one["exp_alerts"]) for one in cases.pop(rule["alert"])]
        assert tried == ([True] if rule["alert"] == always else [False, True]), rule["alert"]
    assert cases == {}
    tested = subprocess.run([promtool, "test", "rules", str(RULES_TEST)], capture_output=True, text=True, timeout=120)
    assert tested.returncode == 0, tested.stdout + tested.stderr


# --- a real Prometheus


@pytest.fixture
def metrics_url(
    world: World, instance: DagsterInstance, database_url: str, dagster_url: str, tmp_path: Path
) -> Iterator[str]:
    """The metrics of a store in which there is something of everything, served."""
    _something_of_everything(world)
    leave_traces(instance, sensor="deliver_alerts_sensor", failed_ticks=1)
    scraper = Scraper(deployed(database_url, tmp_path, DAGSTER_POSTGRES_URL=dagster_url).settings)
    port = free_port()
    app = Starlette(routes=Metrics(scraper.read, shown_seconds=0.5).routes())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    _until(lambda: server.started, "uvicorn has not started")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    scraper.close()


@pytest.fixture
def world(database: Any, tmp_path: Path) -> World:
    return open_world(database, tmp_path)


def _something_of_everything(world: World) -> None:
    order_id = world.accepted()
    world.ship(order_id)
    world.confirm_and_verify()
    world.run_until_idle()
    world.amazon.request_cancellation(world.order(hear=False))
    world.hear()
    world.sync()
    with world.database.transaction(SELLER) as tx:
        note_queue_depth(tx, QueueDepth(1, 1, 1))
        watch_scheduled_work(tx)
    world.sql(
        "insert into pipeline.alerts (account_id, key, severity, message, what_to_do) "
        "values (:seller, 'work.parked:1', 'error', '-', '-')",
        seller=SELLER,
    )
    world.sql("insert into pipeline.alert_channels (channel) values ('slack')")
    limits = Limits(world.database, application_id="app", seller_id=SELLER, region="na")
    limits.acquire(OPERATIONS[0], Priority.EVENT, Timing().deadline(5))
    limits.answers.count(OPERATIONS[0].name, 200)
    limits.answers.write()


def test_promtool_finds_nothing_to_blame_in_what_is_served(metrics_url: str):
    promtool = tool("promtool")
    served = requests.get(f"{metrics_url}{METRICS_PATH}", timeout=20).text
    checked = subprocess.run([promtool, "check", "metrics"], input=served, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_real_prometheus_scrapes_it_and_every_panel_of_the_dashboard_has_data(metrics_url: str, tmp_path: Path):
    prometheus, port = tool("prometheus"), free_port()
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["rule_files"] = [str(RULES)]
    (job,) = config["scrape_configs"]
    job |= {"static_configs": [{"targets": [metrics_url.removeprefix("http://")]}]}
    (tmp_path / "orders_metrics_token").write_text("t" * 30)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _until(
            lambda: len(_asked(url, "count_over_time(orders_pipeline_up[1m]) >= 3")) == 2, tmp_path / "prometheus.log"
        )
        assert _asked(url, 'up{job="orders_pipeline"} == 1')
        empty = {q for q in dashboard_queries() if not _asked(url, as_prometheus_asks(q))}
        # What needs something to happen between two scrapes divides by a rate of nothing, and is there all the same.
        assert {name for q in empty for name in metrics_in(q)} - WITHOUT_A_SAMPLE == set()
        types = requests.get(f"{url}/api/v1/metadata", timeout=20).json()["data"]
        assert {types[one.name][0]["type"] for one in FAMILIES if one.kind == "histogram"} == {"histogram"}
    finally:
        process.terminate()
        process.wait(30)


def _asked(url: str, query: str) -> list[Any]:
    try:
        answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=20)
    except requests.ConnectionError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.ok, answer.text
    return answer.json()["data"]["result"]


def _until(ready: Callable[[], Any], why: str | Path) -> None:
    deadline = time.monotonic() + WAITED_SECONDS
    while not ready():
        assert time.monotonic() < deadline, why.read_text() if isinstance(why, Path) else why
        time.sleep(0.1)
