"""One record, sealed: AES-256-GCM under a key of its own, that key wrapped by a key-encryption key.

No database.

The key is used once, so a random 96-bit nonce cannot repeat under it. The context (whose, what, of which order) and the
format's version are authenticated twice, with the record and with its wrapped key: neither can be moved to another
order. A record of the vault carries its seal's number as well (format 2), which is authenticated with its content: an
older record that is put back in its place has an older number (`vault/rows.py`). Format 1 has none: Amazon's tokens,
which live for an hour, and records from before migration 0008.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orders_pipeline.vault.errors import VaultIntegrityError
from orders_pipeline.vault.keys import KeyProvider, WrappedKey, canonical

VERSION = 1
NUMBERED = 2
DATA_KEY_BITS = 256
NONCE_BYTES = 12
# Of `vault.amazon_tokens`: what Amazon does not give again by itself. The rest of the name follows behind @ or :.
REFRESH_PURPOSE = "refresh"
CLIENT_SECRET_PURPOSE = "client_secret"  # noqa: S105 - a name
LASTING_PURPOSES = (f"{REFRESH_PURPOSE}@", f"{CLIENT_SECRET_PURPOSE}:")


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that says nothing without its key-encryption key. `version`: of the format; `number`: its seal's."""

    key_id: str
    wrapped_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    version: int = VERSION
    number: int = 0


def record_context(*, account_id: str, kind: str, subject_id: str) -> dict[str, str]:
    """What a record of the vault is bound to: its account, what it holds, and of which order.

    The names are authenticated, so the account keeps the name that the first release sealed records under.
    """
    return {"kind": kind, "seller_id": account_id, "subject_id": subject_id}


def token_context(*, application_id: str, account_id: str, purpose: str) -> dict[str, str]:
    """What a row of `vault.amazon_tokens` is bound to: its primary key."""
    return {"application_id": application_id, "kind": "amazon_token", "purpose": purpose, "seller_id": account_id}


def seal(keys: KeyProvider, plaintext: bytes, context: Mapping[str, str], *, number: int | None = None) -> SealedRecord:
    """Encrypt under a fresh key and wrap that key, both bound to the context; the content to the seal's number too."""
    version = VERSION if number is None else NUMBERED
    data_key = AESGCM.generate_key(DATA_KEY_BITS)
    nonce = os.urandom(NONCE_BYTES)
    ciphertext = AESGCM(data_key).encrypt(nonce, plaintext, _authenticated(version, number or 0, context))
    wrapped = keys.wrap(data_key, context)
    return SealedRecord(wrapped.key_id, wrapped.blob, nonce, ciphertext, version, number or 0)


def open_sealed(keys: KeyProvider, sealed: SealedRecord, context: Mapping[str, str]) -> bytes:
    """The plaintext, or an error: VaultIntegrityError, VaultKeyMissing. Never a part of it.

    For a buyer's data go through `access.Vault.reveal`, which writes the audit record first.
    """
    if sealed.version not in (VERSION, NUMBERED):
        raise VaultIntegrityError(f"A sealed record has format {sealed.version}, which this release does not know.")
    data_key = keys.unwrap(WrappedKey(sealed.key_id, sealed.wrapped_key), context)
    try:
        authenticated = _authenticated(sealed.version, sealed.number, context)
        return AESGCM(data_key).decrypt(sealed.nonce, sealed.ciphertext, authenticated)
    except (InvalidTag, ValueError) as error:
        raise VaultIntegrityError(
            "A sealed record does not authenticate: it was altered, or belongs to another order."
        ) from error


def _authenticated(version: int, number: int, context: Mapping[str, str]) -> bytes:
    seal_number = b"" if version == VERSION else b"seal %d\n" % number
    return b"orders_pipeline record %d\n" % version + seal_number + canonical(context)
