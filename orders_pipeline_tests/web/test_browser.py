"""The guarded UI in a real browser: it works for who has logged in, and another page there changes nothing.

And what operations staff find there: the whole lineage, a red check, and what to do about it.
"""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from orders_pipeline.defs.policy import POLICIES
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.web.users import user_line
from orders_pipeline.web.visitor import Role
from orders_pipeline_tests.browser import Browser, chromium
from orders_pipeline_tests.web.deployment import Up, running_up, wait_until
from orders_pipeline_tests.web.test_attacks import LAUNCH_ERASE, REPORTS, SCHEDULE

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]

PASSWORD = "Correct-Horse-9"
# How a browser complains of our headers and refusals. Dagster's own notices, and sockets that end with their page, are
# none of ours.
COMPLAINTS = ("Security Policy", "status of", "Refused", "blocked", "Error with", "NetworkError", "response code")
LATE = """insert into pipeline.orders (account_id, order_id, status, fulfilled_by, ship_by, fetched_at) values
('{AMAZON_SELLER_ID}', '902-1845936-5435065', 'UNSHIPPED', 'MERCHANT', clock_timestamp() - interval '1 hour',
clock_timestamp()) returning 1"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Maria may log in."""
    folder = tmp_path_factory.mktemp("up")
    users = folder / "users"
    users.write_text(user_line("maria", Role.OPERATOR, PASSWORD) + "\n")
    users.chmod(0o600)
    with Sandbox() as sandbox, running_up(sandbox, folder, ORDERS_WEB_USERS_FILE=str(users)) as running:
        yield running


@pytest.mark.slow(60)
def test_a_person_logs_in_works_and_is_named_while_other_pages_are_powerless(up: Up, tmp_path: Path):
    with chromium(tmp_path) as browser:
        browser.open(f"{up.url}/assets")
        browser.wait_for_text("Password")
        _log_in(browser, "wrong")
        browser.wait_for_text("That is not right")
        _log_in(browser, PASSWORD)
        browser.wait_for(lambda: browser.address() == f"{up.url}/assets", "the page that was asked for")
        browser.console()  # the wrong password's
        (cookie,) = browser.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        for path, expected in (
            ("/assets", "order_events"),
            ("/asset-groups", "Reload definitions"),
            ("/automation", "nightly_assets_sensor"),
            ("/runs", "Launched by"),
            ("/board", "Nothing needs you"),
            ("/api", "Orders, by status and filter"),
            ("/logout", "You are maria"),
        ):
            browser.open(f"{up.url}{path}")
            browser.wait_for_text(expected)
            assert [line for line in browser.console() if any(word in line for word in COMPLAINTS)] == [], path

        # A run that she starts by hand carries her name, and so does what it writes into the audit log.
        browser.open(f"{up.url}/locations/orders_pipeline/jobs/rotate_keys/playground")
        browser.click_text("Launch Run", "button")
        (run,) = wait_until(lambda: _runs_of(browser, "rotate_keys"), up)
        assert {"key": "orders_pipeline/person", "value": "maria"} in run["tags"]
        actor = f"person:maria/run:{run['id']}"
        wait_until(lambda: up.query(f"select 1 from audit.entries where actor = '{actor}' and action = 'add_key'"), up)
        told = {(row.actor, row.action) for row in up.query("select actor, action from audit.entries")}
        assert {("person:maria", "web_login"), ("person:maria", "web_change"), ("job:web", "web_login")} <= told

        # Another page in her browser, on another port of the same machine: her cookie goes with what it sends.
        schedule = _ask(browser, SCHEDULE)["scheduleOrError"]
        stop = f"mutation{{stopRunningSchedule(id:{json.dumps(schedule['id'])}){{__typename}}}}"
        with _foreign_page(_attacks(up.url, [LAUNCH_ERASE, stop])) as address:
            browser.open(address)
            browser.wait_for(lambda: browser.run("return window.tried"), "the other page's attempts")
            assert browser.run("return window.websocket") == "refused"
        browser.open(f"{up.url}/runs")
        assert _ask(browser, SCHEDULE)["scheduleOrError"]["scheduleState"]["status"] == "RUNNING"
        assert _runs_of(browser, "erase") == []
        check = 'checkName:"audit_chain_is_intact",assetKey:{path:["pii_access_log"]},limit:5'
        assert _ask(browser, f"{{assetCheckExecutions({check}){{id}}}}") == {"assetCheckExecutions": []}
        # The attempts did reach the port: what was refused is in its log.
        assert up.log.count("A request was refused") >= 4, up.log

        browser.open(f"{up.url}/logout")
        browser.click("button")
        browser.wait_for_text("Password")
        browser.open(f"{up.url}/assets")
        browser.wait_for_text("Password")


