"""Key-encryption keys in AWS KMS: they never leave it, and every use is in CloudTrail with the order that it was for.

To rotate, ORDERS_KMS_KEY_ID must be an alias: a new key is made, the alias moved to it, and the old key scheduled for
deletion. KMS refuses a key that waits for its deletion at once, and forgets it after 7 days, its shortest delay; give
the pipeline's role kms:ScheduleKeyDeletion but not kms:CancelKeyDeletion, so that it cannot take a shredding back.
KMS's own yearly rotation keeps all former key material: it completes no shred.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from orders_pipeline.http.aws import aws_client
from orders_pipeline.vault.errors import (
    KeyCannotRotate,
    KeyInUse,
    KeyProviderUnavailable,
    VaultIntegrityError,
    VaultKeyMissing,
)
from orders_pipeline.vault.keys import WrappedKey

# Another process may move the alias; what was wrapped by the former key meanwhile is re-wrapped by the next rotation.
ALIAS_TRUSTED_SECONDS = 60
DELETION_DELAY_DAYS = 7

_ALTERED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_GONE = frozenset({"NotFoundException", "KMSInvalidStateException", "DisabledException"})


class AwsKmsKeys:
    """AWS KMS, found by boto3's own rules (region, credentials, AWS_ENDPOINT_URL_KMS)."""

    def __init__(self, key_id: str, client: Any = None) -> None:
        self._configured = key_id
        # A push, and a tick that parks a message, wait for this.
        self._client: Any = client or aws_client("kms", connect_seconds=2, read_seconds=5, attempts=3)
        self._guard = Lock()
        self._current: str | None = None
        self._current_until = 0.0

    @property
    def is_local(self) -> bool:
        return False

    def current_key_id(self) -> str:
        with self._guard:
            if self._current is None or time.monotonic() >= self._current_until:
                answer = self._call(self._client.describe_key, self._configured, KeyId=self._configured)
                self._current = str(answer["KeyMetadata"]["Arn"])
                self._current_until = time.monotonic() + ALIAS_TRUSTED_SECONDS
            return self._current

    def key_ids(self) -> tuple[str, ...]:
        current = self.current_key_id()
        older = [key_id for key_id in self._aliases().values() if key_id != current]
        return (current, *dict.fromkeys(older))

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        key_id = self.current_key_id()
        try:
            return self._encrypt(key_id, data_key, context)
        except VaultKeyMissing:
            # The alias was moved and the former key disabled since we looked.
            self._drop_current()
            return self._encrypt(self.current_key_id(), data_key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        answer = self._call(
            self._client.decrypt,
            wrapped.key_id,
            KeyId=wrapped.key_id,
            CiphertextBlob=wrapped.blob,
            EncryptionContext=dict(context),
        )
        return bytes(answer["Plaintext"])

    def rewrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> WrappedKey:
        # One call, and the data key does not leave KMS.
        answer = self._call(
            self._client.re_encrypt,
            wrapped.key_id,
            CiphertextBlob=wrapped.blob,
            SourceKeyId=wrapped.key_id,
            SourceEncryptionContext=dict(context),
            DestinationKeyId=(current := self.current_key_id()),
            DestinationEncryptionContext=dict(context),
        )
        return WrappedKey(current, bytes(answer["CiphertextBlob"]))

    def add_key(self) -> str:
        alias = self._alias()
        self._drop_current()
        former = self.current_key_id()
        if former not in self._aliases().values():
            # The key that the alias was made with: without a name of its own it would be lost sight of.
            self._name_version(alias, former)
        answer = self._call(
            self._client.create_key,
            alias,
            Description="orders_pipeline: wraps the keys of buyers' data",
            Tags=[{"TagKey": "orders_pipeline", "TagValue": "vault"}],
        )
        made = str(answer["KeyMetadata"]["Arn"])
        self._name_version(alias, made)
        self._call(self._client.update_alias, alias, AliasName=alias, TargetKeyId=made)
        self._drop_current()
        return made

    def replace_lost(self, lost: Sequence[str]) -> str:
        raise KeyInUse("AWS KMS keeps its keys: make another alias and set ORDERS_KMS_KEY_ID.")

    def is_destroyed(self, key_id: str) -> bool:
        try:
            answer = self._call(self._client.describe_key, key_id, KeyId=key_id)
        except VaultKeyMissing:
            # Of another provider, account or region, or gone for long: the audit log knows which of these were ours.
            return False
        return str(answer["KeyMetadata"].get("KeyState")) in ("PendingDeletion", "PendingReplicaDeletion")

    def destroy_key(self, key_id: str) -> None:
        self._drop_current()
        if key_id == self.current_key_id():
            raise KeyInUse(f"The key-encryption key {key_id} is the current one: rotate first.")
        names = [name for name, named in self._aliases().items() if named == key_id]
        # It may wait for its deletion already: an earlier attempt came this far.
        with suppress(VaultKeyMissing):
            self._call(
                self._client.schedule_key_deletion,
                key_id,
                # Without the account: a key is deleted by its own account only, and moto knows it by this name.
                KeyId=key_id.rsplit("/", 1)[-1],
                PendingWindowInDays=DELETION_DELAY_DAYS,
            )
        for name in names:
            self._call(self._client.delete_alias, key_id, AliasName=name)

    def _encrypt(self, key_id: str, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        answer = self._call(
            self._client.encrypt, key_id, KeyId=key_id, Plaintext=data_key, EncryptionContext=dict(context)
        )
        return WrappedKey(key_id, bytes(answer["CiphertextBlob"]))

    def _alias(self) -> str:
        name = self._configured.rsplit(":", 1)[-1]
        if not name.startswith("alias/"):
            raise KeyCannotRotate(
                "ORDERS_KMS_KEY_ID names a key, and that key is not ours to replace: make an alias for it "
                "(aws kms create-alias) and set ORDERS_KMS_KEY_ID=alias/<name>."
            )
        return name

    def _aliases(self) -> dict[str, str]:
        """Each version's own alias, and its key."""
        name = self._configured.rsplit(":", 1)[-1]
        if not name.startswith("alias/"):
            return {}
        family = self.current_key_id().rsplit("/", 1)[0]
        found: dict[str, str] = {}
        request: dict[str, str] = {}
        while True:
            answer = self._call(self._client.list_aliases, name, **request)
            for entry in answer["Aliases"]:
                if entry["AliasName"].startswith(f"{name}-v-") and "TargetKeyId" in entry:
                    found[entry["AliasName"]] = f"{family}/{entry['TargetKeyId']}"
            if not answer.get("Truncated"):
                return found
            request = {"Marker": answer["NextMarker"]}

    def _name_version(self, alias: str, key_id: str) -> None:
        version = f"{alias}-v-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self._call(self._client.create_alias, key_id, AliasName=version, TargetKeyId=key_id)

    def _drop_current(self) -> None:
        with self._guard:
            self._current = None

    def _call(self, operation: Callable[..., Any], key_id: str, **request: Any) -> Any:
        try:
            return operation(**request)
        except ClientError as error:
            _raise(error.response.get("Error", {}).get("Code", "unknown"), key_id)
        except BotoCoreError as error:
            _raise(type(error).__name__, key_id)


def _raise(code: str, key_id: str) -> NoReturn:
    # Without the cause: botocore's text may repeat what was sent.
    if code in _ALTERED:
        raise VaultIntegrityError(
            f"A data key wrapped by {key_id} does not authenticate: it was altered, or belongs elsewhere."
        ) from None
    if code in _GONE:
        raise VaultKeyMissing(
            f"The key-encryption key {key_id} is gone, disabled or waits for its deletion ({code}): what it wrapped "
            "cannot be opened."
        ) from None
    raise KeyProviderUnavailable(
        f"AWS KMS did not serve the key {key_id} ({code}): check ORDERS_KMS_KEY_ID, the region, and that this role may "
        "kms:Encrypt, kms:Decrypt, kms:ReEncrypt* and kms:DescribeKey."
    ) from None
