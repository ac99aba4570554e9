"""Without a login the UI is this machine's alone, whatever a proxy says; the login's pages are there with one only."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr
from starlette.websockets import WebSocketDisconnect

from orders_pipeline.settings import SettingsError
from orders_pipeline.web.access import Access, Listening, LoginAccess, OpenAccess, ProxyAccess, open_access
from orders_pipeline.web.journal import AuditJournal
from orders_pipeline.web_settings import WebSettings, read_web
from orders_pipeline_tests.web.door import MUTATION, SOCKET, Door, MemoryJournal

TOKEN = SecretStr("t" * 30)
# What proxies, tunnels and CDNs add, each alone.
PROXIED = {
    "Forwarded": "for=203.0.113.9", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "orders.shop.example",
    "X-Forwarded-Proto": "https", "X-Forwarded-Anything": "", "X-Real-IP": "203.0.113.9", "Via": "1.1 proxy",
    "CF-Connecting-IP": "203.0.113.9", "True-Client-IP": "203.0.113.9",
}  # fmt: skip


@pytest.mark.parametrize("header", PROXIED)
def test_without_a_login_nothing_that_came_through_a_proxy_is_answered(header: str, journal: MemoryJournal):
    door = Door(OpenAccess(), journal, report_token=TOKEN)
    headers = {header: PROXIED[header]}
    answers = [
        door.client.post("/graphql", json=MUTATION, headers=headers),
        door.client.get("/runs", headers=headers),
        door.client.get("/favicon.ico", headers=headers),
        door.client.get("/login", headers=headers),
        door.client.post("/report_asset_check/a", headers={**headers, "Authorization": f"Bearer {'t' * 30}"}),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert "ORDERS_WEB_USERS_FILE" in answers[1].text
    with pytest.raises(WebSocketDisconnect), door.client.websocket_connect(SOCKET, headers=headers):
        pass
    # The same without the header is this machine's.
    assert door.client.post("/graphql", json=MUTATION).json() == [None, "supervisor", True]


def test_with_a_login_a_proxy_may_stand_before_it(door: Door):
    assert door.log_in() == 303
    cookie = {f"__Host-{name}": value for name, value in door.client.cookies.items()}
    door.client.cookies.clear()
    door.client.cookies.update(cookie)
    assert door.comes_in(**{"X-Forwarded-For": "203.0.113.9", "Via": "1.1 proxy"})


def test_a_name_past_this_machine_needs_a_way_to_know_people(tmp_path: Path, users_file: Path):
    named = {"ORDERS_WEB_HOSTNAMES": "localhost, orders.shop.example"}
    for listen in ("127.0.0.1", "localhost", "::1"):
        problems: list[str] = []
        settings = read_web({**named, "ORDERS_WEB_LISTEN": listen}, problems)
        assert "orders.shop.example" in problems[0]
        assert "ORDERS_WEB_USERS_FILE" in problems[0]
        with pytest.raises(SettingsError, match=r"orders\.shop\.example"):
            open_access(settings, Listening(listen, 3000), tmp_path)
        known = WebSettings(hostnames=settings.hostnames, users_file=users_file)
        assert isinstance(open_access(known, Listening(listen, 3000), tmp_path), LoginAccess)
    problems = []
    read_web({"ORDERS_WEB_HOSTNAMES": "localhost,127.0.0.1"}, problems)
    assert problems == []


def _proxy_access() -> Access:
    return ProxyAccess("X-User", (ipaddress.ip_network("10.0.0.1/32"),), None)


def test_the_pages_of_the_login_are_public_only_where_there_is_one(journal: MemoryJournal, door: Door):
    stranger = Door(_proxy_access(), journal, peer="10.0.0.9")
    for method, path in (("GET", "/login"), ("HEAD", "/login"), ("GET", "/logout"), ("GET", "/favicon.ico")):
        assert stranger.client.request(method, path).status_code == 403, path
    # No form either, for who comes from the proxy: there is nothing to log in to.
    named = Door(_proxy_access(), journal, peer="10.0.0.1")
    for path in ("/login", "/logout"):
        headers = {"X-User": "maria", "Origin": "http://127.0.0.1:3000"}
        assert named.client.post(path, headers=headers).status_code == 405
    assert door.client.get("/login").status_code == 200
    assert door.client.get("/favicon.ico").status_code == 200


def test_a_report_by_token_is_told_of_before_it_counts(journal: MemoryJournal):
    door = Door(OpenAccess(), journal, report_token=TOKEN)
    right = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
    path = "/report_asset_check/pii_access_log"
    assert door.client.post(path, params={"passed": "true"}).status_code == 401
    assert journal.entries == []
    assert door.client.post(path, params={"passed": "true"}, headers=right).status_code == 200
    assert journal.entries == [("reported", path)]

    class Broken(MemoryJournal):
        def reported(self, path: str) -> None:
            raise RuntimeError("the audit log cannot be written")

    with pytest.raises(RuntimeError, match="cannot be written"):
        Door(OpenAccess(), Broken(), report_token=TOKEN).client.post(path, headers=right)


def test_a_report_is_one_audit_entry_with_its_path():
    written: list[dict[str, Any]] = []
    audit = SimpleNamespace(record=lambda connection, **entry: written.append(entry))
    AuditJournal(cast(Any, SimpleNamespace(audit=audit, account_ids=lambda: ["A1"]))).reported(
        "/report_asset_check/a\x00" + "b" * 999
    )
    (entry,) = written
    assert (entry["action"], entry["actor"], entry["outcome"]) == ("web_report", "job:web", "requested")
    assert entry["detail"]["path"].startswith("/report_asset_check/a")
    assert entry["detail"]["path"].isprintable()
    assert len(entry["detail"]["path"]) <= 300
