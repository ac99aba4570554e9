"""`python -m orders_pipeline.sandbox`: one command, one file with all that a client needs, a clean end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from orders_pipeline_tests.sandbox.honest_client import HonestClient


@contextmanager
def running(folder: Path, *arguments: str) -> Generator[tuple[dict[str, str], subprocess.Popen[str]]]:
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "orders_pipeline.sandbox", "--ready-file", str(ready), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline, "no ready file after 30 seconds"
            time.sleep(0.05)
        yield json.loads(ready.read_text()), process
    finally:
        process.kill()
        process.wait()


def control(environment: dict[str, str], path: str, body: Any = None) -> Any:
    url = f"{environment['SANDBOX_URL']}/sandbox/{path}"
    answer = requests.get(url, timeout=5) if body is None else requests.post(url, json=body, timeout=5)
    assert answer.ok, answer.text
    return answer.json()


def test_it_starts_is_controlled_over_http_and_ends_cleanly(tmp_path: Path) -> None:
    with running(tmp_path, "--no-autostart", "--time-scale", "1000", "--ship-max-seconds", "2.1") as (
        environment,
        process,
    ):
        assert list(tmp_path.iterdir()) == [tmp_path / "ready.json"]
        idle = {"state": "idle", "orders_total": 160, "played": 0}
        assert control(environment, "day") == {**idle, "finished": False, "done": False}
        item = {"quantity": 2, "sku": "MUG-STONE-350"}
        made = control(environment, "orders", {"order_id": "903-8868176-2219830", "items": [item]})
        assert made["items"][0]["quantity"] == 2
        client = HonestClient(environment)
        assert client.get_order(made["order_id"]).status_code == 200
        control(environment, "faults", {"kind": "html_503", "operation": "getOrder"})
        assert client.get_order(made["order_id"]).status_code == 503
        control(environment, "faults", {"kind": "invalid_address_echo", "server": "warehouse"})
        control(environment, "faults", {"kind": "clear"})
        control(environment, f"orders/{made['order_id']}/status", {"status": "BUYER_REQUESTED_CANCEL"})
        shown = client.get_order(made["order_id"]).json()["order"]["orderItems"][0]
        assert shown["cancellation"]["cancellationRequest"]["requester"] == "BUYER"
        control(environment, f"orders/{made['order_id']}/status", {"status": "CANCELLED"})
        sent = requests.post(f"{environment['SANDBOX_URL']}/sandbox/queue", data="not json", timeout=5)
        assert sent.status_code == 201
        assert control(environment, "ledger")["amazon"]["statuses"]["getOrder"] == {"200": 2, "503": 1}
        while control(environment, "ledger")["queue"]["sent"] < 4:
            time.sleep(0.05)
        client.drain()
        assert client.junk == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        assert process.stdout is not None
        (line,) = process.stdout.read().splitlines()
        assert line.startswith("sandbox ready: ")


def test_two_run_side_by_side_and_each_plays_its_own_day(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    arguments = ("--orders", "5", "--duration", "1")
    with running(tmp_path / "one", *arguments) as (one, _), running(tmp_path / "two", *arguments) as (two, _):
        assert one["AMAZON_SPAPI_ENDPOINT"] != two["AMAZON_SPAPI_ENDPOINT"]
        deadline = time.monotonic() + 15
        while {control(each, "day")["state"] for each in (one, two)} != {"played"}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        verdicts = control(one, "verdicts")
        assert verdicts["totals"]["orders"] == 5
        assert set(verdicts["verdicts"][0]) == {
            "order_id", "scenario", "expectation", "actual", "ok", "why", "seller_id",
        }  # fmt: skip
        assert verdicts == control(two, "verdicts")


def test_endless_orders_keep_coming(tmp_path: Path) -> None:
    with running(tmp_path, "--endless") as (environment, _):
        deadline = time.monotonic() + 20
        while control(environment, "day")["played"] < 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert control(environment, "day")["state"] == "playing"
        assert control(environment, "day")["done"] is False
