"""Sessions: a signed cookie that says who logged in. Its key, and which sessions were ended, are in the data folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from itsdangerous import BadData, URLSafeTimedSerializer

from orders_pipeline.web.users import User

KEY_FILE = "web_session_key"
ENDED_FILE = "web_sessions_ended.json"
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
    """Thread-safe. Of one data folder: two checkouts know nothing of each other's."""

    def __init__(self, folder: Path) -> None:
        self._ended_file = folder / ENDED_FILE
        self._serializer = URLSafeTimedSerializer(
            _read_or_make_key(folder / KEY_FILE),
            salt="orders_pipeline.web.session",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )
        self._guard = threading.Lock()
        self._ended = _read_ended(self._ended_file)

    def begin(self, user: User) -> str:
        """The cookie's value for a person who has just proved who they are."""
        session = {"id": secrets.token_urlsafe(16), "name": user.name, "of": user.fingerprint}
        return str(self._serializer.dumps(session))

    def read(self, cookie: str) -> Session | None:
        """None for what we did not sign, what is too old, and what was ended."""
        try:
            found = cast(dict[str, str], self._serializer.loads(cookie, max_age=SESSION_SECONDS))
            session = Session(found["id"], found["name"], found["of"])
        except (BadData, KeyError, TypeError):
            return None
        with self._guard:
            return None if session.session_id in self._ended else session

    def end(self, session: Session) -> None:
        """Log out: from here on the cookie is worth nothing, whoever has a copy, also after a restart."""
        with self._guard:
            now = time.time()
            self._ended = {one: until for one, until in self._ended.items() if until > now}
            self._ended[session.session_id] = now + SESSION_SECONDS
            draft = self._ended_file.with_suffix(".new")
            draft.unlink(missing_ok=True)
            _write_private(draft, json.dumps(self._ended).encode())
            draft.replace(self._ended_file)


def _read_or_make_key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        _write_private(path, secrets.token_bytes(_KEY_BYTES))
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SessionKeyError(f"{path} can be read by others: delete it (everybody logs in anew), or chmod 600 it")
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise SessionKeyError(f"{path} is no key of ours: delete it, and everybody logs in anew")
    return key


def _write_private(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _read_ended(path: Path) -> dict[str, float]:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SessionKeyError(
            f"{path} cannot be read ({type(error).__name__}): delete it together with {KEY_FILE}, and all log in anew"
        ) from None
    return {str(one): float(until) for one, until in cast(dict[str, float], found).items()}
