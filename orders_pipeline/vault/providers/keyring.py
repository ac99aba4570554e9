"""Key-encryption keys in a file of this machine: `keyring.json`, readable by its owner only.

The file is outside the database on purpose: a dump of the database is useless without it. Keep its backups apart from
the database's, and no longer than a buyer's data may be kept: an old keyring and an old dump together open what was
shredded since. A destroyed key leaves its id and the date, so that an error can say "destroyed" instead of "unknown".
"""

from __future__ import annotations

import base64
import fcntl
import glob
import json
import os
import secrets
import stat
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orders_pipeline.vault.errors import (
    KeyInUse,
    KeyProviderUnavailable,
    KeyringUnsafe,
    VaultIntegrityError,
    VaultKeyMissing,
)
from orders_pipeline.vault.keys import WrappedKey, canonical

FILE_VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12
# One destroyed key a day for two years; older ones are of no use to an error message.
DESTROYED_KEYS_REMEMBERED = 730


@dataclass(frozen=True, slots=True)
class _Key:
    key_id: str
    created_at: str
    cipher: AESGCM = field(repr=False)
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Ring:
    current: str
    keys: Mapping[str, _Key]
    destroyed: Mapping[str, str]


class LocalKeyring:
    """The keyring file. Made at first use; read again whenever another process has replaced it.

    `may_be_made` is asked before a file is made where there is none: False while something is wrapped by a lost one.
    """

    def __init__(self, path: Path, may_be_made: Callable[[], bool] = lambda: True) -> None:
        self._path = path
        self._may_be_made = may_be_made
        self._guard = Lock()
        self._seen: tuple[int, int, int] | None = None
        self._ring: _Ring | None = None

    @property
    def is_local(self) -> bool:
        return True

    @property
    def path(self) -> Path:
        return self._path

    def current_key_id(self) -> str:
        return self._load().current

    def key_ids(self) -> tuple[str, ...]:
        ring = self._load()
        return (ring.current, *(key_id for key_id in ring.keys if key_id != ring.current))

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        ring = self._load()
        key = ring.keys[ring.current]
        nonce = os.urandom(NONCE_BYTES)
        return WrappedKey(key.key_id, nonce + key.cipher.encrypt(nonce, data_key, _authenticated(context)))

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        ring = self._load()
        key = ring.keys.get(wrapped.key_id)
        if key is None:
            destroyed_at = ring.destroyed.get(wrapped.key_id)
            fate = f"was destroyed at {destroyed_at}" if destroyed_at else f"is not in the keyring {self._path}"
            raise VaultKeyMissing(f"The key-encryption key {wrapped.key_id} {fate}: what it wrapped cannot be opened.")
        nonce, sealed = wrapped.blob[:NONCE_BYTES], wrapped.blob[NONCE_BYTES:]
        try:
            return key.cipher.decrypt(nonce, sealed, _authenticated(context))
        except (InvalidTag, ValueError) as error:
            raise VaultIntegrityError(
                f"A data key wrapped by {wrapped.key_id} does not authenticate: it was altered, or belongs elsewhere."
            ) from error

    def rewrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> WrappedKey:
        return self.wrap(self.unwrap(wrapped, context), context)

    def add_key(self) -> str:
        self._load()
        with self._locked():
            ring = self._read()
            key = _new_key()
            self._write(_Ring(key.key_id, {**ring.keys, key.key_id: key}, ring.destroyed))
        return key.key_id

    def replace_lost(self, lost: Sequence[str]) -> str:
        """Make a new keyring where the old one is lost for good. Raises KeyInUse while there is one."""
        with self._locked():
            if self._path.exists():
                raise KeyInUse(f"The keyring {self._path} is there: nothing is lost, and nothing was changed.")
            key = _new_key()
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self._write(_Ring(key.key_id, {key.key_id: key}, dict.fromkeys(lost, since)))
        return key.key_id

    def is_destroyed(self, key_id: str) -> bool:
        return key_id in self._load().destroyed

    def destroy_key(self, key_id: str) -> None:
        with self._locked():
            ring = self._read()
            if key_id == ring.current:
                raise KeyInUse(f"The key-encryption key {key_id} is the current one: rotate first.")
            if key_id not in ring.keys:
                return
            remaining = {name: key for name, key in ring.keys.items() if name != key_id}
            destroyed = {**ring.destroyed, key_id: datetime.now(UTC).isoformat(timespec="seconds")}
            remembered = dict(list(destroyed.items())[-DESTROYED_KEYS_REMEMBERED:])
            self._write(replace(ring, keys=remaining, destroyed=remembered))

    def _load(self) -> _Ring:
        with self._guard:
            # A replacement is a new inode: one stat() tells whether another process has rotated the keys.
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self._create()
                status = self._path.stat()
            except OSError as error:
                raise _unreadable(self._path, error) from error
            _refuse_if_others_may_read(status.st_mode, self._path)
            signature = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._ring is None or signature != self._seen:
                self._ring, self._seen = self._read(), signature
            return self._ring

    def _create(self) -> None:
        with self._locked():
            if self._path.exists():  # another process was first
                return
            if not self._may_be_made():
                raise KeyProviderUnavailable(
                    f"The keyring {self._path} is not there, but the database holds what it wrapped: restore it from "
                    "its backup, or set ORDERS_KEYRING_FILE. Lost for good: `orders-pipeline keys replace-lost`."
                )
            key = _new_key()
            self._write(_Ring(key.key_id, {key.key_id: key}, {}))

    def _read(self) -> _Ring:
        try:
            with self._path.open(encoding="utf-8") as file:
                # Of the open file, not of the path: what is checked is what is read.
                _refuse_if_others_may_read(os.fstat(file.fileno()).st_mode, self._path)
                content = json.load(file)
            return _parse(content)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        except (ValueError, KeyError, TypeError):
            # Without its cause: a JSON error carries the whole document.
            raise KeyProviderUnavailable(
                f"The keyring {self._path} is damaged: restore it from a backup. Do not delete it: a new keyring opens "
                "nothing that the old one wrapped."
            ) from None

    def _write(self, ring: _Ring) -> None:
        content = {
            "version": FILE_VERSION,
            "keys": [
                {
                    "key_id": key.key_id,
                    "created_at": key.created_at,
                    "current": key.key_id == ring.current,
                    "key": base64.b64encode(key.secret).decode("ascii"),
                }
                for key in ring.keys.values()
            ],
            "destroyed": dict(ring.destroyed),
        }
        temporary = self._path.with_name(f".{self._path.name}.part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise KeyProviderUnavailable(
                f"The keyring {self._path} cannot be written ({error.strerror}): nothing was changed."
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyProviderUnavailable(
                f"The folder of the keyring {self._path} cannot be written ({error.strerror}): set ORDERS_KEYRING_FILE."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A process that was killed while it wrote left every key behind, also those that are destroyed since.
            for stray in self._path.parent.glob(f".{glob.escape(self._path.name)}.*"):
                stray.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)


def _authenticated(context: Mapping[str, str]) -> bytes:
    # Begins unlike a record's, so that neither can be passed off as the other.
    return b"orders_pipeline key wrap 1\n" + canonical(context)


def _new_key() -> _Key:
    now = datetime.now(UTC)
    secret = AESGCM.generate_key(KEY_BYTES * 8)
    key_id = f"local-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    return _Key(key_id, now.isoformat(timespec="seconds"), AESGCM(secret), secret)


def _parse(content: Any) -> _Ring:
    if content["version"] != FILE_VERSION:
        raise ValueError("unknown version")
    keys: dict[str, _Key] = {}
    current: list[str] = []
    for entry in content["keys"]:
        secret = base64.b64decode(entry["key"], validate=True)
        if len(secret) != KEY_BYTES:
            raise ValueError("wrong key length")
        key = _Key(str(entry["key_id"]), str(entry["created_at"]), AESGCM(secret), secret)
        keys[key.key_id] = key
        if entry["current"]:
            current.append(key.key_id)
    if len(current) != 1:
        raise ValueError("not exactly one current key")
    return _Ring(current[0], keys, {str(name): str(at) for name, at in content.get("destroyed", {}).items()})


def _refuse_if_others_may_read(mode: int, path: Path) -> None:
    if stat.S_IMODE(mode) & 0o077:
        raise KeyringUnsafe(
            f"The keyring {path} can be read or written by others than its owner: run `chmod 600 {path}`, and rotate "
            "the keys if anyone could have read it."
        )


def _unreadable(path: Path, error: OSError) -> KeyProviderUnavailable:
    return KeyProviderUnavailable(f"The keyring {path} cannot be read ({error.strerror}): check ORDERS_KEYRING_FILE.")


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut, or a destroyed key could come back and a new one be lost.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
