"""Orders without an address: when a person is told, and when it is the role that is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders_pipeline.intake.addresses import address_retry
from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline_tests.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _without_address(world: World, **specification: Any) -> str:
    order_id = world.order(hear=False, **specification)
    world.amazon.withhold_address(order_id, 1e6)
    world.hear()
    _twice(world)
    return order_id


def _twice(world: World) -> None:
    """Held by the first run; asked for again, and counted, by the second."""
    world.sync()
    world.make_due()
    world.sync()


def test_an_address_missing_four_hours_before_ship_by_is_an_alert(world: World):
    patient = _without_address(world, ship_by=datetime.now(UTC) + timedelta(hours=30))
    assert world.alerts() == {}
    urgent = _without_address(world, ship_by=datetime.now(UTC) + timedelta(hours=3))
    alert = world.alerts()["order.no_address"]
    assert (urgent in alert.message, alert.severity) == (True, "error")
    # After an hour without, a person is told of the other one too.
    world.sql("update pipeline.orders set first_seen_at = first_seen_at - interval '61 minutes'")
    world.sql("update pipeline.orders set last_updated_at = last_updated_at - interval '61 minutes'")
    world.alerts()
    open_keys = {row.key for row in world.rows("pipeline.alerts", "key, severity", "closed_at is null")}
    assert open_keys == {f"order.no_address:{urgent}", f"order.no_address:{patient}"}
    world.clock.advance(timedelta(days=30))
    world.make_due()
    world.sync()
    assert world.alerts() == {}


def test_a_role_that_is_missing_is_one_alert_that_names_it(world: World):
    personal = ("name", "companyName", "addressLine1", "addressLine2", "addressLine3", "postalCode", "phone")

    def hide(body: dict[str, Any]) -> None:
        address = body.get("recipient", {}).get("deliveryAddress", {})
        for name in personal:
            address.pop(name, None)

    world.ports.alter = hide
    orders = [world.order(ship_by=datetime.now(UTC) + timedelta(hours=3)) for _ in range(5)]
    _twice(world)
    assert set(world.alerts()) == {"amazon.role"}
    assert "Direct-to-Consumer Shipping (Restricted)" in world.alerts()["amazon.role"].message
    world.ports.alter = None
    world.make_due()
    world.sync()
    assert world.alerts() == {}
    assert {world.state(order_id) for order_id in orders} == {"accepted"}


def test_many_orders_without_any_address_are_one_alert_and_not_one_each(world: World):
    for _ in range(4):
        _without_address(world, ship_by=datetime.now(UTC) + timedelta(hours=3))
    _twice(world)
    assert set(world.alerts()) == {"amazon.role"}
    # Somebody else's address comes: then it is these orders' trouble.
    world.order()
    world.sync()
    assert set(world.alerts()) == {"order.no_address"}


@pytest.mark.parametrize(
    ("waited", "to_ship_by", "expected"),
    [
        (timedelta(0), None, timedelta(seconds=30)),
        (timedelta(minutes=10), None, timedelta(minutes=10)),
        (timedelta(minutes=40), None, timedelta(minutes=20)),
        (timedelta(hours=9), None, timedelta(hours=2)),
        (timedelta(minutes=20), timedelta(hours=4, minutes=5), timedelta(minutes=5)),
        (timedelta(hours=1), timedelta(hours=2), timedelta(hours=1)),
    ],
)
def test_amazon_is_asked_ever_less_often_and_once_more_when_a_person_is_told(
    waited: timedelta, to_ship_by: timedelta | None, expected: timedelta
):
    assert address_retry(NOON - waited, None if to_ship_by is None else NOON + to_ship_by, NOON) == expected


@pytest.mark.parametrize(
    ("fields", "shippable"),
    [
        ({"name": "N", "address_line1": "1", "city": "C"}, True),
        ({"company": "N", "address_line3": "1", "city": "C"}, True),
        # Singapore has no city; a village may have neither city nor postal code, but a district.
        ({"name": "N", "address_line1": "1", "postal_code": "018956"}, True),
        ({"name": "N", "address_line1": "1", "district": "D"}, True),
        ({"name": "N", "address_line1": "1"}, False),
        ({"name": "N", "city": "C"}, False),
        ({"address_line1": "1", "city": "C"}, False),
    ],
)
def test_what_an_address_must_have(fields: dict[str, str], shippable: bool):
    masked: dict[str, Any] = {name: PersonalText(text) for name, text in fields.items()}
    assert Address(**masked, country_code="SG").is_shippable is shippable
    assert not Address(**masked).is_shippable, "without a country"
