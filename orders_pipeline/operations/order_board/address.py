"""Where an order goes, for one person who says why: read through the vault's one door, after its audit entry."""

from __future__ import annotations

from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultError, VaultRecordMissing
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, shipping_details_from_bytes


class AddressNotShown(Exception):
    """There is none to show; the message says why and holds nothing of it. The try is in the audit log as well."""


def read_address(
    vault: Vault, *, account_id: str, order_id: str, reason: str, actor: str
) -> tuple[tuple[str, str], ...]:
    """(field, text in clear) of the address alone. For an answer that nobody keeps: no log, no cache, no file.

    The entry that says who reads it and why is committed before. Raises AddressNotShown.
    """
    try:
        content = vault.reveal(
            account_id=account_id, kind=SHIPPING_DETAILS, subject_id=order_id, purpose=reason, actor=actor
        )
    except VaultRecordMissing:
        raise AddressNotShown("No address of this order is kept: it has not come, or it was destroyed.") from None
    except VaultError as error:
        raise AddressNotShown(f"The address cannot be opened ({type(error).__name__}): the runbook, Vault.") from None
    address = shipping_details_from_bytes(content).address.plain()
    return tuple((name.replace("_", " "), escaped(text)) for name, text in address.items() if text)
