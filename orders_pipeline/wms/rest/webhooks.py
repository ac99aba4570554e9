"""Read the webhook of a warehouse that speaks the REST contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import SecretStr

from orders_pipeline.wms.port import ShipmentPage, WebhookRefused


def read_webhook(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[SecretStr], now: datetime
) -> ShipmentPage:
    """The events of a call whose signature one of the secrets made. Raises WebhookRefused."""
    raise WebhookRefused("signature")
