"""Confirming shipments: Amazon's rules looked at before sending, and what is left after each fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders_pipeline.channels.amazon.api.confirm_shipment import confirmation_body, ship_date
from orders_pipeline.channels.amazon.client import AmazonClient
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonError, AmazonUnavailable
from orders_pipeline.model.order import OrderParts
from orders_pipeline.model.shipment import ConfirmedItem, ShipmentConfirmation
from orders_pipeline.sandbox.amazon.order import Order
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon, errors
from orders_pipeline_tests.channels.amazon.conftest import OpenSandboxed

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
GOOD = ShipmentConfirmation(
    order_id="111-1111111-1111111",
    marketplace_id="ATVPDKIKX0DER",
    package_reference_id=1,
    carrier_code="UPS",
    tracking_number="1Z999AA10123456784",
    shipped_at=NOW - timedelta(hours=1),
    items=(ConfirmedItem("item-1", 2),),
)


def confirmation_of(order: Order, quantity: int = 1, **changes: Any) -> ShipmentConfirmation:
    confirmation = replace(
        GOOD,
        order_id=order.order_id,
        marketplace_id=order.marketplace_id,
        shipped_at=datetime.now(UTC) - timedelta(minutes=1),
        items=(ConfirmedItem(order.items[0].item_id, quantity),),
    )
    return replace(confirmation, **changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"order_id": "123"}, "3-7-7"),
        ({"package_reference_id": 0}, "package reference id"),
        ({"tracking_number": "  "}, "tracking number"),
        ({"carrier_code": ""}, "carrier code"),
        ({"carrier_code": "Other"}, "carrier's name"),
        ({"carrier_code": "Other", "carrier_name": "X", "marketplace_id": "A21TJRUUN4KGV"}, "refuses"),
        ({"items": ()}, "no items"),
        ({"items": (ConfirmedItem("a", 1), ConfirmedItem("a", 1))}, "twice"),
        ({"items": (ConfirmedItem("a", 0),)}, "not positive"),
        ({"items": (ConfirmedItem("a", 2, ("code",)),)}, "transparency code"),
        ({"cash_on_delivery": True}, "Japan"),
    ],
)
def test_what_amazon_would_refuse_is_refused_before_it_is_sent_and_says_why(
    client: AmazonClient, amazon: CannedAmazon, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(AmazonBadRequest) as caught:
        client.shipments.confirm_shipment(replace(GOOD, shipped_at=datetime.now(UTC), **changes))
    assert problem in str(caught.value)
    assert "was not sent" in str(caught.value)
    assert "Correct it" in str(caught.value)
    assert amazon.asked == []
    assert client.limits.report() == []


def test_the_body_has_a_text_as_reference_and_only_what_is_set() -> None:
    body = confirmation_body(GOOD, GOOD.shipped_at)
    assert body == {
        "marketplaceId": "ATVPDKIKX0DER",
        "packageDetail": {
            "packageReferenceId": "1",
            "carrierCode": "UPS",
            "trackingNumber": "1Z999AA10123456784",
            "shipDate": "2026-11-21T08:00:00.000Z",
            "orderItems": [{"orderItemId": "item-1", "quantity": 2}],
        },
    }


@pytest.mark.parametrize(
    ("shipped", "purchased", "expected"),
    [
        (timedelta(hours=-1), None, timedelta(hours=-1)),
        (timedelta(minutes=5), None, timedelta(0)),  # the warehouse's clock is ahead
        (timedelta(minutes=11), None, "future"),
        (timedelta(hours=-1), timedelta(minutes=-55), timedelta(minutes=-55)),  # and here it is behind
        (timedelta(hours=-1), timedelta(minutes=-45), "before the purchase"),
    ],
)
def test_the_ship_date_is_neither_in_amazons_future_nor_before_the_purchase(
    shipped: timedelta, purchased: timedelta | None, expected: timedelta | str
) -> None:
    confirmation = replace(GOOD, shipped_at=NOW + shipped, purchased_at=NOW + purchased if purchased else None)
    if isinstance(expected, str):
        with pytest.raises(AmazonBadRequest, match=expected):
            ship_date(confirmation, NOW)
    else:
        assert ship_date(confirmation, NOW) == NOW + expected


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(AmazonBadRequest, match="offset"):
        ship_date(replace(GOOD, shipped_at=datetime(2026, 11, 21, 8, 0)), NOW)


def test_a_package_is_confirmed_read_back_and_edited_under_its_reference(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    order = sandbox.add_order(items=[{"quantity": 3}])
    client = open_sandboxed()
    client.shipments.confirm_shipment(confirmation_of(order, 2, carrier_code="Other", carrier_name="Cycle Couriers"))
    client.shipments.confirm_shipment(confirmation_of(order, 1, package_reference_id=2))
    client.shipments.confirm_shipment(confirmation_of(order, 2))  # the carrier has been mapped meanwhile
    packages = client.orders.get_order(order.order_id, OrderParts.PACKAGES).order.packages
    assert packages is not None
    assert [(one.package_reference_id, one.carrier, one.items) for one in packages] == [
        ("1", "UPS", ((order.items[0].item_id, 2),)),
        ("2", "UPS", ((order.items[0].item_id, 1),)),
    ]
    assert packages[0].tracking_number == "1Z999AA10123456784"
    assert open_sandboxed("v0").orders.get_order(order.order_id).order.items[0].quantity_fulfilled == 3


@pytest.mark.parametrize("fault", ["reset_after", "html_500_after", "reset", "html_503", "throttle", "expired_token"])
def test_after_any_passing_fault_there_is_exactly_one_package(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, fault: str
) -> None:
    order = sandbox.add_order(items=[{"quantity": 2}])
    client = open_sandboxed()
    sandbox.amazon.faults.add(fault, "confirmShipment")
    client.shipments.confirm_shipment(confirmation_of(order, 1))
    packages = client.orders.get_order(order.order_id, OrderParts.PACKAGES).order.packages
    assert packages is not None
    assert [(one.package_reference_id, one.items) for one in packages] == [("1", ((order.items[0].item_id, 1),))]
    outcomes = [one.outcome for one in sandbox.amazon.ledger.confirmations_of(order.order_id)]
    assert outcomes.count("created") == 1
    assert set(outcomes) <= {"created", "repeated"}


def test_a_confirmation_without_an_answer_is_reported_as_unknown(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox
) -> None:
    order = sandbox.add_order()
    sandbox.amazon.faults.add("reset_after", "confirmShipment", times=None)
    with pytest.raises(AmazonUnavailable) as caught:
        open_sandboxed().shipments.confirm_shipment(confirmation_of(order))
    assert "no answer" in str(caught.value)
    sandbox.amazon.faults.clear()
    packages = open_sandboxed().orders.get_order(order.order_id, OrderParts.PACKAGES).order.packages
    assert packages is not None
    assert len(packages) == 1


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda sandbox: sandbox.add_order(programs=["FBM_SHIP_PLUS"]), "Ship+"),
        (lambda sandbox: sandbox.add_order(fulfilled_by="AMAZON"), "fulfilled by Amazon"),
        (lambda sandbox: sandbox.add_order(status="PENDING"), "PENDING"),
    ],
)
def test_what_only_amazon_can_know_comes_back_in_its_words_and_is_not_repeated(
    open_sandboxed: OpenSandboxed, sandbox: Sandbox, prepare: Callable[[Sandbox], Order], said: str
) -> None:
    order = prepare(sandbox)
    with pytest.raises(AmazonBadRequest) as caught:
        open_sandboxed().shipments.confirm_shipment(confirmation_of(order))
    assert said in str(caught.value)
    assert caught.value.code == "InvalidInput"
    assert len(sandbox.amazon.ledger.confirmations_of(order.order_id)) == 1


def test_an_order_that_counts_as_fulfilled_has_a_code_of_its_own(client: AmazonClient, amazon: CannedAmazon) -> None:
    said = "Failed to create package due to not finding a matching package … PackageToUpdateNotFound"
    amazon.lay(Canned(400, errors("Invalid Input", said)))
    with pytest.raises(AmazonError) as caught:
        client.shipments.confirm_shipment(replace(GOOD, shipped_at=datetime.now(UTC)))
    assert caught.value.code == "PackageToUpdateNotFound"
