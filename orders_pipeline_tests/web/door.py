"""The guard and the login before an application that says who came through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from orders_pipeline.web.access import Access, Listening, LoginAccess, open_access
from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.lockout import Lockout
from orders_pipeline.web.login import Login
from orders_pipeline.web.origins import Origins
from orders_pipeline.web.visitor import visitor_of
from orders_pipeline.web_settings import WebSettings

URL = "http://127.0.0.1:3000"
PASSWORD = "Correct-Horse-9"
SOCKET = "ws://127.0.0.1:3000/graphql"
OWN = {"Origin": URL}
MUTATION = {"query": "mutation{launchRun{__typename}}"}


class MemoryJournal:
    def __init__(self) -> None:
        self.entries: list[tuple[str, ...]] = []

    def logged_in(self, name: str) -> None:
        self.entries.append(("logged in", name))

    def login_refused(self, name: str | None, outcome: str) -> None:
        self.entries.append((outcome, str(name)))

    def logged_out(self, name: str) -> None:
        self.entries.append(("logged out", name))

    def changes(self, name: str, mutation: str) -> None:
        self.entries.append((mutation, name))

    def reported(self, path: str) -> None:
        self.entries.append(("reported", path))

    def webhooks_refused(self, counts: Mapping[str, int]) -> None:
        self.entries += [(reason, str(count)) for reason, count in counts.items()]


class Door:
    """The guard and the login's pages before an application that says who came through."""

    def __init__(self, access: Access, journal: MemoryJournal, *, peer: str = "127.0.0.1", **rules: Any) -> None:
        origins = Origins()
        self.now = 0.0
        routes = [Route("/graphql", _echo, methods=["GET", "POST"]), WebSocketRoute("/graphql", _socket)]
        if isinstance(access, LoginAccess):
            routes = [*Login(access, journal, Lockout(lambda: self.now)).routes(), *routes]
        guard = Middleware(Guard, rules=GuardRules(origins, access, journal=journal, **rules))
        app = Starlette(routes=[*routes, Route("/{path:path}", _echo, methods=["GET", "POST"])], middleware=[guard])
        self.client = TestClient(app, base_url=URL, client=(peer, 1), follow_redirects=False)

    def log_in(self, password: str = PASSWORD, name: str = "maria", **more: str) -> int:
        form = {"name": name, "password": password, **more}
        return self.client.post("/login", data=form, headers=OWN).status_code

    def comes_in(self, **headers: str) -> Any:
        return self.client.get("/runs", headers=headers).status_code == 200


async def _echo(request: Request) -> Response:
    visitor = visitor_of(request.scope)
    return JSONResponse([visitor.name, visitor.role, visitor.may_change] if visitor else None)


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def login_access(users_file: Path, folder: Path) -> Access:
    return open_access(WebSettings(users_file=users_file), Listening("127.0.0.1", 3000), folder)


def write_users(path: Path, *lines: str, mode: int = 0o600) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path
