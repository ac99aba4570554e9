"""A recipient as Tryton's party and address have it.

Tryton has one text of several lines for the street, a table of countries, and a table of their subdivisions. What it
has no place for goes into the street's lines: a label without a district or a state may not arrive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address
from orders_pipeline.model.untrusted_text import is_forbidden
from orders_pipeline.wms.tryton.calls import Calls, Record

# Amazon's longest field has some hundred characters; an index of PostgreSQL takes no text of thousands.
LONGEST_FIELD = 500
# Part of the writing of Persian and of Indian languages.
_JOINERS = "\u200c\u200d"
# What is in place of what was erased. Tryton wants a country and a street of none.
ERASED = "erased"


class AddressRefused(Exception):
    """Tryton cannot be given this address; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(slots=True)
class Places:
    """Tryton's ids of countries and of their subdivisions. Found ones are kept: they do not change."""

    _countries: dict[str, int] = field(default_factory=dict[str, int])
    _subdivisions: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])

    def country(self, calls: Calls, code: str) -> int:
        """Raises AddressRefused for a country that Tryton does not know."""
        if code not in self._countries:
            found = calls.search_read("country.country", [["code", "=", code]], ["id"], limit=1)
            if not found:
                raise AddressRefused("unknown_country")
            self._countries[code] = found[0]["id"]
        return self._countries[code]

    def subdivision(self, calls: Calls, country: int, country_code: str, state: str) -> int | None:
        """The state or province of this code or name; None where Tryton has none such."""
        key = (country, state.casefold())
        if key not in self._subdivisions:
            names = ["OR", ["code", "=", f"{country_code}-{state.upper()}"], ["name", "ilike", _literally(state)]]
            domain = [["country", "=", country], names]
            found = calls.search_read("country.subdivision", domain, ["id"], limit=2)
            if len(found) != 1:
                return None
            self._subdivisions[key] = found[0]["id"]
        return self._subdivisions[key]


def party_values(calls: Calls, places: Places, address: Address, *, phone_type: str) -> Record:
    """The values of a new party with its address and phone. Raises AddressRefused. In clear: for Tryton alone."""
    if not address.is_shippable or address.country_code is None:
        raise AddressRefused("invalid_address")
    fields = address.plain()
    if any(len(text) > LONGEST_FIELD for text in fields.values() if text):
        raise AddressRefused("address_too_long")
    country = places.country(calls, address.country_code)
    state = _clean(address.state_or_region)
    subdivision = places.subdivision(calls, country, address.country_code, state) if state else None
    name, company = _clean(address.name), _clean(address.company)
    recipient = name or company
    street = [company if name else "", *map(_clean, address.lines), _clean(address.district)]
    if state and subdivision is None:
        street.append(state)
    place: Record = {
        "party_name": recipient,
        "street": _lines(street),
        "city": _clean(address.city),
        "postal_code": _clean(address.postal_code),
        "country": country,
        "subdivision": subdivision,
    }
    phone = _clean(address.phone)
    contact = [["create", [{"type": phone_type, "value": phone}]]] if phone else []
    return {"name": recipient, "addresses": [["create", [place]]], "contact_mechanisms": contact}


def _clean(text: PersonalText | None) -> str:
    """One line without what is no character of a name: Tryton's database takes no NUL, and a label prints no others."""
    if text is None:
        return ""
    kept = "".join(" " if _is_unwanted(one) else one for one in text.plain())
    return " ".join(kept.split())


def _is_unwanted(character: str) -> bool:
    return is_forbidden(character) and character not in _JOINERS


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def _literally(text: str) -> str:
    """As a pattern of `ilike` that matches this text alone, in whatever case."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
