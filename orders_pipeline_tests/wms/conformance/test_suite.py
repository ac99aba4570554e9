"""The conformance suite: what keeps every promise passes, and what breaks one fails that one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.sandbox.warehouse.floor import FloorOptions
from orders_pipeline.wms.conformance import reporting
from orders_pipeline.wms.conformance.__main__ import main
from orders_pipeline.wms.conformance.suite import PROMISES, try_adapter
from orders_pipeline.wms.conformance.worker import Worker
from orders_pipeline.wms.connect import open_warehouse
from orders_pipeline.wms.rest.adapter import RestWarehouse
from orders_pipeline_tests.wms.conformance.able import TOTAL_SECONDS, AbleWarehouse
from orders_pipeline_tests.wms.conformance.broken import BROKEN

NAMES = [promise.name for promise in PROMISES]
NOT_IN_THE_CONTRACT = {"acknowledge", "stock"}
IN_TIME = TOTAL_SECONDS * 2


@pytest.fixture(scope="module")
def able() -> Iterator[AbleWarehouse]:
    with Sandbox(subscribed=False, floor=FloorOptions(automatic=False)) as sandbox:
        yield AbleWarehouse(sandbox)


@pytest.fixture(autouse=True)
def _events_are_there_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    # The sandbox reports at once; what is not there now never comes.
    monkeypatch.setattr("orders_pipeline.wms.conformance.trial.EVENT_SECONDS", 0.5)


def test_an_adapter_that_keeps_every_promise_passes_every_one(able: AbleWarehouse):
    results = list(try_adapter(able.open, able.settings(), able.worker, call_seconds=IN_TIME))
    assert {one.promise.name: one.reason for one in results if one.verdict != "holds"} == {}
    assert [one.promise.name for one in results] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_promise_is_one_that_cannot_fail(able: AbleWarehouse, name: str):
    (result,) = try_adapter(
        lambda settings: BROKEN[name](able.open(settings)),
        able.settings(),
        able.worker,
        only=[name],
        call_seconds=IN_TIME,
    )
    assert result.verdict == "fails"
    assert result.reason


def test_every_promise_has_an_adapter_that_breaks_it_and_a_source():
    assert list(BROKEN) == NAMES
    assert all(promise.source and promise.sentence.endswith(".") for promise in PROMISES)


def test_a_call_that_outlasts_a_lease_breaks_its_promise(able: AbleWarehouse):
    (result,) = try_adapter(
        able.open, able.settings(), able.worker, only=["answer.in_time"], call_seconds=TOTAL_SECONDS / 4
    )
    assert (result.verdict, result.reason.startswith("a call took")) == ("fails", True)


def test_what_the_worker_cannot_do_is_not_tried_and_the_report_says_why(able: AbleWarehouse):
    class Counting(Worker):
        def skus(self) -> tuple[str, ...]:
            return ("A-1", "A-2", "A-3")

    names = [promise.name for promise in reporting.PROMISES]
    results = list(try_adapter(able.open, able.settings(), Counting, only=names))
    assert {one.verdict for one in results} == {"not tried"}
    assert all("worker cannot" in one.reason or "warehouse" in one.reason for one in results)


ABLE = "orders_pipeline_tests.wms.conformance.able"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings, and no sentence that is broken in two."""
    monkeypatch.setenv("ORDERS_ENV_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "400")
    for name in ("WMS_BASE_URL", "WMS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(cast(dict[str, object], RestWarehouse.__init__.__kwdefaults__), "total_seconds", TOTAL_SECONDS)


@pytest.mark.usefixtures("terminal")
def test_the_rest_adapter_keeps_what_its_contract_promises(tmp_path: Path):
    report = tmp_path / "report.json"
    ran = CliRunner().invoke(main, ["rest", "--warehouse", f"{ABLE}:sandbox_to_try", "--json", str(report)])
    assert ran.exit_code == 0, ran.output
    read = json.loads(report.read_text())
    not_tried = {one["name"].partition(".")[0] for one in read["promises"] if one["verdict"] == "not tried"}
    assert (read["counts"]["fails"], not_tried) == (0, NOT_IN_THE_CONTRACT)
    assert "does not declare" in ran.output


@pytest.mark.usefixtures("terminal")
def test_the_command_tries_the_warehouse_of_the_settings(able: AbleWarehouse, monkeypatch: pytest.MonkeyPatch):
    for name in ("WMS_BASE_URL", "WMS_TOKEN"):
        monkeypatch.setenv(name, able.sandbox.environment()[name])
    tried = ["rest", "--worker", f"{ABLE}:idle_worker", "--only", "adapter.capabilities", "--only", "event.split"]
    ran = CliRunner().invoke(main, tried)
    assert ran.exit_code == 0, ran.output
    assert "1 holds, 0 fails, 1 not tried." in ran.output
    assert "the worker names no SKUs" in ran.output


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rest", "--only", "push.by_pigeon"], "no such promise: push.by_pigeon"),
        (["my_company.adapter:made"], "WMS_BASE_URL"),
        (["rest", "--warehouse", "nowhere:nothing"], "nowhere:nothing cannot be opened"),
    ],
)
def test_what_cannot_be_tried_is_told_in_one_line(arguments: list[str], told: str):
    ran = CliRunner().invoke(main, arguments)
    assert (ran.exit_code, len(ran.output.splitlines())) == (2, 1), ran.output
    assert told in ran.output


@pytest.mark.usefixtures("terminal")
def test_the_command_starts_the_sandbox_and_fails_where_a_promise_does(monkeypatch: pytest.MonkeyPatch):
    breaks = BROKEN["cancel.too_late"]
    monkeypatch.setattr(
        "orders_pipeline.wms.conformance.__main__.open_warehouse", lambda settings: breaks(open_warehouse(settings))
    )
    ran = CliRunner().invoke(main, ["rest", "--only", "cancel.too_late", "--only", "find.unknown_is_none"])
    assert ran.exit_code == 1, ran.output
    assert "the cancellation of an order that has left was answered cancelled" in ran.output
    assert "1 holds, 1 fails, 0 not tried." in ran.output
