"""`/metrics`: in the format that was asked for, read once for all who ask, and for who may."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orders_pipeline.operations.metrics.family import Family, Sample
from orders_pipeline.settings import SettingsError
from orders_pipeline.web.access import OpenAccess
from orders_pipeline.web.metrics import METRICS_PATH, Metrics
from orders_pipeline_tests.web.door import Door, MemoryJournal, login_access

GAUGE = Family("orders_pipeline_orders", "gauge", "Orders.", ("account", "status"))
COUNTER = Family("orders_pipeline_amazon_answers_total", "counter", "Answers.", ("account",))
LATENCY = Family("orders_pipeline_message_to_accepted_seconds", "histogram", "How long.", ("account",))
SAMPLES = [
    Sample(GAUGE, ("A1", 'a "strange"\nword'), 3),
    Sample(COUNTER, ("A1",), 12),
    Sample(LATENCY, ("A1",), 4.5, (("1.0", 1), ("10.0", 3), ("+Inf", 3))),
]
TOKEN = "t" * 30
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def client(metrics: Metrics) -> TestClient:
    return TestClient(Starlette(routes=metrics.routes()))


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=", read_text),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4", read_text),
        ("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5",
         "application/openmetrics-text; version=1.0.0", read_openmetrics),
    ],
)  # fmt: skip
def test_the_answer_has_the_form_that_was_asked_for(accept: str, content_type: str, parse: Any):
    answer = client(Metrics(lambda: SAMPLES)).get(METRICS_PATH, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(content_type)
    found = {(s.name, *s.labels.values()): s.value for family in parse(answer.text) for s in family.samples}
    assert found["orders_pipeline_orders", "A1", 'a "strange"\nword'] == 3
    assert found["orders_pipeline_amazon_answers_total", "A1"] == 12
    assert found["orders_pipeline_message_to_accepted_seconds_count", "A1"] == 3
    assert found["orders_pipeline_message_to_accepted_seconds_bucket", "A1", "10.0"] == 3
    assert found["orders_pipeline_message_to_accepted_seconds_sum", "A1"] == 4.5


def test_whoever_asks_at_once_shares_one_reading_and_the_next_few_seconds_do_too():
    read, go, now = list[int](), threading.Event(), [0.0]

    def reading() -> Sequence[Sample]:
        read.append(1)
        assert go.wait(20)
        return SAMPLES

    with client(Metrics(reading, clock=lambda: now[0])) as asked, ThreadPoolExecutor(20) as many:
        answers = [many.submit(asked.get, METRICS_PATH) for _ in range(20)]
        while not read:
            time.sleep(0.01)
        go.set()
        assert {answer.result().status_code for answer in answers} == {200}
        now[0] += 4.9
        assert asked.get(METRICS_PATH).status_code == 200
        assert len(read) == 1
        now[0] += 0.2
        asked.get(METRICS_PATH)
        assert len(read) == 2


def test_a_reading_that_takes_too_long_is_answered_503_and_not_begun_again():
    go, read = threading.Event(), list[int]()

    def reading() -> Sequence[Sample]:
        read.append(1)
        assert go.wait(20)
        return SAMPLES

    with client(Metrics(reading, answer_seconds=0.1)) as asked:
        for _ in range(3):
            answer = asked.get(METRICS_PATH)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "15")
        assert len(read) == 1
        go.set()
        while asked.get(METRICS_PATH).status_code != 200:
            time.sleep(0.01)


def test_settings_that_are_missing_are_said():
    def reading() -> Sequence[Sample]:
        raise SettingsError(("missing AMAZON_SELLER_ID",))

    answer = client(Metrics(reading)).get(METRICS_PATH)
    assert (answer.status_code, "AMAZON_SELLER_ID" in answer.text) == (503, True)


# --- who may


def test_without_a_login_this_machine_may_and_a_wrong_token_may_not(journal: MemoryJournal):
    door = Door(OpenAccess(), journal, metrics_token=SecretStr(TOKEN))
    assert door.client.get(METRICS_PATH).status_code == 200
    assert door.client.get(METRICS_PATH, headers=BEARER).status_code == 200
    assert door.client.get(METRICS_PATH, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert door.client.get(METRICS_PATH, headers={**BEARER, "Host": "elsewhere.example"}).status_code == 403
    assert door.client.post(METRICS_PATH, headers=BEARER).status_code == 405


def test_with_a_login_the_token_opens_the_metrics_and_nothing_else(
    users_file: Any, tmp_path: Any, journal: MemoryJournal
):
    door = Door(login_access(users_file, tmp_path), journal, metrics_token=SecretStr(TOKEN))
    assert door.client.get(METRICS_PATH).status_code == 401
    assert door.client.get(METRICS_PATH, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 401
    answer = door.client.get(METRICS_PATH, headers=BEARER)
    assert (answer.status_code, answer.json()) == (200, [None, "viewer", False])
    for method, path in (("GET", "/runs"), ("GET", "/metrics/"), ("GET", "/server_info"), ("POST", "/graphql")):
        assert door.client.request(method, path, headers=BEARER, json={"query": "{a}"}).status_code == 401, path
    assert door.log_in() == 303
    assert door.client.get(METRICS_PATH).status_code == 200, "who may look at the UI may look at this"


def test_without_a_token_in_the_settings_none_opens_anything(users_file: Any, tmp_path: Any, journal: MemoryJournal):
    door = Door(login_access(users_file, tmp_path), journal)
    for given in ("Bearer ", "Bearer None", BEARER["Authorization"]):
        assert door.client.get(METRICS_PATH, headers={"Authorization": given}).status_code == 401
