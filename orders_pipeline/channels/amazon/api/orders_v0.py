"""The Orders API v0 behind the OrdersPort, until Amazon removes its reads on 2027-03-27.

| asked for | calls |
| --- | --- |
| the state of one order | getOrder, getOrderItems (all pages); no RDT |
| shipping details too | getOrder, getOrderItems, both with the RDT |
| several orders | getOrders (50 ids a call), getOrderItems where items are needed; with the RDT if details are |
| a search | getOrders; its orders have no items: this version lists none |

`OrderParts.PACKAGES` brings nothing here: `Order.packages` is None, and shipped quantities are on the items.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import UTC, date, datetime
from typing import TypeVar

from orders_pipeline.channels.amazon.api.orders_v0_wire import (
    read_order,
    read_pieces,
    read_shipping_details,
    with_item_texts,
    with_items,
)
from orders_pipeline.channels.amazon.api.orders_v2026 import PAGE_SIZE, SEARCH_HOLDBACK, iso, page_token_error
from orders_pipeline.channels.amazon.api.page_tokens import PageToken, next_page_token, read_page_token
from orders_pipeline.channels.amazon.api.search_entries import read_entries
from orders_pipeline.channels.amazon.audit import AuditSink
from orders_pipeline.channels.amazon.auth.restricted_calls import restricted_call, restricted_listing
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonError
from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.channels.amazon.http.answers import Answer, protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import (
    V0_GET_ORDER,
    V0_GET_ORDER_ITEMS,
    V0_GET_ORDERS,
    Operation,
)
from orders_pipeline.channels.amazon.timing import Deadline
from orders_pipeline.model.order import (
    AMAZON,
    MERCHANT,
    Bucket,
    FetchedOrder,
    Order,
    OrderParts,
    Pieces,
    Priority,
    ReadQuota,
    SearchPage,
    SearchWindow,
)
from orders_pipeline.model.shipping_details import ShippingDetails

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

API_VERSION = "v0"
REMOVAL = date(2027, 3, 27)
WARNING_DAYS = 120
IDS_PER_CALL = 50
# More pages than this is a circle: an order has no ten thousand items.
MOST_ITEM_PAGES = 100
_CHANNELS = {MERCHANT: "MFN", AMAZON: "AFN"}


class OrdersV0:
    """Reads orders of one seller. See `OrdersPort`."""

    def __init__(
        self,
        transport: Transport,
        tokens: AccessTokens,
        restricted: AccessTokens,
        audit: AuditSink,
        marketplace_ids: tuple[str, ...],
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._restricted = restricted
        self._audit = audit
        self._marketplace_ids = marketplace_ids
        warn_of_removal(datetime.now(UTC).date())

    @property
    def api_version(self) -> str:
        return API_VERSION

    @property
    def lists_whole_orders(self) -> bool:
        return False

    def read_quota(self) -> ReadQuota:
        # One order takes a token of each.
        order, items = self._transport.bucket(V0_GET_ORDER), self._transport.bucket(V0_GET_ORDER_ITEMS)
        single = Bucket(*(min(pair) for pair in zip(astuple(order), astuple(items), strict=True)))
        return ReadQuota(single=single, listing=self._transport.bucket(V0_GET_ORDERS))

    def get_order(
        self,
        order_id: str,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        deadline = self._transport.deadline(deadline_seconds)
        if OrderParts.SHIPPING_DETAILS not in parts:
            body = self._payload(V0_GET_ORDER, order_id, self._tokens, priority, deadline)
            return FetchedOrder(self._order(body, self._items(order_id, self._tokens, priority, deadline), order_id))

        def call() -> tuple[Fields, list[Fields]]:
            order = self._payload(V0_GET_ORDER, order_id, self._restricted, priority, deadline)
            return order, self._items(order_id, self._restricted, priority, deadline)

        body, items = restricted_call(self._audit, V0_GET_ORDER, order_id, call)
        details = read_shipping_details(body.part("ShippingAddress"), items)
        return FetchedOrder(self._order(body, items, order_id), details)

    def list_orders(
        self,
        order_ids: Sequence[str],
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        if len(order_ids) > IDS_PER_CALL:
            raise ValueError(f"getOrders takes {IDS_PER_CALL} ids a call, not {len(order_ids)}.")
        deadline = self._transport.deadline(deadline_seconds)
        wants_details = OrderParts.SHIPPING_DETAILS in parts
        tokens = self._restricted if wants_details else self._tokens
        query = {"MarketplaceIds": ",".join(self._marketplace_ids), "AmazonOrderIds": ",".join(order_ids)}

        def call() -> SearchPage:
            answer = self._call(V0_GET_ORDERS, V0_GET_ORDERS.path, query, tokens, priority, deadline)
            return self._read_listed(answer, wants_details)

        if not wants_details:
            return call()
        return restricted_listing(self._audit, V0_GET_ORDERS, call, lambda page: [*page.shipping_details])

    def add_items(
        self,
        listed: FetchedOrder,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        order_id, deadline = listed.order.order_id, self._transport.deadline(deadline_seconds)
        wants_details = OrderParts.SHIPPING_DETAILS in parts
        tokens = self._restricted if wants_details else self._tokens

        def call() -> list[Fields]:
            return self._items(order_id, tokens, priority, deadline)

        items = restricted_call(self._audit, V0_GET_ORDER_ITEMS, order_id, call) if wants_details else call()
        try:
            order = with_items(listed.order, items)
        except FieldProblem as problem:
            raise self._unreadable(V0_GET_ORDER_ITEMS, order_id, problem) from None
        return FetchedOrder(order, with_item_texts(listed.shipping_details, items) if wants_details else None)

    def search_orders(
        self,
        window: SearchWindow,
        *,
        parts: OrderParts | None = None,
        page_token: str | None = None,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        """One page. The orders have no items: a search tells which orders to look at."""
        if parts is not None:
            raise ValueError("The Orders API v0 lists no whole orders; ask for them by their ids.")
        clock = self._transport.clock
        deadline = self._transport.deadline(deadline_seconds)
        if page_token is not None:
            token = read_page_token(page_token, V0_GET_ORDERS, self._transport.seller_id, clock.now())
            return self._search(window, token.before, token, priority, deadline)
        knew_the_time = clock.known
        before = min(window.updated_before, clock.now() - SEARCH_HOLDBACK)
        if before <= window.updated_after:
            return SearchPage((), None, window.updated_after)
        try:
            return self._search(window, before, None, priority, deadline)
        except AmazonBadRequest:
            earlier = min(window.updated_before, clock.now() - SEARCH_HOLDBACK)
            if knew_the_time or earlier >= before or earlier <= window.updated_after:
                raise
            return self._search(window, earlier, None, priority, deadline)

    def _items(self, order_id: str, tokens: AccessTokens, priority: Priority, deadline: Deadline) -> list[Fields]:
        path = V0_GET_ORDER_ITEMS.url_path(order_id=order_id)
        items: list[Fields] = []
        seen: set[str] = set()
        query: dict[str, str] = {}
        while True:
            answer = self._call(V0_GET_ORDER_ITEMS, path, query, tokens, priority, deadline)
            payload = Fields(answer.body, "answer").part("payload")
            items += self._read(V0_GET_ORDER_ITEMS, answer, lambda payload: payload.required_parts("OrderItems"))
            next_token = payload.opaque("NextToken")
            if next_token is None:
                return items
            if next_token in seen or len(seen) >= MOST_ITEM_PAGES:
                raise self._protocol_error(V0_GET_ORDER_ITEMS, answer, "answer.payload.NextToken goes in a circle")
            seen.add(next_token)
            query = {"NextToken": next_token}

    def _search(
        self, window: SearchWindow, before: datetime, token: PageToken | None, priority: Priority, deadline: Deadline
    ) -> SearchPage:
        query = {
            "LastUpdatedAfter": iso(window.updated_after),
            "LastUpdatedBefore": iso(before),
            "MarketplaceIds": ",".join(window.marketplace_ids or self._marketplace_ids),
            "FulfillmentChannels": ",".join(_CHANNELS.get(one, one) for one in window.fulfilled_by),
            "MaxResultsPerPage": str(PAGE_SIZE),
            "NextToken": token.amazon if token else "",
        }
        query = {name: value for name, value in query.items() if value}
        try:
            answer = self._call(V0_GET_ORDERS, V0_GET_ORDERS.path, query, self._tokens, priority, deadline)
        except AmazonBadRequest as error:
            raise page_token_error(error) if token else error from None
        payload = Fields(answer.body, "answer").part("payload")
        orders, unreadable = self._read(
            V0_GET_ORDERS,
            answer,
            lambda payload: read_entries(
                payload.required_parts("Orders"), "AmazonOrderId", lambda order: read_order(order, [])
            ),
        )
        next_token = next_page_token(
            payload.opaque("NextToken"),
            [order.order_id for order in orders] + [entry.order_id or "" for entry in unreadable],
            before=before,
            now=self._transport.clock.now(),
            previous=token,
            operation=V0_GET_ORDERS,
            seller_id=self._transport.seller_id,
            request_id=answer.request_id,
        )
        return SearchPage(orders, next_token, payload.time("LastUpdatedBefore") or before, unreadable)

    def _read_listed(self, answer: Answer, wants_details: bool) -> SearchPage:
        """The orders of a listing by ids. An entry whose state, pieces or address cannot be read is unreadable."""
        pieces: dict[str, Pieces] = {}
        details: dict[str, ShippingDetails] = {}

        def read(entry: Fields) -> Order:
            order = read_order(entry, [])
            pieces[order.order_id] = read_pieces(entry)
            shown = read_shipping_details(entry.part("ShippingAddress"), []) if wants_details else None
            if shown is not None:
                details[order.order_id] = shown
            return order

        entries = self._read(V0_GET_ORDERS, answer, lambda payload: payload.required_parts("Orders"))
        orders, unreadable = read_entries(entries, "AmazonOrderId", read)
        return SearchPage(orders, None, None, unreadable, details, pieces)

    def _payload(
        self, operation: Operation, order_id: str, tokens: AccessTokens, priority: Priority, deadline: Deadline
    ) -> Fields:
        answer = self._call(operation, operation.url_path(order_id=order_id), {}, tokens, priority, deadline)
        payload = Fields(answer.body, "answer").part("payload")
        if payload.text("AmazonOrderId") != order_id:
            raise self._protocol_error(operation, answer, "answer.payload.AmazonOrderId is missing or another order's")
        return payload

    def _order(self, body: Fields, items: list[Fields], order_id: str) -> Order:
        try:
            return read_order(body, items)
        except FieldProblem as problem:
            raise self._unreadable(V0_GET_ORDER, order_id, problem) from None

    def _unreadable(self, operation: Operation, order_id: str, problem: FieldProblem) -> AmazonError:
        return protocol_error(operation, self._transport.seller_id, None, f"order {order_id}: {problem}")

    def _read(self, operation: Operation, answer: Answer, read: Callable[[Fields], Value]) -> Value:
        try:
            return read(Fields(answer.body, "answer").part("payload"))
        except FieldProblem as problem:
            raise self._protocol_error(operation, answer, str(problem)) from None

    def _call(
        self,
        operation: Operation,
        path: str,
        query: dict[str, str],
        tokens: AccessTokens,
        priority: Priority,
        deadline: Deadline,
    ) -> Answer:
        request = Request(operation, path, query=query)
        return self._transport.call(request, tokens, priority=priority, deadline=deadline)

    def _protocol_error(self, operation: Operation, answer: Answer, problem: str) -> AmazonError:
        return protocol_error(operation, self._transport.seller_id, answer.request_id, problem)


def warn_of_removal(today: date) -> None:
    """Say in the log when the end of v0 is near."""
    days = (REMOVAL - today).days
    if days <= WARNING_DAYS:
        logger.warning(
            "AMAZON_ORDERS_API is v0, whose order reads Amazon removes on %s (%s days from now): set it to 2026-01-01.",
            REMOVAL.isoformat(),
            days,
        )
