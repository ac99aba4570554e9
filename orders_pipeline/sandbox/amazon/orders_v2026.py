"""Orders API 2026-01-01: searchOrders and getOrder."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from orders_pipeline.sandbox.amazon.gate import Call, invalid_input, not_found, unauthorized
from orders_pipeline.sandbox.amazon.order import AMAZON, MERCHANT, V0_STATUS, Order
from orders_pipeline.sandbox.amazon.parameters import PageTokens, check_order_id, read_list, read_page_size, read_window
from orders_pipeline.sandbox.amazon.render_v2026 import DATASETS, render_order
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.clock import iso

SEARCH_PARAMETERS = frozenset(
    {
        *("createdAfter", "createdBefore", "lastUpdatedAfter", "lastUpdatedBefore", "fulfillmentStatuses"),
        *("marketplaceIds", "fulfilledBy", "maxResultsPerPage", "paginationToken", "includedData"),
    }
)
# These may differ from page to page; everything else must be repeated as it was.
FREE_BETWEEN_PAGES = ("maxResultsPerPage", "includedData", "paginationToken")
PAGE_MISMATCH = "All parameters must match the original request except maxResultsPerPage and includedData."


class OrdersV2026:
    def __init__(self, state: AmazonState) -> None:
        self._state = state
        self._pages = PageTokens(state.clock)

    async def get_order(self, call: Call) -> tuple[int, dict[str, Any]]:
        query = call.query()
        _only(query, {"includedData"})
        call.included_data = tuple(read_list(query, "includedData", DATASETS))
        order = find_order(self._state, call)
        with self._state.lock:
            return 200, {"order": self._render(order, call)}

    async def search_orders(self, call: Call) -> tuple[int, dict[str, Any]]:
        state, query = self._state, call.query()
        _only(query, SEARCH_PARAMETERS)
        delay = timedelta(seconds=state.options.listing_delay_seconds)
        names = ("createdAfter", "createdBefore", "lastUpdatedAfter", "lastUpdatedBefore")
        window = read_window(query, state.clock, names, delay)
        statuses = read_list(query, "fulfillmentStatuses", V0_STATUS)
        marketplaces = read_list(query, "marketplaceIds")
        fulfilled_by = read_list(query, "fulfilledBy", (MERCHANT, AMAZON))
        call.included_data = tuple(read_list(query, "includedData", DATASETS))
        page_size = read_page_size(query, "maxResultsPerPage")
        if any(marketplace not in call.seller.marketplace_ids for marketplace in marketplaces):
            raise unauthorized("The marketplaces you provided are not valid for the selling partner.")
        fingerprint = json.dumps({k: v for k, v in sorted(query.items()) if k not in FREE_BETWEEN_PAGES})
        with state.lock:
            if "paginationToken" in query:
                remaining = self._pages.take(query["paginationToken"], fingerprint, message=PAGE_MISMATCH)
            else:
                matching = [
                    order
                    for known in state.orders_of(call.seller.seller_id)
                    if (order := state.listed(known)) is not None
                    and is_listed(state, known, call)
                    and window.contains(order.last_updated if window.by_update else order.created)
                    and (not statuses or order.status in statuses)
                    and (not marketplaces or order.marketplace_id in marketplaces)
                    and (not fulfilled_by or order.fulfilled_by in fulfilled_by)
                ]
                matching.sort(key=lambda order: order.last_updated if window.by_update else order.created)
                remaining = [order.order_id for order in matching]
            page, rest = remaining[:page_size], remaining[page_size:]
            listed = [state.listed(state.orders[order_id]) for order_id in page]
            body: dict[str, Any] = {
                "orders": [self._listed_entry(order, call) for order in listed if order is not None]
            }
            if state.faults.take(("duplicate_page",), call.operation):
                # Sellers saw the same page come back for ever under new tokens (models issue 2297).
                rest = remaining
            if rest:
                body["pagination"] = {"nextToken": self._pages.put(fingerprint, rest)}
            body["lastUpdatedBefore" if window.by_update else "createdBefore"] = iso(window.before)
            return 200, body

    def _listed_entry(self, order: Order, call: Call) -> dict[str, Any]:
        entry = self._render(order, call)
        if self._state.faults.take(("unreadable_entry",), call.operation, order.order_id):
            entry["lastUpdatedTime"] = "yesterday"
        return entry

    def _render(self, order: Order, call: Call) -> dict[str, Any]:
        state = self._state
        now = state.clock.now()
        if "PACKAGES" in call.included_data and all(p.visible_at <= now for p in order.packages.values()):
            state.ledger.record_shown(order.order_id, now)
        blanks = state.options.blank_address_as_empty_strings
        return render_order(order, call.included_data, call.roles, now, blanks_as_empty=blanks)


def find_order(state: AmazonState, call: Call) -> Order:
    """The seller's order, or 404: another seller's order does not exist for this one."""
    order_id = call.order_id or ""
    check_order_id(order_id)
    order = state.orders.get(order_id)
    if order is None or order.seller_id != call.seller.seller_id:
        raise not_found("order")
    fault = state.faults.take(("blank_address",), call.operation, order_id)
    if fault:
        state.withhold_address(order_id, fault.seconds)
    return order


def is_listed(state: AmazonState, order: Order, call: Call) -> bool:
    """False where the listing has a hole; getOrder has the order all the same."""
    return not order.unlisted and state.faults.take(("listing_hole",), call.operation, order.order_id) is None


def _only(query: dict[str, str], known: frozenset[str] | set[str]) -> None:
    unknown = sorted(set(query) - known)
    if unknown:
        raise invalid_input(f"Unknown query parameters: {', '.join(unknown)}.")
