"""What can happen to an order in a day, how often it does, and where it should end."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.sandbox.amazon.order import (
    AMAZON,
    BUSINESS,
    MERCHANT,
    PENDING,
    PRIME,
    TRANSPARENCY,
    Order,
    OrderItem,
)
from orders_pipeline.sandbox.day.catalogue import PRODUCTS
from orders_pipeline.sandbox.day.people import People

# Expectations.
CONFIRMED = "confirmed"
STOPPED = "cancelled"
NOT_OURS = "not_ours"
HELD = "held"
STAYS_PENDING = "pending"


@dataclass(frozen=True)
class Scenario:
    name: str
    expectation: str
    share: float
    at_least: int = 0  # in a day of a hundred orders or more


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("single_item", CONFIRMED, 0.40),
        Scenario("several_items", CONFIRMED, 0.235),
        Scenario("fulfilled_by_amazon", NOT_OURS, 0.15),
        Scenario("cancelled_while_pending", STOPPED, 0.04),
        Scenario("cancelled_at_once", STOPPED, 0.04),
        Scenario("cancelled_after_push", STOPPED, 0.04, at_least=2),
        Scenario("request_after_push", STOPPED, 0.01, at_least=1),
        Scenario("request_stands", HELD, 0.02, at_least=1),
        Scenario("request_granted", STOPPED, 0.02, at_least=1),
        Scenario("stays_pending", STAYS_PENDING, 0.025, at_least=1),
        Scenario("unknown_carrier", CONFIRMED, 0.008, at_least=1),
        Scenario("voided_package", CONFIRMED, 0.006, at_least=1),
        Scenario("relabelled_package", CONFIRMED, 0.006, at_least=1),
        Scenario("runs_short", CONFIRMED, 0.006, at_least=1),
    )
}
# Played only where asked for.
LATE_ADDRESS = Scenario("late_address", CONFIRMED, 0.02, at_least=2)
TRANSPARENCY_ITEM = Scenario("transparency_item", HELD, 0.01, at_least=1)
SEVERAL_LINES = ("several_items", "runs_short", "voided_package", "relabelled_package")


@dataclass
class PlannedOrder:
    order: Order
    scenario: Scenario


class DayPlan:
    """Draws orders. The same seed gives the same orders; only their times are those of today."""

    def __init__(
        self, *, seed: int, people: People, seller_id: str, marketplace_id: str, extra: tuple[Scenario, ...] = ()
    ) -> None:
        self._seed = seed
        self._people = people
        self._seller_id = seller_id
        self._marketplace_id = marketplace_id
        self._scenarios = [*SCENARIOS.values(), *extra]

    def orders(self, count: int, now: datetime) -> list[PlannedOrder]:
        names = [scenario for scenario in self._scenarios for _ in range(self._how_many(scenario, count))]
        ordinary = self._scenarios[0]
        names = (names + [ordinary] * count)[:count]
        random.Random(f"{self._seed}:scenarios").shuffle(names)
        return [self.draw(index, scenario, now) for index, scenario in enumerate(names)]

    def any_scenario(self, index: int) -> Scenario:
        chance = random.Random(f"{self._seed}:endless:{index}")
        return chance.choices(self._scenarios, [scenario.share for scenario in self._scenarios])[0]

    def draw(self, index: int, scenario: Scenario, now: datetime) -> PlannedOrder:
        chance = random.Random(f"{self._seed}:{index}")
        order_id = (
            f"{chance.randint(111, 114)}-{index:03d}{chance.randint(0, 9999):04d}-{chance.randint(0, 9999999):07d}"
        )
        if index > 999:
            order_id = f"{chance.randint(111, 114)}-{index % 10_000_000:07d}-{chance.randint(0, 9999999):07d}"
        by_amazon = scenario.name == "fulfilled_by_amazon"
        business = chance.random() < 0.1
        prime = not by_amazon and chance.random() < 0.15
        created = now - timedelta(minutes=chance.uniform(5, 180))
        ship_by = _end_of_day(now) if prime else _end_of_day(now + timedelta(days=chance.randint(0, 1)))
        order = Order(
            order_id=order_id,
            seller_id=self._seller_id,
            marketplace_id=self._marketplace_id,
            status=PENDING,
            fulfilled_by=AMAZON if by_amazon else MERCHANT,
            created=_whole_seconds(created),
            last_updated=_whole_seconds(created),
            service_level="SECOND_DAY" if prime else chance.choice(("STANDARD", "STANDARD", "EXPEDITED")),
            ship_by=(_whole_seconds(created), ship_by),
            deliver_by=(ship_by + timedelta(days=1), ship_by + timedelta(days=2 if prime else 5)),
            address=self._people.address(chance, order_id, business=business),
            buyer=self._people.buyer(chance, order_id, business=business),
            items=self._items(chance, order_id, scenario),
            programs=[*([PRIME] if prime else []), *([BUSINESS] if business else [])],
        )
        return PlannedOrder(order, scenario)

    def _items(self, chance: random.Random, order_id: str, scenario: Scenario) -> list[OrderItem]:
        lines = chance.randint(2, 4) if scenario.name in SEVERAL_LINES else 1
        items: list[OrderItem] = []
        for line, product in enumerate(chance.sample(PRODUCTS, lines)):
            gift = self._people.canary or chance.random() < 0.12
            custom = product.customizable and (self._people.canary or chance.random() < 0.5)
            items.append(
                OrderItem(
                    item_id=f"{chance.randint(10**13, 10**14 - 1)}",
                    sku=product.sku,
                    asin=product.asin,
                    title=product.title,
                    quantity=chance.choice((1, 1, 1, 2, 3)),
                    unit_price=product.price,
                    gift_message=self._people.gift_message(chance, order_id, line) if gift else None,
                    gift_wrap_level="Classic" if gift else None,
                    customization_url=self._people.customization_url(chance, order_id, line) if custom else None,
                    programs=[TRANSPARENCY] if scenario.name == "transparency_item" else [],
                )
            )
        return items

    def _how_many(self, scenario: Scenario, count: int) -> int:
        if scenario is self._scenarios[0]:
            return 0  # the ordinary ones fill up the day
        number = round(scenario.share * count)
        return max(number, scenario.at_least) if count >= 100 else number


def _end_of_day(moment: datetime) -> datetime:
    """23:59:59, or a day later where that is less than two hours away: nothing in the day is late from the start."""
    end = moment.replace(hour=23, minute=59, second=59, microsecond=0)
    return end if end - moment > timedelta(hours=2) else end + timedelta(days=1)


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
