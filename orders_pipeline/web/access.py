"""How people are known: not at all (this machine alone), by a login, or by the header of an authenticating proxy."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from starlette.datastructures import Headers

from orders_pipeline.audit.log import is_person
from orders_pipeline.settings import SettingsError
from orders_pipeline.web.origins import Refusal, stays_on_this_machine
from orders_pipeline.web.sessions import Session, SessionKeyError, Sessions
from orders_pipeline.web.users import UsersFile, UsersFileError
from orders_pipeline.web.visitor import Role, Visitor
from orders_pipeline.web_settings import IpNetwork, WebSettings, problem_with_listening

_logger = logging.getLogger("orders_pipeline.web")


class Access(Protocol):
    """Who sent this request: a visitor, or why nobody is let in by it."""

    def visitor(self, scope: Mapping[str, Any]) -> Visitor | Refusal: ...

    def session_id(self, scope: Mapping[str, Any]) -> str | None:
        """The login that this request belongs to, to be found again without its cookie; None where nobody logs in."""
        ...

    def comes_back(self, scope: Mapping[str, Any], session_id: str | None) -> Visitor | Refusal:
        """Who of that login comes back from another site, whose links carry no session's cookie.

        The caller knows that it is the same browser.
        """
        ...


class LoginRequired(Refusal):
    """The person may log in, and ask again."""


def refusal_of_all(error: UsersFileError | SessionKeyError) -> Refusal:
    """The file's path and lines are for who runs the UI, not for who stands at its door."""
    _logger.error("Nobody is let in: %s", error)
    file = "users file" if isinstance(error, UsersFileError) else "file of ended sessions"
    return Refusal(f"Nobody can be let in: the {file} cannot be used. The log of the UI says why.", status=503)


class OpenAccess:
    """Whoever reaches the port, which is on loopback. Nobody is known by name.

    The guard lets nothing come here that a proxy passed on.
    """

    def visitor(self, scope: Mapping[str, Any]) -> Visitor | Refusal:
        # As who types the commands on this machine, `reveal` among them.
        return Visitor(None, Role.SUPERVISOR)

    def session_id(self, scope: Mapping[str, Any]) -> str | None:
        return None

    def comes_back(self, scope: Mapping[str, Any], session_id: str | None) -> Visitor | Refusal:
        return self.visitor(scope)


class LoginAccess:
    """Who has a session of a person that is still in the users file, with the password that it was begun with."""

    def __init__(self, users: UsersFile, sessions: Sessions, cookie: str) -> None:
        self.users = users
        self.sessions = sessions
        self.cookie = cookie

    def session(self, scope: Mapping[str, Any]) -> Session | None:
        """Raises SessionKeyError where it cannot be known whether the session was ended."""
        headers = Headers(scope=dict(scope))
        # https has a name of its own, which no other host can set (the prefix __Host-). The plain name can be set by a
        # sibling for the whole domain: it counts on this machine alone.
        value = _cookie(headers, f"__Host-{self.cookie}")
        if not value and stays_on_this_machine(headers):
            value = _cookie(headers, self.cookie)
        return self.sessions.read(value) if value else None

    def visitor(self, scope: Mapping[str, Any]) -> Visitor | Refusal:
        try:
            session = self.session(scope)
            if session is None:
                return LoginRequired("Log in first: /login", status=401)
            user = self.users.find(session.name)
        except (UsersFileError, SessionKeyError) as error:
            return refusal_of_all(error)
        if user is None or user.fingerprint != session.fingerprint:
            return LoginRequired("Log in again: /login", status=401)
        return Visitor(user.name, user.role)

    def session_id(self, scope: Mapping[str, Any]) -> str | None:
        """Raises SessionKeyError. With the person and the password's fingerprint, which end it too."""
        session = self.session(scope)
        return None if session is None else f"{session.session_id}:{session.fingerprint}:{session.name}"

    def comes_back(self, scope: Mapping[str, Any], session_id: str | None) -> Visitor | Refusal:
        known_id, fingerprint, name = (session_id or "::").split(":", 2)
        try:
            user = self.users.find(name) if known_id and not self.sessions.is_ended(known_id) else None
        except (UsersFileError, SessionKeyError) as error:
            return refusal_of_all(error)
        if user is None or user.fingerprint != fingerprint:
            return LoginRequired("Log in again: /login", status=401)
        return Visitor(user.name, user.role)


class ProxyAccess:
    """Whom the proxy names. Its header is believed from the proxy's own address alone, and without it nobody gets in.

    With a users file the person must be in it, and has the role of its line; without one, everybody whom the proxy lets
    through may operate.
    """

    def __init__(self, header: str, networks: tuple[IpNetwork, ...], users: UsersFile | None) -> None:
        self._header = header
        self._networks = networks
        self._users = users

    def visitor(self, scope: Mapping[str, Any]) -> Visitor | Refusal:
        if not self._is_proxy(scope.get("client")):
            return Refusal("The UI is reached through its proxy only (ORDERS_WEB_PROXY_ADDRESSES).")
        names = Headers(scope=dict(scope)).getlist(self._header)
        if len(names) != 1 or not is_person(names[0]):
            # Two: the proxy passed on what the client had sent, beside its own.
            return Refusal(f"The proxy must set {self._header} once, to the person's name.", status=401)
        if self._users is None:
            return Visitor(names[0], Role.OPERATOR)
        try:
            user = self._users.find(names[0])
        except UsersFileError as error:
            return refusal_of_all(error)
        return Visitor(user.name, user.role) if user else Refusal("This person is not in ORDERS_WEB_USERS_FILE.")

    def session_id(self, scope: Mapping[str, Any]) -> str | None:
        return None

    def comes_back(self, scope: Mapping[str, Any], session_id: str | None) -> Visitor | Refusal:
        # The proxy names the person on every request, also on one that another site led here.
        return self.visitor(scope)

    def _is_proxy(self, peer: tuple[str, int] | None) -> bool:
        try:
            address = ipaddress.ip_address(peer[0] if peer else "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _cookie(headers: Headers, name: str) -> str:
    """Its value. Names are compared to the letter: browsers let other hosts set one with a strange space before it."""
    for part in ";".join(headers.getlist("cookie")).split(";"):
        found, _, value = part.strip(" ").partition("=")
        if found == name:
            return value
    return ""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen, checked."""

    address: str
    port: int


def open_access(settings: WebSettings, listening: Listening, data_dir: Path) -> Access:
    """Raises SettingsError, UsersFileError or SessionKeyError where the UI would not be safe to serve."""
    people_are_known = bool(settings.users_file or settings.proxy_header)
    if problem := problem_with_listening(listening.address, settings.hostnames, people_are_known):
        raise SettingsError((problem,))
    users = UsersFile(settings.users_file) if settings.users_file else None
    if users is not None:
        users.check()
    if settings.proxy_header:
        return ProxyAccess(settings.proxy_header, settings.proxy_networks, users)
    if users is not None:
        # Cookies are shared by all ports of a host: two checkouts side by side keep theirs apart by name.
        return LoginAccess(users, Sessions(data_dir), f"orders_pipeline_{listening.port}")
    return OpenAccess()
