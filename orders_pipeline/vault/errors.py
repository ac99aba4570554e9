"""What can go wrong with the vault, by name.

No message holds content, a key or a plaintext: only ids, and what to do.
"""

from __future__ import annotations


class VaultError(Exception):
    """Anything that the vault refuses."""


class VaultIntegrityError(VaultError):
    """A record does not authenticate: a wrong key, a swapped record, a flipped bit. Nothing of it was returned."""


class VaultKeyMissing(VaultError):
    """The key-encryption key that wraps this record's key is not here: destroyed by a rotation, or never was here."""


class VaultRecordMissing(VaultError):
    """There is no such record: never stored, or shredded."""


class KeyProviderUnavailable(VaultError):
    """The keyring file or AWS KMS cannot be used now; the message says why and what to do."""


class KeyringUnsafe(KeyProviderUnavailable):
    """Others than the owner can read the keyring file."""


class KeyInUse(VaultError):
    """A key-encryption key cannot be destroyed: records would be lost with it."""


class KeyCannotRotate(VaultError):
    """This provider's key is not ours to replace; the message says how it is configured so that it is."""
