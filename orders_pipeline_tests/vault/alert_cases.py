"""What opens and closes each alert of `orders_pipeline/vault/alerts.py`."""

from __future__ import annotations

from orders_pipeline.vault.alerts import KEYS_UNAVAILABLE
from orders_pipeline.work.jobs import KEYS
from orders_pipeline.work.pauses import note_refusal, note_success
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.world import World


def _away(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_refusal(tx, KEYS, None, "AWS KMS did not serve the key")


def _back(world: World) -> None:
    with world.database.transaction(SELLER) as tx:
        note_success(tx, KEYS)


CASES: tuple[Case, ...] = (Case(KEYS_UNAVAILABLE, begin=_away, end=_back),)
