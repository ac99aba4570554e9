"""Where an order goes, and what its buyer wrote: the personal data that the warehouse needs, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from orders_pipeline.model.personal import PersonalText


@dataclass(frozen=True, slots=True)
class Address:
    """A recipient and a place. The names are those of the warehouse's contract; Amazon's models require no field."""

    name: PersonalText | None = None
    company: PersonalText | None = None
    address_line1: PersonalText | None = None
    address_line2: PersonalText | None = None
    address_line3: PersonalText | None = None
    city: PersonalText | None = None
    district: PersonalText | None = None
    state_or_region: PersonalText | None = None
    postal_code: PersonalText | None = None
    country_code: str | None = None
    phone: PersonalText | None = None
    address_type: str | None = None

    def plain(self) -> dict[str, str | None]:
        """Every field by its name, in clear. Never pass the result to a log, an exception, metadata or a file."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value.plain() if isinstance(value, PersonalText) else value for name, value in values.items()}

    @property
    def lines(self) -> tuple[PersonalText | None, ...]:
        return self.address_line1, self.address_line2, self.address_line3

    @property
    def is_shippable(self) -> bool:
        """Whether a carrier can find it: who, which door, which country, and where in it.

        Amazon has answered blank addresses for days (amzn/selling-partner-api-docs#1275). Singapore has no city,
        the Emirates no postal code.
        """
        recipient = self.name or self.company
        place = self.city or self.postal_code or self.district or self.state_or_region
        return bool(recipient and any(self.lines) and place and self.country_code)

    @property
    def is_hidden(self) -> bool:
        """The place is there and neither a name nor a door: Amazon shows that much to who lacks the role."""
        place = self.city or self.state_or_region or self.country_code
        return bool(place) and not (self.name or self.company or any(self.lines))


@dataclass(frozen=True, slots=True)
class ItemDetails:
    """What a buyer wrote for one item."""

    gift_message: PersonalText | None = None
    customization_url: PersonalText | None = None


@dataclass(frozen=True, slots=True)
class ShippingDetails:
    """The personal data of one order (no buyer e-mail, no buyer name).

    `items` is keyed by order item id and holds only items that have something.
    """

    address: Address = Address()
    items: dict[str, ItemDetails] = field(default_factory=dict)

    def plain(self) -> list[tuple[str, str]]:
        """(name, text) of every field that is there, in clear: for a person who was let in, on a terminal."""
        texts = [
            (f"{name} {item_id}", text.plain())
            for item_id, item in self.items.items()
            for name, text in (("gift_message", item.gift_message), ("customization_url", item.customization_url))
            if text is not None
        ]
        return [(name, text) for name, text in [*self.address.plain().items(), *texts] if text]
