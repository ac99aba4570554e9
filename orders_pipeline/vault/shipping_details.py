"""Shipping details as bytes, for the vault, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address, ItemDetails, ShippingDetails
from orders_pipeline.vault.identifying_words import IdentifyingValues

# The vault's name for this kind of record.
SHIPPING_DETAILS = "shipping_details"
_ITEM_FIELDS = frozenset(field.name for field in fields(ItemDetails))
_NOT_PERSONAL = frozenset({"country_code", "address_type"})


def shipping_details_to_bytes(details: ShippingDetails) -> bytes:
    """The details in clear, as canonical JSON: hand the result to the vault and to nothing else."""
    document: dict[str, Any] = {name: text for name, text in details.address.plain().items() if text is not None}
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
    address: dict[str, Any] = {
        field.name: text if field.name in _NOT_PERSONAL else PersonalText(text)
        for field in fields(Address)
        if (text := document.get(field.name)) is not None
    }
    items = {
        item_id: ItemDetails(**{name: PersonalText(text) for name, text in item.items() if name in _ITEM_FIELDS})
        for item_id, item in document.get("items", {}).items()
    }
    return ShippingDetails(Address(**address), items)


def identifying_values(details: ShippingDetails) -> IdentifyingValues:
    """The values that would give the buyer away, in clear: hand the result to the vault and to nothing else."""
    address = details.address
    texts = [*address.lines, address.company, *(item.gift_message for item in details.items.values())]
    return IdentifyingValues(names=_plain(address.name), phones=_plain(address.phone), texts=_plain(*texts))


def _plain(*values: PersonalText | None) -> tuple[str, ...]:
    return tuple(value.plain() for value in values if value is not None)
