"""The settings of the web port: where it listens, under which names it is reached, and who may use it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = "127.0.0.1"
LOOPBACK_NETWORKS: tuple[IpNetwork, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
# Shorter ones can be guessed from outside.
REPORT_TOKEN_CHARACTERS = 24
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,63}")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# Headers with a meaning of their own: a person's name in one of them is a mistake, or somebody's attempt.
_TAKEN_HEADERS = ("host", "origin", "cookie", "authorization", "content-type", "content-length", "sec-fetch-site")


class WebSettings(BaseModel):
    """Who may reach the web port, and how they are known."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)

    listen: str = LOOPBACK
    # Names of ours besides this machine's own; what a browser has in its address line.
    hostnames: tuple[str, ...] = ()
    users_file: Path | None = None
    proxy_header: str | None = None
    # Whose word on `proxy_header` is believed.
    proxy_networks: tuple[IpNetwork, ...] = LOOPBACK_NETWORKS
    report_token: SecretStr | None = None


def read_web(values: Mapping[str, str], problems: list[str]) -> WebSettings:
    """The web port's settings; what is wrong with them is appended to `problems`."""
    listen = values.get("ORDERS_WEB_LISTEN", "").strip() or LOOPBACK
    hostnames = tuple(part.lower() for part in _parts(values.get("ORDERS_WEB_HOSTNAMES")))
    wrong = [name for name in hostnames if not _HOSTNAME.fullmatch(name)]
    if wrong:
        problems.append(f"ORDERS_WEB_HOSTNAMES has {', '.join(wrong)}: give names without scheme, port or path")
    users_file = values.get("ORDERS_WEB_USERS_FILE")
    proxy_header = values.get("ORDERS_WEB_PROXY_HEADER", "").strip() or None
    if proxy_header and (not _HEADER.fullmatch(proxy_header) or proxy_header.lower() in _TAKEN_HEADERS):
        problems.append("ORDERS_WEB_PROXY_HEADER is no header for a person's name: use one like X-Forwarded-User")
    token = values.get("ORDERS_WEB_REPORT_TOKEN")
    if token and len(token) < REPORT_TOKEN_CHARACTERS:
        problems.append(f"ORDERS_WEB_REPORT_TOKEN is shorter than {REPORT_TOKEN_CHARACTERS} characters")
    if listen_problem := problem_with_listening(listen, hostnames, bool(users_file or proxy_header)):
        problems.append(listen_problem)
    return WebSettings(
        listen=listen,
        hostnames=hostnames,
        users_file=Path(users_file).expanduser() if users_file else None,
        proxy_header=proxy_header,
        proxy_networks=_networks(values.get("ORDERS_WEB_PROXY_ADDRESSES"), problems),
        report_token=SecretStr(token) if token else None,
    )


def is_loopback_name(hostname: str) -> bool:
    """Whether this host name is this machine's own, for nobody else's browser."""
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def problem_with_listening(address: str, hostnames: tuple[str, ...], people_are_known: bool) -> str | None:
    """Why the UI may not listen at this address under these names, or None."""
    if is_loopback_name(address):
        if people_are_known or all(is_loopback_name(name) for name in hostnames):
            return None
        # Who is reached by such a name has a proxy in front, which all the world may reach.
        return (
            f"the UI would answer to {', '.join(hostnames)} (ORDERS_WEB_HOSTNAMES), which others reach by a proxy, and "
            "lets anybody in: set ORDERS_WEB_USERS_FILE (a login) or ORDERS_WEB_PROXY_HEADER (an authenticating "
            "proxy), or take the names away"
        )
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return f"ORDERS_WEB_LISTEN is {address!r}: give an IP address of this machine, or 0.0.0.0 for all"
    if not people_are_known:
        return (
            f"the UI would listen on {address}, where others reach it, and lets anybody in: set ORDERS_WEB_USERS_FILE "
            "(a login) or ORDERS_WEB_PROXY_HEADER (an authenticating proxy), or listen on 127.0.0.1"
        )
    if not hostnames:
        return f"the UI would listen on {address}: set ORDERS_WEB_HOSTNAMES to the names that browsers reach it by"
    return None


def _networks(value: str | None, problems: list[str]) -> tuple[IpNetwork, ...]:
    networks: list[IpNetwork] = []
    for part in _parts(value):
        try:
            network = ipaddress.ip_network(part, strict=False)
        except ValueError:
            problems.append(f"ORDERS_WEB_PROXY_ADDRESSES has {part!r}: give IP addresses or networks, with commas")
            continue
        if network.prefixlen == 0:
            problems.append("ORDERS_WEB_PROXY_ADDRESSES names every address: name the proxy's alone")
            continue
        networks.append(network)
    return tuple(networks) or LOOPBACK_NETWORKS


def _parts(value: str | None) -> list[str]:
    return [part.strip() for part in (value or "").split(",") if part.strip()]
