"""Sellers API v1: getMarketplaceParticipations, the usual check that a connection works."""

from __future__ import annotations

from typing import Any

from orders_pipeline.sandbox.amazon.gate import Call
from orders_pipeline.sandbox.amazon.marketplaces import MARKETPLACES
from orders_pipeline.sandbox.amazon.state import AmazonState


class Sellers:
    def __init__(self, state: AmazonState) -> None:
        self._state = state

    async def get_marketplace_participations(self, call: Call) -> tuple[int, dict[str, Any]]:
        payload = [
            {
                "marketplace": {
                    "id": marketplace.marketplace_id,
                    "name": marketplace.domain,
                    "countryCode": marketplace.country_code,
                    "defaultCurrencyCode": marketplace.currency,
                    "defaultLanguageCode": marketplace.language,
                    "domainName": f"www.{marketplace.domain.lower()}",
                },
                "participation": {"isParticipating": True, "hasSuspendedListings": False},
                "storeName": call.seller.store_name,
            }
            for marketplace in (MARKETPLACES[one] for one in call.seller.marketplace_ids)
        ]
        return 200, {"payload": payload}
