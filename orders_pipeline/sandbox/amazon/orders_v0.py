"""Orders API v0 reads, which Amazon removes on 2027-03-27.

v0 ignores parameters that it does not know, and a real client (python-amazon-sp-api) sends some; the ledger counts
them, so that a test can say that ours sends none.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from orders_pipeline.sandbox.amazon.accounts import RestrictedToken
from orders_pipeline.sandbox.amazon.gate import Call, invalid_input, not_found, unauthorized
from orders_pipeline.sandbox.amazon.order import STATUS_OF_V0, Order, OrderItem
from orders_pipeline.sandbox.amazon.orders_v2026 import find_order, is_listed
from orders_pipeline.sandbox.amazon.parameters import (
    PageTokens,
    check_order_id,
    read_list,
    read_page_size,
    read_window,
)
from orders_pipeline.sandbox.amazon.render_v0 import (
    render_address,
    render_buyer,
    render_item,
    render_item_buyer,
    render_order,
    render_regulated_info,
)
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.clock import iso, iso_seconds

LIST_PARAMETERS = frozenset(
    {
        *("CreatedAfter", "CreatedBefore", "LastUpdatedAfter", "LastUpdatedBefore", "OrderStatuses", "MarketplaceIds"),
        *("FulfillmentChannels", "PaymentMethods", "BuyerEmail", "SellerOrderId", "MaxResultsPerPage"),
        *("EasyShipShipmentStatuses", "ElectronicInvoiceStatuses", "NextToken", "AmazonOrderIds"),
        *("ActualFulfillmentSupplySourceId", "IsISPU", "StoreChainStoreId", "EarliestDeliveryDateBefore"),
        *("EarliestDeliveryDateAfter", "LatestDeliveryDateBefore", "LatestDeliveryDateAfter"),
    }
)
# Amazon has them; the sandbox would answer wrongly, so it refuses.
UNSUPPORTED = frozenset(
    {
        *("BuyerEmail", "SellerOrderId", "EasyShipShipmentStatuses", "ElectronicInvoiceStatuses", "IsISPU"),
        *("ActualFulfillmentSupplySourceId", "StoreChainStoreId", "EarliestDeliveryDateBefore"),
        *("EarliestDeliveryDateAfter", "LatestDeliveryDateBefore", "LatestDeliveryDateAfter"),
    }
)
FREE_BETWEEN_PAGES = ("MaxResultsPerPage", "NextToken")
PAGE_MISMATCH = "The parameters do not match those of the request that returned the NextToken."


class OrdersV0:
    def __init__(self, state: AmazonState) -> None:
        self._state = state
        self._pages = PageTokens(state.clock)

    async def get_orders(self, call: Call) -> tuple[int, dict[str, Any]]:
        state, query = self._state, self._query(call, LIST_PARAMETERS)
        unsupported = sorted(set(query) & UNSUPPORTED)
        if unsupported:
            raise invalid_input(f"Not supported here: {', '.join(unsupported)}.")
        marketplaces = read_list(query, "MarketplaceIds")
        if not marketplaces:
            raise invalid_input("MarketplaceIds is required.")
        if any(marketplace not in call.seller.marketplace_ids for marketplace in marketplaces):
            raise unauthorized("The marketplaces you provided are not valid for the selling partner.")
        page_size = read_page_size(query, "MaxResultsPerPage")
        fingerprint = json.dumps({k: v for k, v in sorted(query.items()) if k not in FREE_BETWEEN_PAGES})
        with state.lock:
            order_ids, mark = self._listed(call, query, fingerprint, marketplaces)
            page, rest = order_ids[:page_size], order_ids[page_size:]
            listed = [state.listed(state.orders[one]) for one in page]
            entries = [self._listed_entry(one, call) for one in listed if one is not None]
            payload: dict[str, Any] = {"Orders": entries, **mark}
            if state.faults.take(("duplicate_page",), call.operation):
                rest = order_ids
            if rest:
                payload["NextToken"] = self._pages.put(fingerprint, rest)
            return 200, {"payload": payload}

    async def get_order(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._query(call, frozenset())
        order = find_order(self._state, call)
        with self._state.lock:
            return 200, {"payload": self._render(order, call)}

    async def get_regulated_info(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._query(call, frozenset())
        order = find_order(self._state, call)
        if not self._opened(call):
            raise unauthorized("This operation needs a restricted data token.")
        if order.verification is None:
            raise not_found("regulated information")
        return 200, {"payload": render_regulated_info(order)}

    async def get_buyer_info(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._query(call, frozenset())
        order = find_order(self._state, call)
        shown = render_buyer(order) if self._opened(call) else {}
        return 200, {"payload": {"AmazonOrderId": order.order_id, **shown}}

    async def get_address(self, call: Call) -> tuple[int, dict[str, Any]]:
        self._query(call, frozenset())
        order = find_order(self._state, call)
        blanks = self._state.options.blank_address_as_empty_strings
        now = self._state.clock.now()
        address = render_address(order, now, restricted=self._opened(call), blanks=blanks)
        return 200, {"payload": {"AmazonOrderId": order.order_id, **({"ShippingAddress": address} if address else {})}}

    async def get_items(self, call: Call) -> tuple[int, dict[str, Any]]:
        order, items, token = self._items_page(call)
        elements = _elements(call)
        with self._state.lock:
            shown = [render_item(order, item, elements) for item in items]
            self._state.ledger.record_shown(order.order_id, self._state.clock.now())
        return 200, {"payload": {"AmazonOrderId": order.order_id, "OrderItems": shown, **token}}

    async def get_items_buyer_info(self, call: Call) -> tuple[int, dict[str, Any]]:
        order, items, token = self._items_page(call)
        opened = self._opened(call)
        shown = [{"OrderItemId": item.item_id, **(render_item_buyer(order, item) if opened else {})} for item in items]
        return 200, {"payload": {"AmazonOrderId": order.order_id, "OrderItems": shown, **token}}

    def _listed(
        self, call: Call, query: dict[str, str], fingerprint: str, marketplaces: list[str]
    ) -> tuple[list[str], dict[str, str]]:
        """The order ids of this page and all later ones, and the time that the listing is good for."""
        state = self._state
        if "NextToken" in query:
            return self._pages.take(query["NextToken"], fingerprint, message=PAGE_MISMATCH), {}
        statuses = [STATUS_OF_V0[one] for one in read_list(query, "OrderStatuses", STATUS_OF_V0)]
        channels = read_list(query, "FulfillmentChannels", ("AFN", "MFN"))
        methods = read_list(query, "PaymentMethods", ("COD", "CVS", "Other"))
        wanted = read_list(query, "AmazonOrderIds", limit=50)
        for one in wanted:
            check_order_id(one)
        names = ("CreatedAfter", "CreatedBefore", "LastUpdatedAfter", "LastUpdatedBefore")
        delay = timedelta(seconds=state.options.listing_delay_seconds)
        window = None
        if not wanted or any(name in query for name in names):
            window = read_window(query, state.clock, names, delay)
        matching = [
            order
            for known in state.orders_of(call.seller.seller_id)
            if (order := state.listed(known)) is not None
            and (not wanted or order.order_id in wanted)
            and is_listed(state, known, call)
            and (window is None or window.contains(order.last_updated if window.by_update else order.created))
            and (not statuses or order.status in statuses)
            and (not channels or ("MFN" if order.merchant_fulfilled else "AFN") in channels)
            and (not methods or "Other" in methods)
            and order.marketplace_id in marketplaces
        ]
        matching.sort(key=lambda order: order.last_updated)
        if window is None:
            return [order.order_id for order in matching], {}
        mark = "LastUpdatedBefore" if window.by_update else "CreatedBefore"
        return [order.order_id for order in matching], {mark: self._write(window.before)}

    def _items_page(self, call: Call) -> tuple[Order, list[OrderItem], dict[str, str]]:
        query = self._query(call, frozenset({"NextToken"}))
        order = find_order(self._state, call)
        remaining = [item.item_id for item in order.items]
        if "NextToken" in query:
            remaining = self._pages.take(query["NextToken"], order.order_id, message=PAGE_MISMATCH)
        size = self._state.options.items_page_size
        page, rest = remaining[:size], remaining[size:]
        items = [item for item in order.items if item.item_id in page]
        return order, items, ({"NextToken": self._pages.put(order.order_id, rest)} if rest else {})

    def _query(self, call: Call, known: frozenset[str]) -> dict[str, str]:
        pairs = call.request.query_params.multi_items()
        unknown = sorted({name for name, _ in pairs if name not in known})
        if unknown:
            self._state.ledger.record_unknown_parameters(call.operation, unknown)
        values = {name: value for name, value in pairs if name in known}
        if len(values) != sum(name in known for name, _ in pairs):
            raise invalid_input("A query parameter was given more than once.")
        return values

    def _render(self, order: Order, call: Call) -> dict[str, Any]:
        state = self._state
        now = state.clock.now()
        state.ledger.record_shown(order.order_id, now)
        blanks = state.options.blank_address_as_empty_strings
        return render_order(order, _elements(call), now, self._write, blanks=blanks)

    def _listed_entry(self, order: Order, call: Call) -> dict[str, Any]:
        entry = self._render(order, call)
        if self._state.faults.take(("unreadable_entry",), call.operation, order.order_id):
            entry["LastUpdateDate"] = "yesterday"
        return entry

    def _opened(self, call: Call) -> bool:
        """The address and buyerInfo operations show all or nothing; strictly, nothing is 403."""
        opened = isinstance(call.token, RestrictedToken)
        if not opened and self._state.options.strict_v0:
            raise unauthorized("This operation needs a restricted data token.")
        return opened

    def _write(self, moment: Any) -> str:
        return iso_seconds(moment) if self._state.options.v0_whole_seconds else iso(moment)


def _elements(call: Call) -> frozenset[str]:
    """The data elements that the token in use grants for this very path."""
    if not isinstance(call.token, RestrictedToken):
        return frozenset()
    path = call.request.url.path
    granted = [one.data_elements for one in call.token.resources if one.covers("GET", path)]
    return frozenset(element for elements in granted for element in elements)
