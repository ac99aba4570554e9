"""The board behind the guard, served by a real server in this process, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright
from starlette.applications import Starlette
from starlette.middleware import Middleware

from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.settings import load_settings
from orders_pipeline.web.access import Access, ProxyAccess
from orders_pipeline.web.board.routes import Board
from orders_pipeline.web.guard import Guard, GuardRules
from orders_pipeline.web.origins import Origins
from orders_pipeline.web.users import UsersFile
from orders_pipeline.web_settings import LOOPBACK_NETWORKS
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.free_port import free_port
from orders_pipeline_tests.web.board.shop import CANADA
from orders_pipeline_tests.web.door import MemoryJournal, write_users

PERSON = "X-Forwarded-User"
PEOPLE = ("maria:operator:-", "peter:operator:-", "victor:viewer:-", "susan:supervisor:-")
DESKTOP: ViewportSize = {"width": 1600, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
_NOBODY = "http://127.0.0.1:9"


def board_deployment(database_url: str, folder: Path) -> Deployment:
    """As a process opens it; nobody answers for Amazon or the warehouse, and the board asks neither."""
    folder.chmod(0o700)
    return Deployment(
        load_settings(
            {
                "ORDERS_DATABASE_URL": database_url,
                "ORDERS_DATA_DIR": str(folder),
                "AMAZON_LWA_CLIENT_ID": "client",
                "AMAZON_LWA_CLIENT_SECRET": "secret",
                "AMAZON_LWA_REFRESH_TOKEN": "token",
                "AMAZON_SELLER_ID": SELLER,
                "AMAZON_MARKETPLACE_ID": f"{MARKETPLACE},{CANADA}",
                "AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/orders",
                "AMAZON_SPAPI_ENDPOINT": _NOBODY,
                "AMAZON_LWA_ENDPOINT": _NOBODY,
                "WMS_BASE_URL": _NOBODY,
                "WMS_TOKEN": "token",
            }
        )
    )


def people(folder: Path) -> Access:
    """Known by a header that a proxy on this machine sets, as in a deployment with one."""
    return ProxyAccess(PERSON, LOOPBACK_NETWORKS, UsersFile(write_users(folder / "users", *PEOPLE)))


def board_app(deployment: Deployment, access: Access, **rules: Any) -> Starlette:
    journal = MemoryJournal()
    guard = Middleware(Guard, rules=GuardRules(Origins(), access, journal=journal, **rules))
    return Starlette(routes=list(Board(deployment).routes()), middleware=[guard])


@contextmanager
def served(app: Starlette) -> Generator[str]:
    """The application at a port of its own; its address."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="board")
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@contextmanager
def chromium() -> Generator[Browser]:
    """Debian's, headless. Skipped where it is not installed; in CI that is a failure."""
    path = shutil.which("chromium")
    if path is None:
        missing = "chromium is not installed: `make browser` as root on Debian installs it"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@dataclass
class Window:
    """A page of one person, and what the browser complained of there: refused content, errors of scripts."""

    page: Page
    complaints: list[str]

    def cards(self, column: str) -> list[str]:
        """The order ids of a column, as they stand there."""
        return self.page.locator(f"#column-{column} .card a.open").all_inner_texts()


@contextmanager
def window(
    browser: Browser, url: str, person: str = "maria", size: ViewportSize = DESKTOP, **options: Any
) -> Generator[Window]:
    context: BrowserContext = browser.new_context(
        base_url=url,
        viewport=size,
        extra_http_headers={PERSON: person},
        **options,
    )
    context.set_default_timeout(15_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield Window(page, complaints)
    finally:
        context.close()
