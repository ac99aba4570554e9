"""Read a webhook of the REST contract: who sent it, when, and the shipment events that it carries.

Signed is the body as it came, byte by byte, with the time before it: JSON that was read and written again has others.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import SecretStr

from orders_pipeline.model.webhook import WebhookRefusal
from orders_pipeline.wms.port import ShipmentPage, WebhookRefused
from orders_pipeline.wms.shipment_events import read_shipment_events

SIGNATURE_HEADER = "x-signature"
# A captured webhook that is sent again later is refused; clocks in step and a sender's few retries fit. Within it, and
# should a clock be set back, an event that is sent again is known by its id.
REPLAY_WINDOW = timedelta(minutes=5)
# A sender that rotates its secret signs with both.
_SIGNATURES_AT_MOST = 4
_TIME, _HEX = re.compile(r"[0-9]{1,11}"), re.compile(r"[0-9a-fA-F]{64}")


def read_webhook(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[SecretStr], now: datetime
) -> ShipmentPage:
    """The events, as `poll` gives them, without a cursor. Raises WebhookRefused.

    `now` is aware. Two secrets during a rotation: one that fits is enough. The signature is looked at before the time
    and the body: who has no secret learns nothing of either.
    """
    given = _signature(headers)
    if given is None:
        raise WebhookRefused(WebhookRefusal.UNSIGNED)
    if not secrets:
        raise WebhookRefused(WebhookRefusal.NO_SECRET)
    sent_at, signatures = given
    signed = f"{sent_at}.".encode() + body
    expected = [hmac.digest(secret.get_secret_value().encode(), signed, "sha256") for secret in secrets]
    # Every pair is compared, each in constant time: how long it takes tells nothing of a secret.
    if True not in [hmac.compare_digest(one, other) for one in expected for other in signatures]:
        raise WebhookRefused(WebhookRefusal.SIGNATURE)
    if abs(now.timestamp() - int(sent_at)) > REPLAY_WINDOW.total_seconds():
        raise WebhookRefused(WebhookRefusal.TIME)
    events, unreadable = read_shipment_events(_entries(body))
    return ShipmentPage(events=events, next_cursor=None, unreadable=unreadable)


def _signature(headers: Mapping[str, str]) -> tuple[str, list[bytes]] | None:
    """The time as it is written, and the signatures of the contract's version; None if there is not one of the first.

    Other keys are other versions of the scheme, and say nothing here.
    """
    header = next((value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER), "")
    times: list[str] = []
    signatures: list[bytes] = []
    for part in header.split(","):
        key, _, value = part.strip(" \t").partition("=")
        if key == "t":
            times.append(value)
        elif key == "v1" and _HEX.fullmatch(value):
            signatures.append(bytes.fromhex(value))
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not 0 < len(signatures) <= _SIGNATURES_AT_MOST:
        return None
    return times[0], signatures


def _entries(body: bytes) -> list[object]:
    """One event, a list of them, or a page as `GET /v1/shipments` answers it (or `events`). Raises WebhookRefused."""
    try:
        read: object = json.loads(body)
    except (ValueError, RecursionError):
        # `from None`: the error holds the body.
        raise WebhookRefused(WebhookRefusal.FORM) from None
    entries = read.get("shipments", read.get("events", [read])) if isinstance(read, dict) else read
    if not isinstance(entries, list):
        raise WebhookRefused(WebhookRefusal.FORM)
    return entries
