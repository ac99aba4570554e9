"""Shipping details as bytes, for the vault, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from orders_pipeline.model.order import ItemDetails, ShippingDetails
from orders_pipeline.model.personal import PersonalText
from orders_pipeline.vault.held_words import HeldValues

# The vault's name for this kind of record.
SHIPPING_DETAILS = "shipping_details"
_PLAIN_FIELDS = ("country_code", "address_type")


def shipping_details_to_bytes(details: ShippingDetails) -> bytes:
    """The details in clear, as canonical JSON: hand the result to the vault and to nothing else."""
    document: dict[str, Any] = {}
    for field in fields(ShippingDetails):
        value = getattr(details, field.name)
        if isinstance(value, PersonalText):
            document[field.name] = value.plain()
        elif field.name in _PLAIN_FIELDS and value is not None:
            document[field.name] = value
    document["items"] = {
        item_id: {
            name: text.plain()
            for name, text in (("gift_message", item.gift_message), ("customization_url", item.customization_url))
            if text is not None
        }
        for item_id, item in sorted(details.items.items())
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def shipping_details_from_bytes(content: bytes) -> ShippingDetails:
    """What `shipping_details_to_bytes` wrote. Fields that a newer release added are passed over."""
    document: dict[str, Any] = json.loads(content)
    known: dict[str, Any] = {}
    for field in fields(ShippingDetails):
        if field.name in document and field.name != "items":
            value = document[field.name]
            known[field.name] = value if field.name in _PLAIN_FIELDS else PersonalText(value)
    known["items"] = {
        item_id: ItemDetails(
            gift_message=_personal(item.get("gift_message")), customization_url=_personal(item.get("customization_url"))
        )
        for item_id, item in document.get("items", {}).items()
    }
    return ShippingDetails(**known)


def held_values(details: ShippingDetails) -> HeldValues:
    """The values that would give the buyer away, in clear: hand the result to the vault and to nothing else."""
    texts = [details.address_line1, details.address_line2, details.address_line3, details.company]
    texts += [item.gift_message for item in details.items.values()]
    return HeldValues(names=_plain(details.name), phones=_plain(details.phone), texts=_plain(*texts))


def _plain(*values: PersonalText | None) -> tuple[str, ...]:
    return tuple(value.plain() for value in values if value is not None)


def _personal(value: str | None) -> PersonalText | None:
    return PersonalText(value) if value is not None else None
