"""One record, sealed: AES-256-GCM under a key of its own, that key wrapped by a key-encryption key.

Belongs here: the cryptography of a record and what is authenticated with it. No database.
Elsewhere: where sealed records are kept and who may open them (access), the wrapping keys (keyring, kms).

The key is used once, so a random 96-bit nonce cannot repeat under it. The context (whose, what, of which order) and the
format's version are authenticated twice, with the record and with its wrapped key: neither can be moved to another
order.
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
DATA_KEY_BITS = 256
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that says nothing without its key-encryption key. `version` is that of the format."""

    key_id: str
    wrapped_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    version: int = VERSION


def record_context(*, seller_id: str, kind: str, subject_id: str) -> dict[str, str]:
    """What a record of the vault is bound to: whose it is, what it holds, and of which order."""
    return {"kind": kind, "seller_id": seller_id, "subject_id": subject_id}


def token_context(*, application_id: str, seller_id: str, purpose: str) -> dict[str, str]:
    """What a row of `vault.amazon_tokens` is bound to: its primary key."""
    return {"application_id": application_id, "kind": "amazon_token", "purpose": purpose, "seller_id": seller_id}


def seal(keys: KeyProvider, plaintext: bytes, context: Mapping[str, str]) -> SealedRecord:
    """Encrypt under a fresh key and wrap that key, both bound to the context."""
    data_key = AESGCM.generate_key(DATA_KEY_BITS)
    nonce = os.urandom(NONCE_BYTES)
    ciphertext = AESGCM(data_key).encrypt(nonce, plaintext, _authenticated(VERSION, context))
    wrapped = keys.wrap(data_key, context)
    return SealedRecord(wrapped.key_id, wrapped.blob, nonce, ciphertext)


def open_sealed(keys: KeyProvider, sealed: SealedRecord, context: Mapping[str, str]) -> bytes:
    """The plaintext, or an error: VaultIntegrityError, VaultKeyMissing. Never a part of it.

    For a buyer's data go through `access.Vault.reveal`, which writes the audit record first.
    """
    if sealed.version != VERSION:
        raise VaultIntegrityError(f"A sealed record has format {sealed.version}, which this release does not know.")
    data_key = keys.unwrap(WrappedKey(sealed.key_id, sealed.wrapped_key), context)
    try:
        return AESGCM(data_key).decrypt(sealed.nonce, sealed.ciphertext, _authenticated(sealed.version, context))
    except (InvalidTag, ValueError) as error:
        raise VaultIntegrityError(
            "A sealed record does not authenticate: it was altered, or belongs to another order."
        ) from error


def _authenticated(version: int, context: Mapping[str, str]) -> bytes:
    return b"orders_pipeline record %d\n" % version + canonical(context)