def test_a_stranger_finds_the_whole_flow_and_what_to_do_about_a_red_check(up: Up, tmp_path: Path):
    with chromium(tmp_path) as browser:
        browser.open(f"{up.url}/assets")
        browser.wait_for_text("Password")
        _log_in(browser, PASSWORD)
        browser.wait_for_text("order_events")
        groups = {policy.group for policy in POLICIES.values()}
        browser.open(f"{up.url}/asset-groups?expanded={','.join(f'global@global:{group}' for group in groups)}")
        # Names that are too long for a node are shortened in their middle.
        for name in (*groups, *(name for name in POLICIES if len(name) < 16)):
            browser.wait_for_text(name)

        up.query(LATE.format(**up.environment))
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


def _log_in(browser: Browser, password: str) -> None:
    browser.type_into("input[name=name]", "maria")
    browser.type_into("input[name=password]", password)
    browser.click("button")


def _ask(browser: Browser, document: str) -> Any:
    """As a script of the UI's own page would."""
    return browser.run(
        "return fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({query: arguments[0]})}).then(answer => answer.json()).then(answer => answer.data)",
        document,
    )


def _runs_of(browser: Browser, job: str) -> list[dict[str, Any]]:
    document = f'{{runsOrError(filter:{{pipelineName:"{job}"}}){{... on Runs{{results{{id tags{{key value}}}}}}}}}}'
    return list(_ask(browser, document)["runsOrError"]["results"])


def _attacks(url: str, mutations: list[str]) -> str:
    """A page that tries an image, forms and scripts, and then sets window.tried."""
    images = "".join(f'<img src="{url}/graphql?query={html.escape(one)}">' for one in mutations)
    form = '<form method="post" target="{frame}" action="{action}" enctype="text/plain">{field}</form>'
    field = "<input name='{}' value='\"}}'>".format('{"query":' + html.escape(json.dumps(mutations[0])) + ',"x":"')
    actions = [f"{url}/graphql", f"{url}/graphql?query={html.escape(mutations[0])}", *(url + one for one in REPORTS)]
    forms = "".join(
        form.format(frame=f"frame{number}", action=html.escape(action), field=field)
        + f'<iframe name="frame{number}"></iframe>'
        for number, action in enumerate(actions)
    )
    script = f"""
    const body = JSON.stringify({{query: {json.dumps(mutations[0])}}});
    const send = type => fetch("{url}/graphql", {{method: "POST", mode: "no-cors", credentials: "include", body,
      headers: {{"Content-Type": type}}}}).catch(() => null);
    const socket = new Promise(done => {{
      const one = new WebSocket("{url.replace("http", "ws")}/graphql", "graphql-ws");
      one.onopen = () => done("open"); one.onerror = () => done("refused"); }});
    window.onload = () => {{
      const loaded = Array.from(document.querySelectorAll("iframe")).map(frame => new Promise(done => {{
        frame.onload = done; setTimeout(done, 5000); }}));
      document.querySelectorAll("form").forEach(one => one.submit());
      Promise.all([send("text/plain"), send("text/plain;application/json"), socket, ...loaded]).then(all => {{
        window.websocket = all[2]; window.tried = true; }});
    }};"""
    return f"<!DOCTYPE html><title>another page</title>{images}{forms}<script>{script}</script>"


@contextmanager
def _foreign_page(content: str) -> Generator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
