"""Sessions: a signed cookie that says who logged in. Its key, and which sessions were ended, are in the data folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from itsdangerous import BadData, URLSafeTimedSerializer

from orders_pipeline.secret_files import exposure
from orders_pipeline.web.users import User

KEY_FILE = "web_session_key"
ENDED_FILE = "web_sessions_ended.json"
_LOCK_FILE = "web_sessions.lock"
# A working day; then the password is asked for again.
SESSION_SECONDS = 8 * 3600
_KEY_BYTES = 32


class SessionKeyError(Exception):
    """The key that signs sessions cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Session:
    session_id: str
    name: str
    fingerprint: str


class Sessions:
    """Thread-safe. The processes of one data folder share what was ended; two folders know nothing of each other's."""

    def __init__(self, folder: Path) -> None:
        """Raises SessionKeyError."""
        self._folder = folder
        self._ended_file = folder / ENDED_FILE
        self._serializer = URLSafeTimedSerializer(
            _read_or_make_key(folder),
            salt="orders_pipeline.web.session",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )
        self._guard = threading.Lock()
        self._ended: dict[str, float] = {}
        self._read_at: tuple[int, ...] | None = None
        self._read_ended_again()

    def begin(self, user: User) -> str:
        """The cookie's value for a person who has just proved who they are."""
        session = {"id": secrets.token_urlsafe(16), "name": user.name, "of": user.fingerprint}
        return str(self._serializer.dumps(session))

    def read(self, cookie: str) -> Session | None:
        """None for what we did not sign, what is too old, and what was ended.

        Raises SessionKeyError while it cannot be known which sessions were ended.
        """
        try:
            found = cast(dict[str, str], self._serializer.loads(cookie, max_age=SESSION_SECONDS))
            session = Session(found["id"], found["name"], found["of"])
        except (BadData, KeyError, TypeError):
            return None
        with self._guard:
            self._read_ended_again()
            return None if session.session_id in self._ended else session

    def is_ended(self, session_id: str) -> bool:
        """Whether this session, which we began, was ended. Raises SessionKeyError while that cannot be known."""
        with self._guard:
            self._read_ended_again()
            return session_id in self._ended

    def end(self, session: Session) -> None:
        """Log out: from here on the cookie is worth nothing, whoever has a copy, in every process, after a restart too.

        Raises SessionKeyError where that could not be written.
        """
        with _alone(self._folder), self._guard:
            self._read_ended_again()
            ended = {**self._ended, session.session_id: time.time() + SESSION_SECONDS}
            draft = self._ended_file.with_suffix(".new")
            draft.unlink(missing_ok=True)
            _write_private(draft, json.dumps(ended).encode())
            draft.replace(self._ended_file)
            self._ended = ended

    def _read_ended_again(self) -> None:
        """If another process has written it. What is known to have ended stays so, whatever became of the file."""
        state = _state(self._ended_file)
        if state == self._read_at:
            return
        now = time.time()
        known = {**self._ended, **(_read_ended(self._ended_file) if state else {})}
        self._ended = {one: until for one, until in known.items() if until > now}
        self._read_at = state


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """One process, and one thread of it, at a time writes the files of sessions in this folder."""
    try:
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SessionKeyError(f"{folder}: the files of sessions cannot be written ({error.strerror})") from None


def _read_or_make_key(folder: Path) -> bytes:
    path = folder / KEY_FILE
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        with contextlib.suppress(FileExistsError):
            _write_private(path, secrets.token_bytes(_KEY_BYTES))
        _refuse_if_exposed(path)
        key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise SessionKeyError(f"{path} is no key of ours: delete it, and everybody logs in anew")
    return key


def _refuse_if_exposed(path: Path) -> None:
    """Raises OSError or SessionKeyError. Whoever can read the key, or change what was ended, can be anybody."""
    # We made it for its owner alone: a closed folder above is no excuse.
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SessionKeyError(f"{path} can be read by others: delete it (everybody logs in anew), or chmod 600 it")
    if open_to_others := exposure(path.name, path):
        raise SessionKeyError(f"{open_to_others.sentence}, or delete it (everybody logs in anew)")


def _write_private(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _state(path: Path) -> tuple[int, ...] | None:
    """Another one says that the file was written, or its owner or mode changed; None while it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SessionKeyError(f"{path} cannot be read ({error.strerror})") from None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read_ended(path: Path) -> dict[str, float]:
    try:
        _refuse_if_exposed(path)
        found = cast(dict[str, float], json.loads(path.read_text(encoding="utf-8")))
        return {str(one): float(until) for one, until in found.items()}
    except FileNotFoundError:
        return {}
    except (AttributeError, OSError, TypeError, ValueError) as error:
        raise SessionKeyError(
            f"{path} cannot be read ({type(error).__name__}): delete it together with {KEY_FILE}, start anew, and all "
            "log in anew"
        ) from None
