"""Open the key provider that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from orders_pipeline.settings import Settings
from orders_pipeline.vault.keys import KeyProvider
from orders_pipeline.vault.providers.keyring import LocalKeyring

KEYRING_FILE_NAME = "keyring.json"


def open_key_provider(settings: Settings, may_be_made: Callable[[], bool] = lambda: True) -> KeyProvider:
    """AWS KMS where ORDERS_KMS_KEY_ID is set, else the keyring file, made at first use if it `may_be_made`.

    Raises SettingsError while the settings that would name the keys cannot be read.
    """
    settings.require_usable()
    if settings.kms_key_id:
        from orders_pipeline.vault.providers.kms import (
            AwsKmsKeys,  # boto3 is slow to import, and most deployments need none
        )

        return AwsKmsKeys(settings.kms_key_id)
    return LocalKeyring(settings.keyring_file or settings.data_dir / KEYRING_FILE_NAME, may_be_made)
