"""The settings of the web port: where it listens, under which names it is reached, and who may use it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from orders_pipeline.settings_group import File, Group, Parts

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = "127.0.0.1"
LOOPBACK_NETWORKS: tuple[IpNetwork, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
# Shorter ones can be guessed from outside.
TOKEN_CHARACTERS = 24
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,63}")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# Headers with a meaning of their own: a person's name in one of them is a mistake, or somebody's attempt.
_TAKEN_HEADERS = ("host", "origin", "cookie", "authorization", "content-type", "content-length", "sec-fetch-site")


def _hostnames(names: tuple[str, ...]) -> tuple[str, ...]:
    lowered = tuple(name.lower() for name in names)
    if wrong := [name for name in lowered if not _HOSTNAME.fullmatch(name)]:
        raise ValueError(f"has {', '.join(wrong)}: give names without scheme, port or path")
    return lowered


def _persons_header(name: str) -> str:
    if not _HEADER.fullmatch(name.strip()) or name.strip().lower() in _TAKEN_HEADERS:
        raise ValueError("is no header for a person's name: use one like X-Forwarded-User")
    return name.strip()


def _long_enough(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < TOKEN_CHARACTERS:
        raise ValueError(f"is shorter than {TOKEN_CHARACTERS} characters")
    return token


def _networks(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    networks: list[IpNetwork] = []
    for part in (part.strip() for part in given.split(",") if part.strip()):
        try:
            network = ipaddress.ip_network(part, strict=False)
        except ValueError:
            raise ValueError(f"has {part!r}: give IP addresses or networks, with commas") from None
        if network.prefixlen == 0:
            raise ValueError("names every address: name the proxy's alone")
        networks.append(network)
    return tuple(networks) or LOOPBACK_NETWORKS


class WebSettings(Group):
    """Who may reach the web port, and how they are known."""

    listen: Annotated[str, AfterValidator(lambda address: address.strip())] = Field(
        default=LOOPBACK, validation_alias="ORDERS_WEB_LISTEN"
    )
    # Names of ours besides this machine's own; what a browser has in its address line.
    hostnames: Annotated[Parts, AfterValidator(_hostnames)] = Field(default=(), validation_alias="ORDERS_WEB_HOSTNAMES")
    users_file: File | None = Field(default=None, validation_alias="ORDERS_WEB_USERS_FILE")
    proxy_header: Annotated[str, AfterValidator(_persons_header)] | None = Field(
        default=None, validation_alias="ORDERS_WEB_PROXY_HEADER"
    )
    # Whose word on `proxy_header` is believed.
    proxy_networks: Annotated[tuple[IpNetwork, ...], BeforeValidator(_networks)] = Field(
        default=LOOPBACK_NETWORKS, validation_alias="ORDERS_WEB_PROXY_ADDRESSES"
    )
    report_token: Annotated[SecretStr, AfterValidator(_long_enough)] | None = Field(
        default=None, validation_alias="ORDERS_WEB_REPORT_TOKEN"
    )
    # Whoever sends it may read the metrics, and nothing else.
    metrics_token: Annotated[SecretStr, AfterValidator(_long_enough)] | None = Field(
        default=None, validation_alias="ORDERS_METRICS_TOKEN"
    )


def read_web(values: Mapping[str, str], problems: list[str]) -> WebSettings:
    """The web port's settings; what is wrong with them is appended to `problems`."""
    web = WebSettings.read_what_is_right(values, problems)
    people_are_known = web.users_file is not None or web.proxy_header is not None
    if listen_problem := problem_with_listening(web.listen, web.hostnames, people_are_known):
        problems.append(listen_problem)
    return web


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
