"""Every operation of Amazon's that we call: one table of facts.

Source: amzn/selling-partner-api-models, commit 34dc93f of 2026-08-05.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from orders_pipeline.model.order import Priority

NOTIFICATIONS_SCOPE = "sellingpartnerapi::notifications"
ROTATION_SCOPE = "sellingpartnerapi::client_credential:rotation"
# Beyond a hundredth or a hundredfold of the documented rate, a header is a mistake: followed, it would stop the seller.
RATE_FACTOR = 100


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `rate` is requests a second, `burst` the bucket's size, `scope` that of a grantless operation.

    `reserve` tokens are left in the bucket by sweeps, `backfill_reserve` by backfills: an event never waits for either.
    """

    name: str
    method: str
    path: str
    rate: float
    burst: int
    reserve: int = 0
    backfill_reserve: int = 0
    scope: str | None = None

    def plausible_rate(self, rate: float) -> float:
        """The rate, or the nearest that Amazon could mean: a seller's differs from the documented, but not so far."""
        return min(max(rate, self.rate / RATE_FACTOR), self.rate * RATE_FACTOR)

    def url_path(self, **values: str) -> str:
        """The path with its parameters filled in and escaped."""
        return self.path.format(**{name: quote(value, safe="") for name, value in values.items()})

    def tokens_left_by(self, priority: Priority) -> int:
        """How many tokens this priority must leave in the bucket."""
        if priority is Priority.EVENT:
            return 0
        return self.reserve if priority is Priority.SWEEP else self.backfill_reserve


# Of the listings, a backfill leaves the sweeps' four tokens, and four pages for a crowd of live orders.
SEARCH_ORDERS = Operation("searchOrders", "GET", "/orders/2026-01-01/orders", 0.0056, 20, reserve=2, backfill_reserve=8)
GET_ORDER = Operation(
    "getOrder", "GET", "/orders/2026-01-01/orders/{order_id}", 0.5, 30, reserve=5, backfill_reserve=10
)

V0_GET_ORDERS = Operation("v0.getOrders", "GET", "/orders/v0/orders", 0.0167, 20, reserve=2, backfill_reserve=8)
V0_GET_ORDER = Operation("v0.getOrder", "GET", "/orders/v0/orders/{order_id}", 0.5, 30, reserve=5, backfill_reserve=10)
V0_GET_ORDER_ITEMS = Operation(
    "v0.getOrderItems", "GET", "/orders/v0/orders/{order_id}/orderItems", 0.5, 30, reserve=5, backfill_reserve=10
)
# Stays on v0 too: no other operation tells whether a regulated order may be shipped.
GET_ORDER_REGULATED_INFO = Operation(
    "getOrderRegulatedInfo",
    "GET",
    "/orders/v0/orders/{order_id}/regulatedInfo",
    0.5,
    30,
    reserve=5,
    backfill_reserve=10,
)

# Stays on v0, where it is not deprecated: 2026-01-01 has no operation that writes.
CONFIRM_SHIPMENT = Operation("confirmShipment", "POST", "/orders/v0/orders/{order_id}/shipmentConfirmation", 2, 10)

CREATE_RESTRICTED_DATA_TOKEN = Operation(
    "createRestrictedDataToken", "POST", "/tokens/2021-03-01/restrictedDataToken", 1, 10
)

CREATE_DESTINATION = Operation(
    "createDestination", "POST", "/notifications/v1/destinations", 1, 5, scope=NOTIFICATIONS_SCOPE
)
GET_DESTINATIONS = Operation(
    "getDestinations", "GET", "/notifications/v1/destinations", 1, 5, scope=NOTIFICATIONS_SCOPE
)
CREATE_SUBSCRIPTION = Operation(
    "createSubscription", "POST", "/notifications/v1/subscriptions/{notification_type}", 1, 5
)
GET_SUBSCRIPTION = Operation("getSubscription", "GET", "/notifications/v1/subscriptions/{notification_type}", 1, 5)
DELETE_SUBSCRIPTION = Operation(
    "deleteSubscriptionById",
    "DELETE",
    "/notifications/v1/subscriptions/{notification_type}/{subscription_id}",
    1,
    5,
    scope=NOTIFICATIONS_SCOPE,
)

GET_MARKETPLACE_PARTICIPATIONS = Operation(
    "getMarketplaceParticipations", "GET", "/sellers/v1/marketplaceParticipations", 0.016, 15
)

CREATE_REPORT = Operation("createReport", "POST", "/reports/2021-06-30/reports", 0.0167, 15)
GET_REPORTS = Operation("getReports", "GET", "/reports/2021-06-30/reports", 0.0222, 10)
GET_REPORT = Operation("getReport", "GET", "/reports/2021-06-30/reports/{report_id}", 2, 15)
GET_REPORT_DOCUMENT = Operation("getReportDocument", "GET", "/reports/2021-06-30/documents/{document_id}", 0.0167, 15)

ROTATE_CLIENT_SECRET = Operation(
    "rotateApplicationClientSecret", "POST", "/applications/2023-11-30/clientSecret", 0.0167, 1, scope=ROTATION_SCOPE
)

OPERATIONS: tuple[Operation, ...] = (
    SEARCH_ORDERS,
    GET_ORDER,
    V0_GET_ORDERS,
    V0_GET_ORDER,
    V0_GET_ORDER_ITEMS,
    GET_ORDER_REGULATED_INFO,
    CONFIRM_SHIPMENT,
    CREATE_RESTRICTED_DATA_TOKEN,
    CREATE_DESTINATION,
    GET_DESTINATIONS,
    CREATE_SUBSCRIPTION,
    GET_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    GET_MARKETPLACE_PARTICIPATIONS,
    CREATE_REPORT,
    GET_REPORTS,
    GET_REPORT,
    GET_REPORT_DOCUMENT,
    ROTATE_CLIENT_SECRET,
)
