"""Who may use the web port: the users file, the login, its lock, sessions, roles, and the header of a proxy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from orders_pipeline.settings import SettingsError
from orders_pipeline.web.access import Access, Listening, LoginAccess, OpenAccess, ProxyAccess, open_access
from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.journal import AuditJournal
from orders_pipeline.web.lockout import FAILURES_AT_MOST, LOCKED_SECONDS, Lockout
from orders_pipeline.web.login import Login
from orders_pipeline.web.origins import Origins
from orders_pipeline.web.sessions import SESSION_SECONDS, Sessions
from orders_pipeline.web.users import NO_PASSWORD, PasswordTooWeak, UsersFile, UsersFileError, user_line
from orders_pipeline.web.visitor import Role
from orders_pipeline.web_settings import LOOPBACK_NETWORKS, WebSettings, read_web
from orders_pipeline_tests.web.door import (
    MUTATION,
    OWN,
    PASSWORD,
    SOCKET,
    Door,
    MemoryJournal,
    login_access,
    write_users,
)


def test_nobody_sees_anything_before_the_login_and_a_page_leads_to_it(door: Door):
    page = door.client.get("/runs?x=1", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fruns%3Fx%3D1")
    assert door.client.get("/runs").status_code == 401
    assert door.client.post("/graphql", json={"query": "{version}"}).status_code == 401
    with pytest.raises(WebSocketDisconnect), door.client.websocket_connect(SOCKET):
        pass


def test_a_login_leads_back_and_only_ever_to_a_page_of_ours(door: Door, journal: MemoryJournal):
    assert door.log_in("not hers") == 401
    assert not door.comes_in()
    for wanted, then in (
        ("/runs", "/runs"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://e.example", "/"),
    ):
        form = {"name": "maria", "password": PASSWORD, "next": wanted}
        answer = door.client.post("/login", data=form, headers=OWN)
        assert (answer.status_code, answer.headers["location"]) == (303, then)
    assert door.client.get("/runs").json() == ["maria", "operator", False]
    assert door.client.post("/graphql", json=MUTATION).json() == ["maria", "operator", True]
    assert journal.entries[:2] == [("failed", "maria"), ("logged in", "maria")]


def test_the_cookie_is_for_this_browser_and_this_site_alone(door: Door, users_file: Path, tmp_path: Path):
    answer = door.client.post("/login", data={"name": "maria", "password": PASSWORD}, headers=OWN)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert f"max-age={SESSION_SECONDS}" in cookie
    assert "secure" not in cookie
    assert SESSION_SECONDS <= 12 * 3600
    # Behind TLS it is also bound to https and to the host.
    behind_tls = GuardRules(Origins(("ui.shop.example",)), login_access(users_file, tmp_path))
    login = Login(_as_login(behind_tls.access), MemoryJournal())
    app = Starlette(routes=login.routes(), middleware=[Middleware(Guard, rules=behind_tls)])
    client = TestClient(app, base_url="https://ui.shop.example", follow_redirects=False)
    form = {"name": "maria", "password": PASSWORD}
    answer = client.post("/login", data=form, headers={"Origin": "https://ui.shop.example"})
    assert answer.headers["set-cookie"].startswith("__Host-")
    assert "secure" in answer.headers["set-cookie"].lower()


def _as_login(access: Access) -> LoginAccess:
    assert isinstance(access, LoginAccess)
    return access


def test_a_form_of_another_page_logs_nobody_in(door: Door):
    form = {"name": "maria", "password": PASSWORD}
    for headers in ({}, {"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "cross-site"}):
        assert door.client.post("/login", data=form, headers=headers).status_code == 403


def test_the_eleventh_login_attempt_locks_only_its_name(door: Door, journal: MemoryJournal):
    for _ in range(FAILURES_AT_MOST):
        assert door.log_in("a guess") == 401
    assert FAILURES_AT_MOST <= 10
    assert journal.entries[-1] == ("locked", "maria")
    assert door.log_in() == 401
    assert journal.entries[-1] == ("locked", "None")
    assert door.log_in(name="victor") == 303
    door.client.cookies.clear()
    door.now += LOCKED_SECONDS - 1
    assert door.log_in() == 401
    door.now += LOCKED_SECONDS
    assert door.log_in() == 303


def test_made_up_names_lock_nobody_out_and_tell_nothing(journal: MemoryJournal):
    lockout = Lockout(lambda: 0.0)
    for _ in range(FAILURES_AT_MOST):
        lockout.begin("maria", "of her password")
    for number in range(5000):
        lockout.begin(f"made-up-{number}", None)
    assert not lockout.begin("maria", "of her password")


def test_a_stranger_cannot_fill_the_audit_log():
    written: list[dict[str, Any]] = []
    audit = SimpleNamespace(record=lambda connection, **entry: written.append(entry))
    journal = AuditJournal(cast(Any, SimpleNamespace(audit=audit, account_ids=lambda: ["A1"])))
    for _ in range(1000):
        journal.login_refused(None, "locked")
    assert [(entry["actor"], entry["outcome"]) for entry in written] == [("job:web", "unknown_or_locked")]
    journal.login_refused("maria", "failed")
    assert written[-1]["detail"] == {"name": "maria"}


def test_a_wrong_name_is_told_and_counted_as_a_wrong_password_is(door: Door, journal: MemoryJournal):
    wrong = [
        door.client.post("/login", data={"name": name, "password": "a guess"}, headers=OWN).text
        for name in ("maria", "nobody")
        for _ in range(FAILURES_AT_MOST + 1)
    ]
    assert len(set(wrong)) == 1
    # What was typed as a name could be a password: it is written nowhere.
    assert "nobody" not in str(journal.entries)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: "# gone",
        lambda line: user_line("maria", Role.OPERATOR, "Another-Password-1"),
        lambda line: "not a users file",
    ],
)  # fmt: skip
def test_who_leaves_the_file_or_gets_a_new_password_is_out_at_once(
    door: Door, users_file: Path, line: str, change: Callable[[str], str]
):
    door.log_in()
    assert door.comes_in()
    with door.client.websocket_connect(SOCKET) as socket:
        socket.send_text("one")
        assert socket.receive_text() == "one"
        write_users(users_file, change(line), line.replace("maria", "peter"))
        assert not door.comes_in()
        socket.send_text("two")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_the_login_is_for_pages_and_not_for_their_parts(door: Door):
    html = {"Accept": "text/html"}
    assert door.client.get("/board", headers=html).headers["location"] == "/login?next=%2Fboard"
    assert door.client.get("/board/refresh", headers={**html, "HX-Request": "true"}).status_code == 401


def test_a_logout_ends_every_copy_of_the_session(door: Door, users_file: Path, tmp_path: Path, journal: MemoryJournal):
    door.log_in()
    copies = dict(door.client.cookies)
    assert door.client.post("/logout", headers=OWN).status_code == 303
    restarted = Door(login_access(users_file, tmp_path), journal)
    for one in (door, restarted):
        one.client.cookies.update(copies)
        assert not one.comes_in()
    assert journal.entries[-1] == ("logged out", "maria")
    restarted.client.cookies.clear()
    restarted.log_in()
    assert restarted.comes_in()


def test_a_session_that_is_forged_or_of_another_folder_is_none(door: Door, users_file: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    user = UsersFile(users_file).find("maria")
    assert user is not None
    for cookie in (Sessions(tmp_path / "other").begin(user), "x", "", Sessions(tmp_path).begin(user)[:-1]):
        door.client.cookies.set("orders_pipeline_3000", cookie)
        assert not door.comes_in()


def test_a_viewer_looks_and_changes_nothing(door: Door):
    door.log_in(name="victor")
    assert door.client.post("/graphql", json={"query": "{version}"}).json() == ["victor", "viewer", False]
    for body in (MUTATION, {"query": "query A{version} mutation B{x}", "operationName": "B"}, {"query": "{"}):
        refused = door.client.post("/graphql", json=body)
        assert refused.status_code == 403
        assert "viewer" in refused.json()["errors"][0]["message"]


def test_read_only_makes_everybody_a_viewer(journal: MemoryJournal):
    door = Door(OpenAccess(), journal, read_only=True)
    assert door.client.post("/graphql", json={"query": "{version}"}).json() == [None, "supervisor", False]
    assert "read-only" in door.client.post("/graphql", json=MUTATION).text


def test_nothing_but_graphql_takes_anything_but_get(journal: MemoryJournal):
    door = Door(OpenAccess(), journal)
    for method, path in itertools.product(
        ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"), ("/", "/runs", "/logs/a")
    ):
        assert door.client.request(method, path).status_code == 405
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert door.client.request(method, "/graphql").status_code == 405
    assert (
        door.client.post("/graphql", content=b"x" * 2_000_001, headers={"Content-Type": "application/json"}).status_code
        == 413
    )


def test_every_answer_carries_the_headers_that_keep_other_pages_away(door: Door):
    for path in ("/login", "/runs", "/graphql", "/_next/a.js"):
        headers = door.client.get(path).headers
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert (headers.get("cache-control") == "no-store") == (not path.startswith("/_next"))


def test_a_link_from_another_site_is_opened_by_a_click_of_the_persons_own(journal: MemoryJournal):
    door = Door(OpenAccess(), journal)
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    shown = door.client.get('/runs/a"><script>?tab=1', headers=followed)
    assert shown.status_code == 403
    assert '<a href="/runs/a%22%3E%3Cscript%3E?tab=1">' in shown.text
    assert door.client.get("/graphql?query={version}", headers=followed).headers["content-type"] == "application/json"


def test_a_proxys_header_is_believed_from_the_proxy_alone(journal: MemoryJournal, users_file: Path):
    networks = read_web({"ORDERS_WEB_PROXY_ADDRESSES": "10.0.0.7, 10.1.0.0/24"}, []).proxy_networks
    access = ProxyAccess("X-Forwarded-User", networks, None)
    proxy = Door(access, journal, peer="10.1.0.9")
    named = {"X-Forwarded-User": "maria@shop.example"}
    assert proxy.client.get("/runs", headers=named).json() == ["maria@shop.example", "operator", False]
    assert not proxy.comes_in()
    assert not proxy.comes_in(**{"X-Forwarded-User": "a name with spaces"})
    twice = proxy.client.get("/runs", headers=[("X-Forwarded-User", "eve"), ("X-Forwarded-User", "maria")])
    assert twice.status_code == 401
    for peer in ("10.0.0.8", "127.0.0.1", "testclient"):
        forged = Door(access, journal, peer=peer)
        assert not forged.comes_in(**named)
        assert not forged.comes_in(**named, **{"X-Forwarded-For": "10.0.0.7"})
    # With a users file the person must be in it, with the role of the line.
    write_users(users_file, f"maria:viewer:{NO_PASSWORD}")
    listed = Door(ProxyAccess("X-Forwarded-User", LOOPBACK_NETWORKS, UsersFile(users_file)), journal)
    assert listed.client.get("/runs", headers={"X-Forwarded-User": "maria"}).json() == ["maria", "viewer", False]
    assert not listed.comes_in(**{"X-Forwarded-User": "eve"})


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5"])
def test_past_this_machine_it_does_not_start_without_a_way_to_know_people(
    address: str, tmp_path: Path, users_file: Path
):
    with pytest.raises(SettingsError, match="ORDERS_WEB_USERS_FILE"):
        open_access(WebSettings(), Listening(address, 3000), tmp_path)
    with pytest.raises(SettingsError, match="ORDERS_WEB_HOSTNAMES"):
        open_access(WebSettings(users_file=users_file), Listening(address, 3000), tmp_path)
    whole = WebSettings(users_file=users_file, hostnames=("ui.shop.example",))
    assert isinstance(open_access(whole, Listening(address, 3000), tmp_path), LoginAccess)
    proxy = WebSettings(proxy_header="X-Forwarded-User", hostnames=("ui.shop.example",))
    assert isinstance(open_access(proxy, Listening(address, 3000), tmp_path), ProxyAccess)
    assert isinstance(open_access(WebSettings(), Listening("127.0.0.1", 3000), tmp_path), OpenAccess)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ORDERS_WEB_LISTEN": "0.0.0.0"}, "lets anybody in"),
        ({"ORDERS_WEB_LISTEN": "ui.shop.example"}, "give an IP address"),
        ({"ORDERS_WEB_HOSTNAMES": "https://ui.shop.example"}, "without scheme"),
        ({"ORDERS_WEB_PROXY_HEADER": "Cookie"}, "X-Forwarded-User"),
        ({"ORDERS_WEB_PROXY_HEADER": "X Forwarded"}, "X-Forwarded-User"),
        ({"ORDERS_WEB_PROXY_ADDRESSES": "proxy"}, "give IP addresses"),
        ({"ORDERS_WEB_PROXY_ADDRESSES": "0.0.0.0/0"}, "every address"),
        ({"ORDERS_WEB_REPORT_TOKEN": "short"}, "shorter than"),
    ],
)  # fmt: skip
def test_a_setting_that_would_open_the_port_is_a_problem(values: dict[str, str], expected: str):
    problems: list[str] = []
    read_web(values, problems)
    assert expected in "; ".join(problems)


def test_a_users_file_that_cannot_be_trusted_lets_nobody_in(tmp_path: Path, line: str):
    weak = PasswordHasher(memory_cost=8, time_cost=1, parallelism=1).hash("x")
    for content, mode, expected in (
        ("maria:operator", 0o600, "line 1 is not NAME:ROLE:HASH"),
        ("maria:admin:-", 0o600, "unknown role"),
        ("maria:operator:secret", 0o600, "no strong argon2id hash"),
        (f"maria:operator:{weak}", 0o600, "no strong argon2id hash"),
        (f"{line}\n{line}", 0o600, "a second time"),
        ("# nobody", 0o600, "names nobody"),
    ):
        with pytest.raises(UsersFileError, match=expected):
            UsersFile(write_users(tmp_path / "users", content, mode=mode)).check()
    with pytest.raises(UsersFileError, match="cannot be read"):
        UsersFile(tmp_path / "missing").check()


def test_a_users_file_that_breaks_later_is_told_to_the_log_and_not_to_strangers(
    door: Door, users_file: Path, caplog: pytest.LogCaptureFixture
):
    door.log_in()
    write_users(users_file, "maria:admin:-")
    for answer in (
        door.client.get("/runs"),
        door.client.post("/login", data={"name": "maria", "password": PASSWORD}, headers=OWN),
    ):
        assert answer.status_code == 503
        assert str(users_file) not in answer.text
    assert f"{users_file}, line 1 has an unknown role" in caplog.text


@pytest.mark.parametrize("password", ["", "Short-1", "onlylowercaseletters", "lower and spaces", "A" * 600 + "a1"])
def test_a_password_is_long_and_mixed(password: str):
    with pytest.raises(PasswordTooWeak):
        user_line("maria", Role.OPERATOR, password)


def test_a_line_without_a_password_opens_no_login(tmp_path: Path):
    users = UsersFile(write_users(tmp_path / "users", f"maria:operator:{NO_PASSWORD}"))
    assert users.verify("maria", NO_PASSWORD) is None
    assert users.verify("maria", "") is None


def test_the_report_endpoints_open_to_their_token_alone(journal: MemoryJournal):
    token = read_web({"ORDERS_WEB_REPORT_TOKEN": "t" * 30}, []).report_token
    closed, opened = Door(OpenAccess(), journal), Door(OpenAccess(), journal, report_token=token)
    right = {"Authorization": f"Bearer {'t' * 30}"}
    for kind in ("materialization", "check", "observation"):
        path = f"/report_asset_{kind}/a/b"
        assert closed.client.post(path, headers=right).status_code == 403
        assert opened.client.post(path).status_code == 401
        assert opened.client.post(path, headers=[(b"Authorization", b"Bearer \xe9")]).status_code == 401
        assert opened.client.get(path, headers=right).status_code == 403
        assert opened.client.post(path, headers={**right, "Origin": "https://e.example"}).status_code == 403
        assert opened.client.post(path, headers=right).json() == [None, "operator", True]
