"""Where a seller is sent to give consent, by marketplace and by what the application is."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from orders_pipeline.application_settings import ApplicationSettings
from orders_pipeline.channels.amazon.auth.consent import consent_url
from orders_pipeline.model.marketplaces import MARKETPLACES, seller_central_of

RETURN = "https://orders.shop.example/authorize/callback"


@pytest.mark.parametrize(
    ("country", "host"),
    [
        ("US", "sellercentral.amazon.com"),
        ("BR", "sellercentral.amazon.com.br"),
        ("DE", "sellercentral-europe.amazon.com"),
        ("GB", "sellercentral-europe.amazon.com"),
        ("NL", "sellercentral.amazon.nl"),
        ("JP", "sellercentral.amazon.co.jp"),
    ],
)
def test_each_marketplace_has_its_seller_central(country: str, host: str):
    (marketplace,) = [one for one in MARKETPLACES.values() if one.country_code == country]
    assert seller_central_of(marketplace) == f"https://{host}"


def test_every_marketplace_has_one():
    assert all(seller_central_of(one).startswith("https://sellercentral") for one in MARKETPLACES.values())


@pytest.mark.parametrize("is_draft", [False, True])
def test_a_draft_is_authorized_as_beta(is_draft: bool):
    settings = ApplicationSettings(application_id="amzn1.sp.solution.test", is_draft=is_draft)
    url = urlsplit(consent_url(settings, MARKETPLACES["A1PA6795UKMFR9"], "a state/+", RETURN))
    assert url.path == "/apps/authorize/consent"
    asked = {
        "application_id": ["amzn1.sp.solution.test"],
        "state": ["a state/+"],
        "redirect_uri": [RETURN],
    }
    assert parse_qs(url.query) == asked | ({"version": ["beta"]} if is_draft else {})
