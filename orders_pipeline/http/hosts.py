"""Which host a URL names, and whether a proxy stands before it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST_NAME = re.compile(r"[a-z0-9.:-]{1,253}")


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
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
