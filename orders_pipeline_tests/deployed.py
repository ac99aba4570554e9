"""A deployment over a test's database, whose Amazon and warehouse are asked nothing."""

from __future__ import annotations

from pathlib import Path

from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.settings import load_settings
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER


def deployed(database_url: str, folder: Path, **settings: str) -> Deployment:
    """The keyring is the one that `open_world` makes in the same folder."""
    return Deployment(
        load_settings(
            {
                "AMAZON_LWA_CLIENT_ID": "client",
                "AMAZON_LWA_CLIENT_SECRET": "not a secret",
                "AMAZON_LWA_REFRESH_TOKEN": "not a token",
                "AMAZON_SELLER_ID": SELLER,
                "AMAZON_MARKETPLACE_ID": MARKETPLACE,
                "AMAZON_SQS_QUEUE_URL": "/000000000000/orders",
                "WMS_BASE_URL": "http://127.0.0.1:9",
                "WMS_TOKEN": "not a token",
                "ORDERS_DATABASE_URL": database_url,
                "ORDERS_DATA_DIR": str(folder),
                "ORDERS_KEYRING_FILE": str(folder / "keyring.json"),
                **settings,
            }
        )
    )
