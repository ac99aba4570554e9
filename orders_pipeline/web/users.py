"""Who may log in: a file with a line for each person, `NAME:ROLE:HASH`, read again whenever it changes.

HASH is argon2id, made by `orders-pipeline web-user NAME`. A line whose hash is `-` gives a role to somebody whom an
authenticating proxy announces, and no password.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from orders_pipeline.audit.log import is_person
from orders_pipeline.secret_files import exposure
from orders_pipeline.web.visitor import Role

NO_PASSWORD = "-"  # noqa: S105 - the mark of a line without one
PASSWORD_CHARACTERS = 12
# Longer ones only cost time to hash.
PASSWORD_CHARACTERS_AT_MOST = 512
# The least that OWASP names for argon2id (2026): 19 MiB.
_LEAST_MEMORY_KIB = 19_456
_hasher = PasswordHasher()
_logger = logging.getLogger("orders_pipeline.web")


class UsersFileError(Exception):
    """The users file cannot be used; the message says which line and what to do, and holds no hash."""


class NameNotUsable(Exception):
    """The name could not stand in an audit entry."""


class PasswordTooWeak(Exception):
    """The password is not one that Amazon's policy allows."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    role: Role
    password_hash: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Changes with the password, so that it ends the sessions that the old one began."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]


def user_line(name: str, role: Role, password: str) -> str:
    """The line to put into the file. Raises PasswordTooWeak or NameNotUsable."""
    if not is_person(name):
        raise NameNotUsable("A name is made of letters, digits and . _ @ + -, 64 characters at most.")
    kinds = (str.islower, str.isupper, str.isdigit, lambda character: not character.isalnum())
    mixed = sum(any(kind(character) for character in password) for kind in kinds)
    if not PASSWORD_CHARACTERS <= len(password) <= PASSWORD_CHARACTERS_AT_MOST or mixed < 3:
        raise PasswordTooWeak(
            f"A password has at least {PASSWORD_CHARACTERS} characters, of at least three of: lower case, upper case, "
            "digits, others (Amazon's Data Protection Policy, §1.4)."
        )
    return f"{name}:{role}:{_hasher.hash(password)}"


class UsersFile:
    """The people of one file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._read_at: tuple[int, ...] | None = None
        self._users: Mapping[str, User] = {}
        self._warned_of: str | None = None

    def check(self) -> None:
        """Raises UsersFileError for a file that cannot be used, or lets nobody in."""
        if not self._current():
            raise UsersFileError(f"{self._path} names nobody: add a line with `orders-pipeline web-user NAME`")

    def find(self, name: str) -> User | None:
        """Raises UsersFileError once the file cannot be used any more: then nobody is let in."""
        return self._current().get(name)

    def verify(self, name: str, password: str) -> User | None:
        """The person, if the password is theirs. Takes as long for a name that is not there."""
        user = self.find(name)
        known = user is not None and user.password_hash != NO_PASSWORD
        try:
            matches = _hasher.verify(user.password_hash if user and known else _nobody(), password)
        except (VerificationError, InvalidHashError):
            return None
        return user if known and matches else None

    def _current(self) -> Mapping[str, User]:
        with self._guard:
            try:
                found = self._path.stat()
                state = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)
                # At each look: a folder above that is opened changes nothing of the file itself.
                self._refuse_if_exposed()
                if state != self._read_at:
                    self._users = _parse(self._path.read_text(encoding="utf-8"), self._path)
                    self._read_at = state
            except OSError as error:
                raise UsersFileError(f"ORDERS_WEB_USERS_FILE {self._path} cannot be read ({error.strerror})") from None
            except UnicodeError:
                raise UsersFileError(f"ORDERS_WEB_USERS_FILE {self._path} is not UTF-8 text") from None
            return self._users

    def _refuse_if_exposed(self) -> None:
        open_to_others = exposure("ORDERS_WEB_USERS_FILE", self._path)
        if open_to_others is None:
            return
        if open_to_others.refused:
            raise UsersFileError(open_to_others.sentence)
        if open_to_others.sentence != self._warned_of:
            self._warned_of = open_to_others.sentence
            _logger.warning("%s", open_to_others.sentence)


@cache
def _nobody() -> str:
    return _hasher.hash("the password of nobody")


def _parse(text: str, path: Path) -> Mapping[str, User]:
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"{path}, line {number}"
        parts = line.strip().split(":")
        if len(parts) != 3 or not is_person(parts[0]):
            raise UsersFileError(f"{place} is not NAME:ROLE:HASH: make it with `orders-pipeline web-user NAME`")
        name, role, password_hash = parts
        if role not in set(Role):
            raise UsersFileError(f"{place} has an unknown role: use {' or '.join(Role)}")
        if name in users:
            raise UsersFileError(f"{place} names {name} a second time")
        if password_hash != NO_PASSWORD and not _is_strong(password_hash):
            raise UsersFileError(f"{place} has no strong argon2id hash: make it with `orders-pipeline web-user {name}`")
        users[name] = User(name, Role(role), password_hash)
    return users


def _is_strong(password_hash: str) -> bool:
    try:
        parameters = extract_parameters(password_hash)
    except (InvalidHashError, ValueError):
        return False
    return parameters.type is Type.ID and parameters.memory_cost >= _LEAST_MEMORY_KIB and parameters.hash_len >= 16
