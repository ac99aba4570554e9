"""Which host a URL names, and whether a proxy stands before it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

# What parsers of URLs disagree about: where the host begins or ends, and whether there is one.
_TWO_READINGS = re.compile(r"[\\\s\x00-\x20\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060-\u2064\ufeff]")
_HOST_NAME = re.compile(r"[a-z0-9.:-]{1,253}")


def has_one_reading(url: str) -> bool:
    """Whether every parser finds the same host in it: no backslash, no blank, nobody's name before the host."""
    if _TWO_READINGS.search(url):
        return False
    try:
        return "@" not in urlsplit(url).netloc
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine: only there is http accepted."""
    host = _host(url)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxies_for(url: str) -> dict[str, str]:
    """The environment's proxy for this URL, as `requests` takes it; empty for none.

    Only `https` goes through one: it is a tunnel, and the proxy sees the host's name alone. Plain http is spoken on
    loopback only, and a proxy of the environment (`http_proxy`) would be given the token and the buyer's address.
    """
    if not url.startswith("https://") or is_loopback(url):
        return {}
    from requests.utils import get_environ_proxies  # honours no_proxy

    proxies = get_environ_proxies(url)
    proxy = proxies.get("https") or proxies.get("all")
    return {"https": str(proxy)} if proxy else {}


def host_to_name(url: str) -> str | None:
    """The URL's host, if it may be shown; nothing else of the URL, which could hold a secret."""
    host = _host(url)
    return host if _HOST_NAME.fullmatch(host) else None


def _host(url: str) -> str:
    if not has_one_reading(url):
        return ""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
