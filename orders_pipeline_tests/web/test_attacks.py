"""The attacks that worked before there was a guard, against the real process that `orders-pipeline up` starts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import websockets
from websockets.exceptions import InvalidStatus

from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.web.deployment import SELECTOR, Up, ask, running_up, second_ui

pytestmark = pytest.mark.processes

FOREIGN = {"Host": "shop.example", "Referer": "https://shop.example/page"}
_CONFIG = json.dumps({"ops": {"erase_buyers_data": {"config": {"order_id": "111-1", "requested_by": "BUYER"}}}})
_JOB = SELECTOR % 'jobName:"erase"'
LAUNCH_ERASE = (
    f"mutation{{launchRun(executionParams:{{selector:{_JOB},runConfigData:{json.dumps(_CONFIG)}}})"
    "{__typename ... on LaunchRunSuccess{run{runId}}}}"
)
_SCHEDULE = SELECTOR % 'scheduleName:"nightly_audit_export"'
SCHEDULE = f"{{scheduleOrError(scheduleSelector:{_SCHEDULE}){{... on Schedule{{id scheduleState{{id status}}}}}}}}"
REPORTS = [
    "/report_asset_check/pii_access_log?check_name=audit_chain_is_intact&passed=true",
    "/report_asset_materialization/pii_access_log",
    "/report_asset_observation/pii_access_log",
]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Sandbox() as sandbox, running_up(sandbox, tmp_path) as running:
        yield running


@pytest.mark.slow(57)
def test_no_page_of_somebody_else_and_no_get_changes_anything(up: Up):
    # An image on any web page, as the audit did it; then without each of the things that give it away.
    for headers in (FOREIGN, {"Sec-Fetch-Site": "cross-site"}, {"Referer": "https://shop.example/"}, {}):
        answer = requests.get(f"{up.url}/graphql", params={"query": LAUNCH_ERASE}, headers=headers, timeout=30)
        assert answer.status_code in (403, 405), (headers, answer.text)
    schedule = ask(up.url, SCHEDULE)["scheduleOrError"]
    stop = f"mutation{{stopRunningSchedule(id:{json.dumps(schedule['id'])}){{__typename}}}}"
    assert not requests.get(f"{up.url}/graphql", params={"query": stop}, timeout=30).ok
    for path in REPORTS:
        assert requests.post(f"{up.url}{path}", timeout=30).status_code == 403
        assert requests.post(f"{up.url}{path}", headers=FOREIGN, timeout=30).status_code == 403
    disguised = {"Content-Type": "text/plain;application/json"}
    body = json.dumps({"query": LAUNCH_ERASE})
    assert requests.post(f"{up.url}/graphql", data=body, headers=disguised, timeout=30).status_code == 415
    in_the_address = requests.post(f"{up.url}/graphql", params={"query": LAUNCH_ERASE}, data={"a": "b"}, timeout=30)
    assert in_the_address.status_code == 415
    rebound = requests.post(
        f"{up.url}/graphql", json={"query": LAUNCH_ERASE}, headers={"Host": "a.example"}, timeout=30
    )
    assert rebound.status_code == 403
    # Whoever stands behind a proxy that passes on to this port; its `Host` is the proxy's default.
    passed_on = {"X-Forwarded-For": "203.0.113.9"}
    assert requests.get(f"{up.url}/runs", headers=passed_on, timeout=30).status_code == 403
    proxied = requests.post(f"{up.url}/graphql", json={"query": LAUNCH_ERASE}, headers=passed_on, timeout=30)
    assert proxied.status_code == 403
    assert asyncio.run(_websocket(up.url, "https://shop.example")) == 403
    assert asyncio.run(_websocket(up.url, up.url)) == "connection_ack"
    assert ask(up.url, '{runsOrError(filter:{pipelineName:"erase"}){... on Runs{results{id}}}}') == {
        "runsOrError": {"results": []}
    }
    assert ask(up.url, SCHEDULE)["scheduleOrError"]["scheduleState"]["status"] == "RUNNING"
    check = 'checkName:"audit_chain_is_intact",assetKey:{path:["pii_access_log"]},limit:5'
    assert ask(up.url, f"{{assetCheckExecutions({check}){{id}}}}") == {"assetCheckExecutions": []}

    # Nor by GraphQL's own way to report what no run has found, nor under a name that nobody has proved.
    report = '{eventType:ASSET_MATERIALIZATION,assetKey:{path:["pii_access_log"]}}'
    painted = _post(up.url, f"mutation{{reportRunlessAssetEvents(eventParams:{report}){{__typename}}}}")
    assert "ORDERS_WEB_REPORT_TOKEN" in painted.text
    tags = 'executionMetadata:{tags:[{key:"orders_pipeline/person",value:"maria"},{key:"kept",value:"yes"}]}'
    launch = LAUNCH_ERASE.replace("runConfigData:", f"{tags},runConfigData:").replace(
        "run{runId}", "run{tags{key value}}"
    )
    found = ask(up.url, launch)["launchRun"]["run"]["tags"]
    assert {"key": "kept", "value": "yes"} in found
    assert "orders_pipeline/person" not in {tag["key"] for tag in found}

    # Read-only is read-only; the token opens the report endpoints, and nothing else.
    token = "a-token-of-more-than-24-characters"
    with second_ui(up, "--read-only", ORDERS_WEB_REPORT_TOKEN=token) as read_only:
        assert ask(read_only, "{version}")
        assert "read-only" in _post(read_only, stop).text
        assert requests.post(f"{read_only}{REPORTS[0]}", headers=_bearer(token), timeout=30).status_code == 403
    with second_ui(up, ORDERS_WEB_REPORT_TOKEN=token) as reporting:
        assert requests.post(f"{reporting}{REPORTS[0]}", headers=_bearer("guessed"), timeout=30).status_code == 401
        assert requests.post(f"{reporting}{REPORTS[0]}", headers=_bearer(token), timeout=30).status_code == 200
    (told,) = up.query("select actor, detail ->> 'path' as path from audit.entries where action = 'web_report'")
    assert (told.actor, told.path) == ("job:web", "/report_asset_check/pii_access_log")


def _post(url: str, document: str) -> requests.Response:
    return requests.post(f"{url}/graphql", json={"query": document}, timeout=30)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _websocket(url: str, origin: str) -> int | str:
    """The handshake's status where it is refused, else the type of the first answer."""
    address = f"ws{url.removeprefix('http')}/graphql"
    try:
        protocols = [websockets.Subprotocol("graphql-ws")]
        async with websockets.connect(address, origin=websockets.Origin(origin), subprotocols=protocols) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": {}}))
            return str(json.loads(await socket.recv())["type"])
    except InvalidStatus as refused:
        return refused.response.status_code
