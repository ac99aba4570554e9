"""Orders that wait for their address: how often Amazon is asked.

A person is told after an hour, or four hours before the order is to ship (`alerts.NO_ADDRESS`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

# An address can lag minutes behind the status, and was blank for days in 2021 (amzn/selling-partner-api-docs#1275).
ADDRESS_RETRY, LONGEST_ADDRESS_RETRY = timedelta(seconds=30), timedelta(hours=2)
# Addresses that are late come within minutes; a person who is told four hours before can still act.
PATIENCE, BEFORE_SHIP_BY = timedelta(hours=1), timedelta(hours=4)


def address_retry(waiting_since: datetime, ship_by: datetime | None, now: datetime) -> timedelta:
    """When to ask again: as long again as it has been waiting already, and not later than a person is told."""
    delay = min(max(ADDRESS_RETRY, now - waiting_since), LONGEST_ADDRESS_RETRY)
    until_alert = _alert_at(waiting_since, ship_by) - now
    return min(delay, until_alert) if until_alert > ADDRESS_RETRY else delay


def _alert_at(waiting_since: datetime, ship_by: datetime | None) -> datetime:
    patience = waiting_since + PATIENCE
    return patience if ship_by is None else min(patience, ship_by - BEFORE_SHIP_BY)
