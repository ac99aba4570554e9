"""What opens and closes each alert of `orders_pipeline/vault/alerts.py`."""

from __future__ import annotations

import pytest

from orders_pipeline.privacy.erasure.key_destruction import complete_pending_shreds
from orders_pipeline.vault.alerts import KEYS_UNAVAILABLE, REFUSED, SHREDS_PENDING
from orders_pipeline.vault.errors import VaultIntegrityError
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.work.jobs import KEYS
from orders_pipeline.work.pauses import note_refusal, note_success
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _tamper(world: World) -> None:
    order_id = world.accepted()
    world.sql("update vault.records set ciphertext = decode('00', 'hex') || ciphertext where kind = 'shipping_details'")
    with pytest.raises(VaultIntegrityError):
        world.vault.reveal(account_id=SELLER, kind=SHIPPING_DETAILS, subject_id=order_id, purpose="test")


def _store_anew(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        (subject_id,) = [row.subject_id for row in world.rows("vault.records", where="kind = 'shipping_details'")]
        world.vault.store(tx, kind=SHIPPING_DETAILS, subject_id=subject_id, plaintext=b"{}", expires_at=None)


def _shred(world: World) -> None:
    order_id = world.accepted()
    with world.database.transaction(SELLER) as tx:
        world.vault.shred(tx, kind=SHIPPING_DETAILS, subject_id=order_id, reason="test")
    world.sql("update vault_keys.pending_shreds set shredded_at = shredded_at - interval '27 hours'")


def _away(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_refusal(tx, KEYS, None, "AWS KMS did not serve the key")


def _back(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_success(tx, KEYS)


def _nobody_waits(world: World) -> None:
    """Whoever waited for the keys is gone: nobody has tried them for a while."""
    world.sql("update pipeline.paused_dependencies set until = until - interval '1 hour'")
    assert world.jobs() == []


CASES = (
    Case(KEYS_UNAVAILABLE, _away, _back),
    Case(REFUSED, _tamper, _store_anew),
    Case(SHREDS_PENDING, _shred, lambda world: complete_pending_shreds(world.database, world.vault)),
)
# Another end of the same.
NOTHING_WAITS = Case(KEYS_UNAVAILABLE, _away, _nobody_waits)
