"""AWS KMS as the key provider, against moto's server over HTTP.

Moto lets a key that waits for its deletion go on working; AWS refuses it in any cryptographic operation (its reference
for ScheduleKeyDeletion says so). The client used here adds that refusal before the call goes out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.envelope import open_sealed, record_context, seal
from orders_pipeline.vault.errors import (
    KeyCannotRotate,
    KeyProviderUnavailable,
    VaultIntegrityError,
    VaultKeyMissing,
)
from orders_pipeline.vault.keys import WrappedKey
from orders_pipeline.vault.providers.choice import open_key_provider
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.providers.kms import AwsKmsKeys
from orders_pipeline.vault.rotation import complete_shreds, pending_shreds, retire_key, rotate_keys
from orders_pipeline_tests.aws import ThreadedServer
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.vault.conftest import CANARY, KIND

ALIAS = "alias/orders"
CONTEXT = record_context(account_id=SELLER, kind=KIND, subject_id="111-2")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadedServer() as url:
        yield url


@pytest.fixture
def kms(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client: Any = boto3.client("kms")
    for alias in client.list_aliases()["Aliases"]:
        if alias["AliasName"].startswith(ALIAS):
            client.delete_alias(AliasName=alias["AliasName"])
    key = client.create_key()["KeyMetadata"]["KeyId"]
    client.create_alias(AliasName=ALIAS, TargetKeyId=key)
    return client


def strict_keys(kms: Any) -> AwsKmsKeys:
    client = boto3.client("kms")

    def refuse_unless_enabled(params: dict[str, Any], **_: Any) -> None:
        request = json.loads(params["body"])
        for name in ("KeyId", "SourceKeyId", "DestinationKeyId"):
            if name in request and kms.describe_key(KeyId=request[name])["KeyMetadata"]["KeyState"] != "Enabled":
                raise ClientError({"Error": {"Code": "KMSInvalidStateException"}}, "any")

    for operation in ("Encrypt", "Decrypt", "ReEncrypt"):
        client.meta.events.register(f"before-call.kms.{operation}", refuse_unless_enabled)
    return AwsKmsKeys(ALIAS, client)


@pytest.fixture
def keys(kms: Any) -> AwsKmsKeys:
    return strict_keys(kms)


def test_the_setting_chooses_kms(kms: Any) -> None:
    keys = open_key_provider(load_settings({"ORDERS_KMS_KEY_ID": ALIAS}))
    assert isinstance(keys, AwsKmsKeys)
    assert not keys.is_local


def test_kms_opens_a_record_only_in_its_own_context(keys: AwsKmsKeys) -> None:
    sealed = seal(keys, CANARY, CONTEXT)
    assert open_sealed(keys, sealed, CONTEXT) == CANARY
    with pytest.raises(VaultIntegrityError):
        open_sealed(keys, sealed, CONTEXT | {"subject_id": "111-3"})
    altered = bytes([*sealed.wrapped_key[:-1], sealed.wrapped_key[-1] ^ 1])
    with pytest.raises(VaultIntegrityError):
        keys.unwrap(WrappedKey(sealed.key_id, altered), CONTEXT)


def test_a_settlement_moves_living_records_and_leaves_shredded_ones_without_a_key(
    database: Database, keys: AwsKmsKeys, audit: AuditLog, kms: Any
) -> None:
    vault = Vault(database, keys, audit)
    with database.transaction(SELLER) as tx:
        for order_id in ("111-1", "111-2"):
            vault.store(tx, kind=KIND, subject_id=order_id, plaintext=CANARY, expires_at=None)
        before = seal(keys, CANARY, CONTEXT)
        vault.shred(tx, kind=KIND, subject_id="111-2", reason="delivered")
    former = keys.current_key_id()
    completed = complete_shreds(database, keys, audit)
    assert completed is not None
    assert completed.destroyed == (former,)
    assert completed.shreds_completed == 1
    assert kms.describe_key(KeyId=former)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert keys.key_ids() == (keys.current_key_id(),) != (former,)
    assert vault.reveal(account_id=SELLER, kind=KIND, subject_id="111-1", purpose="push") == CANARY
    with pytest.raises(VaultKeyMissing):
        open_sealed(keys, before, CONTEXT)


def test_a_process_that_still_knows_the_former_key_wraps_under_the_new_one(keys: AwsKmsKeys, kms: Any) -> None:
    other = strict_keys(kms)
    former = other.current_key_id()
    keys.add_key()
    keys.destroy_key(former)
    assert other.wrap(bytes(32), CONTEXT).key_id == keys.current_key_id()


def test_every_version_of_the_alias_stays_known_until_it_is_destroyed(keys: AwsKmsKeys) -> None:
    first = keys.current_key_id()
    second, third = keys.add_key(), keys.add_key()
    assert keys.key_ids()[0] == third
    assert set(keys.key_ids()) == {first, second, third}
    keys.destroy_key(first)
    keys.destroy_key(first)  # again, as after a crash
    assert set(keys.key_ids()) == {second, third}


def test_a_key_that_is_named_directly_is_not_replaced(database: Database, keys: AwsKmsKeys, audit: AuditLog) -> None:
    direct = AwsKmsKeys(keys.current_key_id())
    assert direct.key_ids() == (keys.current_key_id(),)
    with pytest.raises(KeyCannotRotate, match="alias"):
        rotate_keys(database, direct, audit, purpose="test")


def test_a_kms_that_does_not_answer_is_an_error_that_says_what_to_check(
    kms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(KeyProviderUnavailable, match="check ORDERS_KMS_KEY_ID"):
        AwsKmsKeys(ALIAS).current_key_id()


def test_only_the_audit_log_proves_a_former_providers_key_destroyed(
    database: Database, keys: AwsKmsKeys, audit: AuditLog, tmp_path: Path
) -> None:
    keyring = LocalKeyring(tmp_path / "keyring.json")
    former = Vault(database, keyring, audit)
    with database.transaction(SELLER) as tx:
        former.store(tx, kind=KIND, subject_id="111-1", plaintext=CANARY, expires_at=None)
        former.shred(tx, kind=KIND, subject_id="111-1", reason="cancelled")
    complete_shreds(database, keys, audit)
    assert pending_shreds(database).records == 1, "the keyring still opens an old dump"
    (key_id,) = keyring.key_ids()
    keyring.add_key()
    retire_key(database, keyring, audit, key_id, purpose="moved to KMS")
    complete_shreds(database, keys, audit)
    assert pending_shreds(database).records == 0
