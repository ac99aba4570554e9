"""The Orders API 2026-01-01 behind the OrdersPort: one call answers everything about an order.

No restricted data token: this version gives a buyer's data by role, to whom asks with RECIPIENT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orders_pipeline.channels.amazon.api.orders_v2026_wire import read_order, read_shipping_details
from orders_pipeline.channels.amazon.api.page_tokens import PageToken, next_page_token, read_page_token
from orders_pipeline.channels.amazon.api.search_entries import read_entries
from orders_pipeline.channels.amazon.audit import AuditSink
from orders_pipeline.channels.amazon.auth.restricted_calls import restricted_call, restricted_listing
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonError, AmazonPageTokenInvalid
from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.channels.amazon.http.answers import Answer, protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER, SEARCH_ORDERS, Operation
from orders_pipeline.channels.amazon.timing import Deadline
from orders_pipeline.model.order import (
    LIST_LAG,
    FetchedOrder,
    OrderParts,
    Priority,
    ReadQuota,
    SearchPage,
    SearchWindow,
)
from orders_pipeline.model.shipping_details import ShippingDetails

API_VERSION = "2026-01-01"
# Without FULFILLMENT an order has no status; whether a cancellation was asked for is looked at before every step.
STATE_DATA = ("FULFILLMENT", "CANCELLATION", "PROCEEDS")
# Of a listing that only tells which orders changed.
LISTING_DATA = ("FULFILLMENT", "CANCELLATION")
# Amazon lists an order up to two minutes after it changed, by its own clock.
SEARCH_HOLDBACK = timedelta(minutes=3)
PAGE_SIZE = 100


class OrdersV2026:
    """Reads orders of one seller. See `OrdersPort`."""

    def __init__(self, transport: Transport, tokens: AccessTokens, audit: AuditSink) -> None:
        self._transport = transport
        self._tokens = tokens
        self._audit = audit

    @property
    def api_version(self) -> str:
        return API_VERSION

    @property
    def lists_whole_orders(self) -> bool:
        return True

    def read_quota(self) -> ReadQuota:
        return ReadQuota(single=self._transport.bucket(GET_ORDER), listing=self._transport.bucket(SEARCH_ORDERS))

    def get_order(
        self,
        order_id: str,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        return self._get_order(order_id, parts, priority, self._transport.deadline(deadline_seconds))

    def list_orders(
        self,
        order_ids: Sequence[str],
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        raise ValueError("The Orders API 2026-01-01 has no search by order ids; its searches list whole orders.")

    def add_items(
        self,
        listed: FetchedOrder,
        parts: OrderParts = OrderParts.STATE,
        *,
        priority: Priority = Priority.EVENT,
        deadline_seconds: float = 20.0,
    ) -> FetchedOrder:
        """Nothing is missing: this version has no order without its items."""
        return listed

    def search_orders(
        self,
        window: SearchWindow,
        *,
        parts: OrderParts | None = None,
        page_token: str | None = None,
        priority: Priority = Priority.SWEEP,
        deadline_seconds: float = 20.0,
    ) -> SearchPage:
        clock = self._transport.clock
        deadline = self._transport.deadline(deadline_seconds)
        if page_token is not None:
            token = read_page_token(page_token, SEARCH_ORDERS, self._transport.seller_id, clock.now())
            return self._search(window, parts, token.before, token, priority, deadline)
        holdback = SEARCH_HOLDBACK if parts is None else LIST_LAG
        knew_the_time = clock.known
        before = min(window.updated_before, clock.now() - holdback)
        if before <= window.updated_after:
            # Nothing of it is listed yet; asking would be an error.
            return SearchPage((), None, window.updated_after)
        try:
            return self._search(window, parts, before, None, priority, deadline)
        except AmazonBadRequest:
            # The first call of a process whose clock is ahead of Amazon's asks too late an end; now the time is known.
            earlier = min(window.updated_before, clock.now() - holdback)
            if knew_the_time or earlier >= before or earlier <= window.updated_after:
                raise
            return self._search(window, parts, earlier, None, priority, deadline)

    def _get_order(self, order_id: str, parts: OrderParts, priority: Priority, deadline: Deadline) -> FetchedOrder:
        wants_details = OrderParts.SHIPPING_DETAILS in parts
        wants_packages = OrderParts.PACKAGES in parts
        path = GET_ORDER.url_path(order_id=order_id)
        request = Request(GET_ORDER, path, query={"includedData": ",".join(_included(parts))})

        def call() -> Answer:
            return self._transport.call(request, self._tokens, priority=priority, deadline=deadline)

        answer = restricted_call(self._audit, GET_ORDER, order_id, call) if wants_details else call()
        body = Fields(answer.body, "answer").part("order")
        try:
            order = read_order(body, with_packages=wants_packages)
        except FieldProblem as problem:
            raise self._protocol_error(GET_ORDER, answer, str(problem)) from None
        if order.order_id != order_id:
            raise self._protocol_error(GET_ORDER, answer, "answer.order.orderId is another order's")
        details: ShippingDetails | None = read_shipping_details(body) if wants_details else None
        return FetchedOrder(order, details)

    def _search(
        self,
        window: SearchWindow,
        parts: OrderParts | None,
        before: datetime,
        token: PageToken | None,
        priority: Priority,
        deadline: Deadline,
    ) -> SearchPage:
        query = {
            "lastUpdatedAfter": iso(window.updated_after),
            "lastUpdatedBefore": iso(before),
            "marketplaceIds": ",".join(window.marketplace_ids),
            "fulfilledBy": ",".join(window.fulfilled_by),
            "maxResultsPerPage": str(PAGE_SIZE),
            "includedData": ",".join(_included(parts)),
            "paginationToken": token.amazon if token else "",
        }
        request = Request(
            SEARCH_ORDERS, SEARCH_ORDERS.path, query={name: value for name, value in query.items() if value}
        )

        def call() -> tuple[Answer, SearchPage]:
            answer = self._transport.call(request, self._tokens, priority=priority, deadline=deadline)
            return answer, self._read_page(answer, parts)

        try:
            if parts is not None and OrderParts.SHIPPING_DETAILS in parts:
                found = restricted_listing(self._audit, SEARCH_ORDERS, call, lambda found: [*found[1].shipping_details])
            else:
                found = call()
        except AmazonBadRequest as error:
            raise page_token_error(error) if token else error from None
        answer, page = found
        body = Fields(answer.body, "answer")
        next_token = next_page_token(
            body.part("pagination").opaque("nextToken"),
            [order.order_id for order in page.orders] + [entry.order_id or "" for entry in page.unreadable],
            before=before,
            now=self._transport.clock.now(),
            previous=token,
            operation=SEARCH_ORDERS,
            seller_id=self._transport.seller_id,
            request_id=answer.request_id,
        )
        return replace(page, next_page_token=next_token, listed_until=page.listed_until or before)

    def _read_page(self, answer: Answer, parts: OrderParts | None) -> SearchPage:
        """The page, without its token. As whole answers, an entry with an unreadable item is an unreadable entry."""
        body = Fields(answer.body, "answer")
        with_packages = parts is not None and OrderParts.PACKAGES in parts
        try:
            entries = body.required_parts("orders")
            orders, unreadable = read_entries(
                entries,
                "orderId",
                lambda order: read_order(order, with_packages=with_packages, strict=parts is not None),
            )
            listed_until = body.time("lastUpdatedBefore")
        except FieldProblem as problem:
            raise self._protocol_error(SEARCH_ORDERS, answer, str(problem)) from None
        details: dict[str, ShippingDetails] = {}
        if parts is not None and OrderParts.SHIPPING_DETAILS in parts:
            readable = {order.order_id for order in orders}
            for entry in entries:
                order_id, found = entry.text("orderId"), read_shipping_details(entry)
                if order_id in readable and found is not None:
                    details[order_id] = found
        return SearchPage(orders, None, listed_until, unreadable, details)

    def _protocol_error(self, operation: Operation, answer: Answer, problem: str) -> AmazonError:
        return protocol_error(operation, self._transport.seller_id, answer.request_id, problem)


def _included(parts: OrderParts | None) -> list[str]:
    """The data sets to ask for; None: those of a listing."""
    if parts is None:
        return [*LISTING_DATA]
    details = ["RECIPIENT"] if OrderParts.SHIPPING_DETAILS in parts else []
    return [*STATE_DATA, *details, *(["PACKAGES"] if OrderParts.PACKAGES in parts else [])]


def iso(moment: datetime) -> str:
    """Amazon's spelling of a time: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def page_token_error(error: AmazonBadRequest) -> AmazonPageTokenInvalid:
    """A 400 to a page token: whatever its reason, the way out is to begin the window again."""
    return AmazonPageTokenInvalid(
        f"{error} Begin the same window again; what was found before is recognised.",
        operation=error.operation,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )
