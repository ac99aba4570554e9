"""Amazon's marketplaces and regions: one table.

Source: developer-docs.amazon.com marketplace-ids and sp-api-endpoints, read on 2026-11-20; the hosts of Seller
Central are from a public list of others, not from Amazon's own page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Region = Literal["na", "eu", "fe"]


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One Amazon site. `country_code` is ISO 3166-1 (addresses of the UK carry GB)."""

    marketplace_id: str
    country_code: str
    region: Region


_IDS_BY_REGION: dict[Region, str] = {
    "na": "CA:A2EUQ1WTGCTBG2 US:ATVPDKIKX0DER MX:A1AM78C64UM0Y8 BR:A2Q3Y263D00KWC",
    "eu": (
        "IE:A28R8C7NBKEWEA ES:A1RKKUPIHCS9HS GB:A1F83G8C2ARO7P FR:A13V1IB3VIYZZH BE:AMEN7PMS3EDWL "
        "NL:A1805IZSGTT6HS DE:A1PA6795UKMFR9 IT:APJ6JRA9NG5V4 SE:A2NODRKZP88ZB9 ZA:AE08WJ6YKNBMC "
        "PL:A1C3SOZRARQ6R3 EG:ARBP9OOSHTCHU TR:A33AVAJ2PDY3EV SA:A17E79C6D8DWNP AE:A2VIGQ35RCS4UG "
        "IN:A21TJRUUN4KGV"
    ),
    "fe": "SG:A19VAU5U5O7RUS AU:A39IBJ37TRP1C6 JP:A1VC38T7YXB528",
}

MARKETPLACES: dict[str, Marketplace] = {
    marketplace_id: Marketplace(marketplace_id, country_code, region)
    for region, pairs in _IDS_BY_REGION.items()
    for country_code, marketplace_id in (pair.split(":") for pair in pairs.split())
}

# What reports call a marketplace ("sales-channel"), by its country.
_DOMAINS = (
    "CA:ca US:com MX:com.mx BR:com.br IE:ie ES:es GB:co.uk FR:fr BE:com.be NL:nl DE:de IT:it SE:se ZA:co.za PL:pl "
    "EG:eg TR:com.tr SA:sa AE:ae IN:in SG:sg AU:com.au JP:co.jp JP:jp"
)
_BY_SALES_CHANNEL = {
    f"amazon.{domain}": marketplace.marketplace_id
    for country_code, domain in (pair.split(":") for pair in _DOMAINS.split())
    for marketplace in MARKETPLACES.values()
    if marketplace.country_code == country_code
}


def marketplace_of_sales_channel(sales_channel: str | None) -> str | None:
    """The id of the marketplace that a report names so; None for orders of other shops, and names we do not know."""
    return _BY_SALES_CHANNEL.get((sales_channel or "").strip().lower())


SPAPI_ENDPOINTS: dict[Region, str] = {
    "na": "https://sellingpartnerapi-na.amazon.com",
    "eu": "https://sellingpartnerapi-eu.amazon.com",
    "fe": "https://sellingpartnerapi-fe.amazon.com",
}
# Five countries of Europe share one Seller Central; everybody else's is under the marketplace's own domain.
_SELLER_CENTRAL_EUROPE = "https://sellercentral-europe.amazon.com"
_SHARED_BY = frozenset({"ES", "GB", "FR", "DE", "IT"})


def seller_central_of(marketplace: Marketplace) -> str:
    """Where the sellers of this marketplace log in and give consent, without a slash at the end."""
    if marketplace.country_code in _SHARED_BY:
        return _SELLER_CENTRAL_EUROPE
    pairs = (pair.split(":") for pair in _DOMAINS.split())
    domain = next(domain for country_code, domain in pairs if country_code == marketplace.country_code)
    return f"https://sellercentral.amazon.{domain}"


# Login with Amazon answers for all regions on one host.
LWA_ENDPOINT = "https://api.amazon.com"
