"""Amazon's marketplaces, as far as an answer names them.

Source: Amazon's marketplace-ids and sp-api-endpoints pages, read 2026-11-20.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Marketplace:
    marketplace_id: str
    region: str
    country_code: str  # as addresses carry it: GB, although Amazon calls the marketplace UK
    domain: str
    currency: str
    language: str


MARKETPLACES: dict[str, Marketplace] = {
    row[0]: Marketplace(*row)
    for row in (
        ("A2EUQ1WTGCTBG2", "na", "CA", "Amazon.ca", "CAD", "en_CA"),
        ("ATVPDKIKX0DER", "na", "US", "Amazon.com", "USD", "en_US"),
        ("A1AM78C64UM0Y8", "na", "MX", "Amazon.com.mx", "MXN", "es_MX"),
        ("A2Q3Y263D00KWC", "na", "BR", "Amazon.com.br", "BRL", "pt_BR"),
        ("A28R8C7NBKEWEA", "eu", "IE", "Amazon.ie", "EUR", "en_IE"),
        ("A1RKKUPIHCS9HS", "eu", "ES", "Amazon.es", "EUR", "es_ES"),
        ("A1F83G8C2ARO7P", "eu", "GB", "Amazon.co.uk", "GBP", "en_GB"),
        ("A13V1IB3VIYZZH", "eu", "FR", "Amazon.fr", "EUR", "fr_FR"),
        ("AMEN7PMS3EDWL", "eu", "BE", "Amazon.com.be", "EUR", "fr_BE"),
        ("A1805IZSGTT6HS", "eu", "NL", "Amazon.nl", "EUR", "nl_NL"),
        ("A1PA6795UKMFR9", "eu", "DE", "Amazon.de", "EUR", "de_DE"),
        ("APJ6JRA9NG5V4", "eu", "IT", "Amazon.it", "EUR", "it_IT"),
        ("A2NODRKZP88ZB9", "eu", "SE", "Amazon.se", "SEK", "sv_SE"),
        ("AE08WJ6YKNBMC", "eu", "ZA", "Amazon.co.za", "ZAR", "en_ZA"),
        ("A1C3SOZRARQ6R3", "eu", "PL", "Amazon.pl", "PLN", "pl_PL"),
        ("ARBP9OOSHTCHU", "eu", "EG", "Amazon.eg", "EGP", "ar_EG"),
        ("A33AVAJ2PDY3EV", "eu", "TR", "Amazon.com.tr", "TRY", "tr_TR"),
        ("A17E79C6D8DWNP", "eu", "SA", "Amazon.sa", "SAR", "ar_SA"),
        ("A2VIGQ35RCS4UG", "eu", "AE", "Amazon.ae", "AED", "en_AE"),
        ("A21TJRUUN4KGV", "eu", "IN", "Amazon.in", "INR", "en_IN"),
        ("A19VAU5U5O7RUS", "fe", "SG", "Amazon.sg", "SGD", "en_SG"),
        ("A39IBJ37TRP1C6", "fe", "AU", "Amazon.com.au", "AUD", "en_AU"),
        ("A1VC38T7YXB528", "fe", "JP", "Amazon.co.jp", "JPY", "ja_JP"),
    )
}

JAPAN = "A1VC38T7YXB528"
INDIA = "A21TJRUUN4KGV"
