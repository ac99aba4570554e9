"""A real headless Chromium, driven over the WebDriver protocol, which is plain HTTP: no library is needed for it.

`make test` installs Debian's chromium and chromium-driver where it may. Where there is none, a test that needs it is
skipped and says so; in CI (the variable CI is set) it fails instead.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from orders_pipeline_tests.free_port import free_port

PATIENCE_SECONDS = 60.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
          "--disable-background-networking", "--disable-component-update", "--disable-sync",
          "--window-size=1600,1000"]  # fmt: skip


class Browser:
    """One window."""

    def __init__(self, session_url: str) -> None:
        self._url = session_url

    def open(self, url: str) -> None:
        self._ask("post", "url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """The value that the script returns; a promise is waited for."""
        return self._ask("post", "execute/sync", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int) -> None:
        self._ask("post", "window/rect", {"width": width, "height": height})

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self._ask("get", "screenshot"))

    def text(self) -> str:
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def address(self) -> str:
        return str(self._ask("get", "url"))

    def cookies(self) -> list[dict[str, Any]]:
        return list(self._ask("get", "cookie"))

    def console(self) -> list[str]:
        """What the browser complained of since the last call: refused content, failed requests, errors."""
        return [str(entry["message"]) for entry in self._ask("post", "se/log", {"type": "browser"})]

    def type_into(self, selector: str, text: str) -> None:
        self._ask("post", f"element/{self._find('css selector', selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self._ask("post", f"element/{self._find('css selector', selector)}/click", {})

    def click_text(self, text: str, tag: str = "*") -> None:
        self._ask(
            "post", f"element/{self._find('xpath', f'//{tag}[normalize-space()={text!r}][not(@disabled)]')}/click", {}
        )

    def wait_for(self, ready: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := ready()):
            assert time.monotonic() < deadline, (
                f"{what}: not after {PATIENCE_SECONDS} s at {self.address()}\n{self.text()}"
            )
            time.sleep(0.1)
        return found

    def wait_for_text(self, text: str) -> None:
        self.wait_for(lambda: text in self.text(), f"the text {text!r}")

    def _find(self, using: str, value: str) -> str:
        def look() -> str | None:
            found = self._ask("post", "elements", {"using": using, "value": value})
            return found[0][_ELEMENT] if found else None

        return str(self.wait_for(look, f"the element {value}"))

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = requests.request(method, f"{self._url}/{path}", json=body, timeout=PATIENCE_SECONDS)
        value = answer.json()["value"]
        assert answer.ok, value
        return value


@contextmanager
def chromium(folder: Path) -> Generator[Browser]:
    """A window of a fresh profile in `folder`; the browser is ended with it."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromium and chromedriver are not installed: `make browser` as root on Debian installs them"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    port = free_port()
    with (folder / "chromedriver.log").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    session = ""
    try:
        _await_driver(url, process)
        options = {"binary": browser, "args": [*_FLAGS, f"--user-data-dir={folder / 'profile'}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = requests.post(f"{url}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
        assert answer.ok, answer.text
        session = f"{url}/session/{answer.json()['value']['sessionId']}"
        yield Browser(session)
    finally:
        if session:
            requests.delete(session, timeout=30)
        process.terminate()
        # On a busy machine the browser takes its time to go.
        process.wait(timeout=PATIENCE_SECONDS)


def _await_driver(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "chromedriver ended"
        try:
            if requests.get(f"{url}/status", timeout=5).json()["value"]["ready"]:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError("chromedriver was not ready in time")
