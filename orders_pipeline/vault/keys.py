"""Where key-encryption keys come from: one interface, two providers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

# Kept, because json.dumps() would build one for each of a record's contexts, which takes longer than the encryption.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key that only the named key-encryption key opens, and only with the context it was wrapped with."""

    key_id: str
    blob: bytes = field(repr=False)


class KeyProvider(Protocol):
    """Keeps key-encryption keys; wraps and unwraps data keys with them. Thread-safe."""

    @property
    def is_local(self) -> bool:
        """Whether the keys are in a file of this machine: enough for one machine only."""
        ...

    def current_key_id(self) -> str:
        """The key that new data keys are wrapped with."""
        ...

    def key_ids(self) -> tuple[str, ...]:
        """Every key that can still unwrap, the current one first."""
        ...

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """Wrap under the current key. The context is authenticated, not secret."""
        ...

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        """Raises VaultKeyMissing (no such key here) or VaultIntegrityError (tampered, or another context)."""
        ...

    def rewrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> WrappedKey:
        """The same data key under the current key."""
        ...

    def add_key(self) -> str:
        """Make a new key, current from now on; the others still unwrap. Returns its id."""
        ...

    def replace_lost(self, lost: Sequence[str]) -> str:
        """A new key where the lost ones are lost for good: they count as destroyed. Raises KeyInUse if they are not."""
        ...

    def is_destroyed(self, key_id: str) -> bool:
        """Whether it is known that this key opens nothing any more. False for a key that was never here."""
        ...

    def destroy_key(self, key_id: str) -> None:
        """Make the key unusable, for good. Ask `rotation.retire_key`, which first looks whether anything needs it."""
        ...


def canonical(context: Mapping[str, str]) -> bytes:
    """One spelling for a context, whatever the order it was built in: what is authenticated is bytes."""
    return _ENCODER.encode(dict(context)).encode("ascii")
