"""Invented buyers: plausible names and addresses from short lists, or canaries that can be searched for.

The telephone numbers are in the range kept free for fiction.
"""

from __future__ import annotations

import random

from orders_pipeline.sandbox.amazon.order import Address, Buyer

FIRST_NAMES = ("Ada", "Bruno", "Carmen", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Ines", "José", "Kwame", "Lucía")
LAST_NAMES = (
    "Abernathy",
    "Baptiste",
    "Castañeda",
    "Dvořák",
    "Eriksen",
    "Fitzgerald",
    "Grünwald",
    "Hoang",
    "Ito",
    "O'Neil",
)
STREETS = (
    "Maple Street",
    "2nd Avenue",
    "Lakeview Drive",
    "Old Mill Road",
    "Cedar Court",
    "Harbor Boulevard",
    "Elm Way",
)
SECOND_LINES = ("Apt 4B", "Unit 12", "Suite 300", "Floor 2", "c/o Front Desk")
COMPANIES = ("Quiet Harbor Dental", "Northgate Robotics", "Fern & Anvil Studio", "Copperline Supply")
PLACES = (
    ("Ann Arbor", "MI", "48104"),
    ("Boise", "ID", "83702"),
    ("Charlotte", "NC", "28202-1234"),
    ("Duluth", "MN", "55802"),
    ("El Paso", "TX", "79901"),
    ("Fresno", "CA", "93701"),
    ("Providence", "RI", "02903"),
    ("San Juan", "PR", "00901"),
)
GIFT_MESSAGES = (
    "Happy birthday! See you on Sunday.",
    "Congratulations to you both",
    "For the best neighbor in the world\nwith love",
    "¡Feliz cumpleaños!",
)


class People:
    """Draws buyers and addresses; in canary mode every personal value names its order and its field."""

    def __init__(self, *, canary: bool) -> None:
        self.canary = canary
        self.canaries: list[str] = []

    def buyer(self, chance: random.Random, order_id: str, *, business: bool) -> Buyer:
        name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
        return Buyer(
            name=self._value(order_id, "buyer-name", name),
            email=self._value(order_id, "email", f"{chance.getrandbits(40):010x}", suffix="@marketplace.amazon.com"),
            company_name=self._value(order_id, "buyer-company", chance.choice(COMPANIES)) if business else None,
            purchase_order_number=f"PO-{chance.randint(1000, 9999)}" if business else None,
        )

    def address(self, chance: random.Random, order_id: str, *, business: bool) -> Address:
        city, state, postal_code = chance.choice(PLACES)
        name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
        street = f"{chance.randint(1, 9999)} {chance.choice(STREETS)}"
        second, phone = chance.choice(SECOND_LINES), f"+1 206-555-01{chance.randint(0, 99):02d}"
        company = chance.choice(COMPANIES)
        return Address(
            name=self._value(order_id, "name", name),
            company_name=self._value(order_id, "company", company) if business else None,
            address_line1=self._value(order_id, "line1", street),
            address_line2=self._value(order_id, "line2", second) if self.canary or chance.random() < 0.4 else None,
            address_line3=self._value(order_id, "line3", "Rear entrance") if self.canary else None,
            city=city,
            state_or_region=state,
            postal_code=self._value(order_id, "postal-code", postal_code),
            country_code="US",
            phone=self._value(order_id, "phone", phone),
            address_type="COMMERCIAL" if business else "RESIDENTIAL",
        )

    def gift_message(self, chance: random.Random, order_id: str, line: int) -> str:
        return self._value(order_id, f"gift-message-{line}", chance.choice(GIFT_MESSAGES))

    def customization_url(self, chance: random.Random, order_id: str, line: int) -> str:
        canary = self._value(order_id, f"customization-url-{line}", f"{chance.getrandbits(64):016x}")
        return f"https://customizations.example.com/t/{canary}"

    def _value(self, order_id: str, field: str, plausible: str, *, suffix: str = "") -> str:
        if not self.canary:
            return plausible + suffix
        canary = f"CANARY-{order_id}-{field}"
        self.canaries.append(canary)
        return canary + suffix
