"""Which requests are ours: a table of what browsers and programs send."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from orders_pipeline.web.origins import Origins

OURS = "127.0.0.1:3000"
ORIGINS = Origins(hostnames=("ui.shop.example",), listen="10.0.0.5")
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def _is_refused(headers: list[tuple[str, str]], method: str = "POST") -> bool:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return ORIGINS.refusal(Headers(raw=raw), method=method) is not None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (OURS, None),
        ("localhost:3000", "http://localhost:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        (OURS, f"http://{OURS}"),
        ("10.0.0.5:3000", None),
        ("ui.shop.example", "https://ui.shop.example"),
        ("UI.shop.example:8443", "https://ui.shop.example:8443"),
        # A proxy that passes its own address on as Host.
        (OURS, "https://ui.shop.example"),
    ],
)
def test_our_own_pages_and_programs_are_answered(host: str, origin: str | None):
    headers = [("Host", host), *([("Origin", origin)] if origin else [])]
    assert not _is_refused(headers)
    assert not _is_refused([*headers, ("Sec-Fetch-Site", "same-origin")])
    assert not _is_refused([*headers, ("Sec-Fetch-Site", "none")])


@pytest.mark.parametrize(
    "host",
    ["shop.example", "127.0.0.1.shop.example:3000", "localhost.shop.example", "ui.shop.example.", "0.0.0.0:3000", "",
     "user@127.0.0.1:3000", "127.0.0.1:port", "10.0.0.6:3000", "2130706433", "127.1"],
)  # fmt: skip
def test_another_host_name_is_refused(host: str):
    assert _is_refused([("Host", host)])


def test_no_host_and_two_hosts_are_refused():
    assert _is_refused([])
    assert _is_refused([("Host", OURS), ("Host", "shop.example")])


@pytest.mark.parametrize(
    "origin",
    ["https://shop.example", "http://127.0.0.1:3001", "http://localhost:3000", "https://127.0.0.1:3000.shop.example",
     "null", "", "file://", "http://ui.shop.example", "https://ui.shop.example:8443", f"http://{OURS}/",
     "chrome-extension://abc"],
)  # fmt: skip
def test_another_origin_is_refused_a_different_port_of_this_machine_too(origin: str):
    assert _is_refused([("Host", OURS), ("Origin", origin)])


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_a_request_that_another_page_made_the_browser_send_is_refused(site: str):
    for method in ("GET", "POST"):
        assert _is_refused([("Host", OURS), ("Sec-Fetch-Site", site)], method)
        assert _is_refused([("Host", OURS), ("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", site)], method)


def test_only_a_link_that_a_person_followed_may_be_confirmed_by_them():
    def is_link(method: str, **more: str) -> bool:
        headers = Headers({"host": OURS, "sec-fetch-site": "cross-site", **NAVIGATION, **more})
        refusal = ORIGINS.refusal(headers, method=method)
        assert refusal is not None
        return refusal.is_link

    assert is_link("GET")
    assert not is_link("POST")
    assert not is_link("GET", **{"sec-fetch-dest": "iframe"})
    assert not is_link("GET", upgrade="websocket")
