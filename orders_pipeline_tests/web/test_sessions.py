"""A session is worth what its key and its cookie's name are worth, and a logout holds in every process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.origins import Origins
from orders_pipeline.web.sessions import ENDED_FILE, KEY_FILE, SessionKeyError, Sessions
from orders_pipeline.web.users import User, UsersFile
from orders_pipeline_tests.web.door import OWN, Door, MemoryJournal, login_access

COOKIE = "orders_pipeline_3000"
is_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")


@pytest.fixture
def maria(users_file: Path) -> User:
    found = UsersFile(users_file).find("maria")
    assert found is not None
    return found


def test_the_plain_cookie_counts_on_this_machine_alone(users_file: Path, tmp_path: Path, maria: User):
    value = Sessions(tmp_path).begin(maria)
    rules = GuardRules(Origins(("orders.shop.example",)), login_access(users_file, tmp_path))

    async def show(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    app = Starlette(routes=[Route("/runs", show)], middleware=[Middleware(Guard, rules=rules)])

    def comes_in(base: str, cookie: str, **headers: str) -> bool:
        client = TestClient(app, base_url=base)
        return (
            client.get("/runs", headers={"Cookie": f"{cookie}={value}".encode("latin-1"), **headers}).status_code == 200
        )

    assert comes_in("http://127.0.0.1:3000", COOKIE)
    assert comes_in("http://localhost:3000", COOKIE)
    assert comes_in("https://orders.shop.example", f"__Host-{COOKIE}")
    # A sibling, as evil.shop.example, can set this name for all of shop.example.
    assert not comes_in("https://orders.shop.example", COOKIE)
    # Nor a name that only becomes the other after its strange space is taken off: a browser lets a sibling set that.
    for space in ("\x85", "\xa0", "\x1f"):
        assert not comes_in("https://orders.shop.example", f"{space}__Host-{COOKIE}")
    # Behind a proxy that passes its own address on as Host.
    assert not comes_in("http://127.0.0.1:3000", COOKIE, **{"X-Forwarded-For": "203.0.113.9"})
    assert not comes_in("http://127.0.0.1:3000", COOKIE, Origin="https://orders.shop.example")


def test_a_logout_holds_in_every_process_of_the_folder(
    users_file: Path, tmp_path: Path, journal: MemoryJournal, maria: User
):
    one, other = (Door(login_access(users_file, tmp_path), journal) for _ in range(2))
    assert one.log_in() == 303
    other.client.cookies.update(dict(one.client.cookies))
    assert other.comes_in()
    copy = dict(one.client.cookies)
    one.client.post("/logout", headers=OWN)
    assert not other.comes_in()
    # The other's logout does not undo the first's.
    other.client.cookies.clear()
    assert other.log_in() == 303
    other.client.post("/logout", headers=OWN)
    third = Door(login_access(users_file, tmp_path), journal)
    for door in (one, other, third):
        door.client.cookies.update(copy)
        assert not door.comes_in()


def test_logouts_at_the_same_moment_are_all_kept(tmp_path: Path, maria: User):
    processes = [Sessions(tmp_path) for _ in range(4)]
    cookies = [processes[0].begin(maria) for _ in range(40)]

    def end(number: int) -> None:
        process = processes[number % 4]
        session = process.read(cookies[number])
        assert session is not None
        process.end(session)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, range(40)))
    for process in (*processes, Sessions(tmp_path)):
        assert [process.read(cookie) for cookie in cookies] == [None] * 40


def test_ended_sessions_stay_ended_without_a_readable_file(
    users_file: Path, tmp_path: Path, journal: MemoryJournal, maria: User, caplog: pytest.LogCaptureFixture
):
    sessions = Sessions(tmp_path)
    ended, current = sessions.begin(maria), sessions.begin(maria)
    session = sessions.read(ended)
    assert session is not None
    sessions.end(session)
    assert sessions.read(ended) is None
    (tmp_path / ENDED_FILE).unlink()
    assert sessions.read(ended) is None
    assert sessions.read(current) is not None
    door = Door(login_access(users_file, tmp_path), journal)
    door.client.cookies.set(COOKIE, current)
    for broken in ("{", "[1]", '{"a": "x"}'):
        (tmp_path / ENDED_FILE).write_text(broken)
        (tmp_path / ENDED_FILE).chmod(0o600)
        for path in ("/runs", "/logout"):
            answer = door.client.get(path)
            assert answer.status_code == 503, broken
            assert str(tmp_path) not in answer.text
        with pytest.raises(SessionKeyError, match="delete it"):
            Sessions(tmp_path)
    assert ENDED_FILE in caplog.text


def test_processes_that_start_together_make_one_key(tmp_path: Path, maria: User):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Sessions(tmp_path / "data"), range(16)))
    cookie = made[0].begin(maria)
    assert all(sessions.read(cookie) for sessions in made)


def test_the_key_is_for_its_owner_alone(tmp_path: Path):
    Sessions(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(SessionKeyError, match="read by others"):
        Sessions(tmp_path)


@is_root
@pytest.mark.parametrize("name", [KEY_FILE, ENDED_FILE])
def test_a_key_or_a_list_of_another_user_is_not_used(tmp_path: Path, name: str, maria: User):
    sessions = Sessions(tmp_path)
    cookie = sessions.begin(maria)
    session = sessions.read(cookie)
    assert session is not None
    sessions.end(session)
    os.chown(tmp_path / name, 65534, 65534)
    with pytest.raises(SessionKeyError, match="belongs to another user"):
        Sessions(tmp_path)
