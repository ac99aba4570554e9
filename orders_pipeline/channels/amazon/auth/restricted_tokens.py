"""Restricted data tokens (RDT): what the Orders API v0 wants before it shows a buyer's data.

The API 2026-01-01 has no such token.

The paths are generic: one token serves every order until it expires. One a specific order would cost 21 calls for ten
orders (amzn/selling-partner-api-models#2299). A token lives an hour and is used nearly to its end: one
request an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from orders_pipeline.channels.amazon.audit import AuditSink
from orders_pipeline.channels.amazon.auth.restricted_calls import restricted_call
from orders_pipeline.channels.amazon.auth.tokens import Issued, TokenCache, TokenSource, life_of
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonRoleMissing
from orders_pipeline.channels.amazon.fields import Fields
from orders_pipeline.channels.amazon.http.answers import protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import (
    CREATE_RESTRICTED_DATA_TOKEN,
    GET_ORDER_REGULATED_INFO,
    V0_GET_ORDER,
    V0_GET_ORDER_ITEMS,
    V0_GET_ORDERS,
    Operation,
)
from orders_pipeline.channels.amazon.timing import Deadline
from orders_pipeline.model.order import Priority

# Enough for a request that is under way; one that comes too late all the same is refused once and sent again.
EARLY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Restricted:
    """What one token opens: operations, each with its data elements (none where the path shows all it has)."""

    name: str
    resources: tuple[tuple[Operation, tuple[str, ...]], ...]


# What shipping takes: the address with the order, alone or in a list of several; gift messages and customizations with
# the items. getOrderItems takes buyerInfo only; shippingAddress there is refused with a 400 (facts §3).
TO_SHIP = Restricted(
    "shipping",
    (
        (V0_GET_ORDER, ("shippingAddress",)),
        (V0_GET_ORDERS, ("shippingAddress",)),
        (V0_GET_ORDER_ITEMS, ("buyerInfo",)),
    ),
)
# For both API versions; whoever sells nothing regulated never asks for it.
REGULATED = Restricted("regulated", ((GET_ORDER_REGULATED_INFO, ()),))


def restricted_data_tokens(
    cache: TokenCache, transport: Transport, tokens: AccessTokens, audit: AuditSink, restricted: Restricted = TO_SHIP
) -> TokenSource:
    """The token that opens these resources for every order of this seller."""

    def obtain(deadline: Deadline) -> Issued:
        return restricted_call(
            audit,
            CREATE_RESTRICTED_DATA_TOKEN,
            None,
            lambda: request_token(transport, tokens, deadline, restricted),
            action="amazon_restricted_token",
        )

    return TokenSource(cache, f"restricted:{restricted.name}", obtain, early_seconds=EARLY_SECONDS)


def request_token(
    transport: Transport,
    tokens: AccessTokens,
    deadline: Deadline,
    restricted: Restricted = TO_SHIP,
) -> Issued:
    """Ask for a token. Raises AmazonRoleMissing where Amazon says 400: that is how it tells of a missing role here."""
    body = {"restrictedResources": [_resource(operation, elements) for operation, elements in restricted.resources]}
    request = Request(CREATE_RESTRICTED_DATA_TOKEN, CREATE_RESTRICTED_DATA_TOKEN.path, body=body)
    try:
        answer = transport.call(request, tokens, priority=Priority.EVENT, deadline=deadline)
    except AmazonBadRequest as error:
        raise AmazonRoleMissing(
            f"createRestrictedDataToken answered {error.status} for seller {transport.seller_id} (request id "
            f"{error.request_id or 'none'}): the application has no access to a buyer's address. Add "
            '"Direct-to-Consumer Shipping" both in the developer profile and to the application, then let the seller '
            "authorise the application again.",
            operation=error.operation,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
        ) from None
    fields = Fields(answer.body, "answer")
    # Unwrapped by the model; Amazon's older guide shows it under payload.
    fields = fields if fields.has("restrictedDataToken") else fields.part("payload")
    token = fields.opaque("restrictedDataToken")
    if token is None:
        raise protocol_error(
            CREATE_RESTRICTED_DATA_TOKEN,
            transport.seller_id,
            answer.request_id,
            "answer.restrictedDataToken is missing",
        )
    return Issued(token, life_of(fields.whole("expiresIn")))


def _resource(operation: Operation, elements: tuple[str, ...]) -> dict[str, object]:
    # {orderId} stands in the path as it is: that is what makes it generic.
    resource: dict[str, object] = {"method": operation.method, "path": operation.path.format(order_id="{orderId}")}
    if elements:
        resource["dataElements"] = list(elements)
    return resource
