"""Is a request ours, or was a browser made to send it by a page of somebody else?

Three things tell, and a page can forge none of them: `Host` (another name that was made to resolve to this machine),
`Origin` (another page's script or form), `Sec-Fetch-Site` (another page's image, link or frame). Programs that are no
browsers send neither of the last two.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers

from orders_pipeline.web_settings import is_loopback_name

_DEFAULT_PORTS = {"http": 80, "https": 443}
# What proxies, tunnels and content networks add to a request that they pass on.
_FORWARDED_PREFIX = "x-forwarded"
_FORWARDED = (
    "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for",
    "x-original-host", "true-client-ip", "cf-connecting-ip", "cdn-loop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered, in a sentence for the person who meets it."""

    why: str
    status: int = 403
    # A page of somebody else links to ours: the person may go on by a click of their own.
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Origins:
    """Which hosts are ours: this machine's loopback names, the address listened on, and the configured names."""

    hostnames: tuple[str, ...] = ()
    listen: str = "127.0.0.1"

    def refusal(self, headers: Headers, *, method: str) -> Refusal | None:
        """Why this request is refused, or None. `method` is GET for a websocket's handshake."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or (host := _authority(hosts[0])) is None:
            return Refusal("The request names no host, or several.", status=400)
        if not self._is_ours(host.hostname or ""):
            return Refusal(
                "This host name is not one of the UI's own. Use http://127.0.0.1 with its port, or have the name added "
                "to ORDERS_WEB_HOSTNAMES."
            )
        origins = headers.getlist("origin")
        if len(origins) > 1 or (origins and not self._is_our_origin(origins[0], host)):
            return Refusal("The request was sent by a page that is not the UI's own, or over http past this machine.")
        return _refusal_by_fetch_metadata(headers, method)

    def _is_ours(self, hostname: str) -> bool:
        if is_loopback_name(hostname) or hostname in self.hostnames:
            return True
        # An address in the address line cannot be made to mean another machine.
        return hostname == self.listen and not ipaddress.ip_address(self.listen).is_unspecified

    def _is_our_origin(self, origin: str, host: SplitResult) -> bool:
        parsed = _split(origin)
        if parsed is None or parsed.scheme not in _DEFAULT_PORTS or parsed.path or parsed.query or parsed.fragment:
            return False  # also "null", a sandboxed frame's
        hostname = parsed.hostname or ""
        if not is_loopback_name(hostname) and parsed.scheme != "https":
            return False  # a session past this machine is worth https
        port = parsed.port or _DEFAULT_PORTS[parsed.scheme]
        if hostname == host.hostname and port == (host.port or _DEFAULT_PORTS[parsed.scheme]):
            return True
        # A proxy that passes its own address on as Host.
        return hostname in self.hostnames and port == _DEFAULT_PORTS[parsed.scheme]


def was_passed_on(headers: Headers) -> bool:
    """Whether a proxy says that it passed this request on. One that says nothing is not seen."""
    return any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIX) for name in headers)


def stays_on_this_machine(headers: Headers) -> bool:
    """Whether the browser and this process are on one machine, where http is as good as https."""
    host = _authority(headers.get("host", ""))
    is_here = host is not None and is_loopback_name(host.hostname or "")
    return is_here and not was_passed_on(headers) and not headers.get("origin", "").startswith("https:")


def _refusal_by_fetch_metadata(headers: Headers, method: str) -> Refusal | None:
    sites: Sequence[str] = headers.getlist("sec-fetch-site")
    if all(site.strip().lower() in ("same-origin", "none") for site in sites):
        return None
    is_link = (
        method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and headers.get("upgrade") is None
    )
    return Refusal("The request was sent by a page of another site.", is_link=is_link)


def _authority(host: str) -> SplitResult | None:
    parsed = _split(f"//{host}")
    if parsed is None or not parsed.hostname or parsed.path or parsed.query or parsed.fragment or "@" in host:
        return None
    return parsed


def _split(url: str) -> SplitResult | None:
    try:
        parsed = urlsplit(url)
        _ = parsed.port  # raises for what is no port
    except ValueError:
        return None
    return parsed
