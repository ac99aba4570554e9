"""Which notifications an account wants of Amazon."""

from __future__ import annotations

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.channels.amazon.api.notifications import FBA_SHIPMENT_STATUS, ORDER_CHANGE

# "Only for FBA Onsite shipments … available only in the Brazil marketplace" (Amazon's guide to notification types): no
# tracking of FBA in general, so nobody else asks for it.
FBA_ONSITE_MARKETPLACES = frozenset({"A2Q3Y263D00KWC"})


def wanted_notifications(settings: AmazonSettings) -> tuple[str, ...]:
    """ORDER_CHANGE, which every account needs, first; then what it may do without."""
    has_fba_onsite = settings.watch_fba and bool(FBA_ONSITE_MARKETPLACES.intersection(settings.marketplace_ids))
    return (ORDER_CHANGE, FBA_SHIPMENT_STATUS) if has_fba_onsite else (ORDER_CHANGE,)
