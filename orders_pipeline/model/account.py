"""An account: one seller in one region."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orders_pipeline.model.marketplaces import Region

OrdersApi = Literal["2026-01-01", "v0"]
# Where the orders of past days are read from: searches, reports, or whichever costs less.
HistorySource = Literal["search", "report", "auto"]


@dataclass(frozen=True, slots=True)
class Account:
    """Whose orders these are, and how Amazon is asked for them. It holds no secret, so that it may be logged and shown.

    `account_id` is the key of every stored row. `start_at` (UTC): orders purchased before are pushed only when a person
    adopts them; None: see orders.account_starts.
    """

    account_id: str
    seller_id: str
    region: Region
    marketplace_ids: tuple[str, ...]
    queue_url: str
    orders_api: OrdersApi
    regulated_skus: tuple[str, ...] = ()
    start_at: datetime | None = None
