"""The doctor says what the warehouse's adapter can ask for, and what a person is asked for instead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from orders_pipeline.operations import doctor
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.wms.port import Capability, ShipmentPage
from orders_pipeline_tests.ports import UnaskedWarehouse


class Answering(UnaskedWarehouse):
    def __init__(self, *capabilities: Capability) -> None:
        self.capabilities = frozenset(capabilities)

    def poll(self, cursor: str | None, limit: int) -> ShipmentPage:
        return ShipmentPage((), None)


@pytest.mark.parametrize(
    ("capabilities", "can", "by_hand"),
    [
        ((Capability.HOLD, Capability.CANCEL, Capability.ERASE_PII), "it can hold (hold an order", None),
        ((Capability.CANCEL, Capability.STOCK), "it can cancel (cancel an order), stock", "hold, erase_pii"),
        ((), "ship orders, no more", "hold, cancel, erase_pii"),
    ],
)
def test_the_doctor_says_what_the_adapter_can_and_what_a_person_does(
    capabilities: tuple[Capability, ...], can: str, by_hand: str | None
):
    deployment = cast(Deployment, SimpleNamespace(warehouse=Answering(*capabilities)))
    result = doctor._warehouse(deployment)
    assert result.ok
    assert can in result.detail
    asked = result.detail.partition("a person is asked in its place for: ")[2]
    assert asked == (by_hand or "")
