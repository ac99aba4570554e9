"""Amazon's routes: which path is which operation, and which token it wants."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from orders_pipeline.sandbox.amazon import applications, consent
from orders_pipeline.sandbox.amazon.gate import Gate
from orders_pipeline.sandbox.amazon.login import Login
from orders_pipeline.sandbox.amazon.notifications_api import NotificationsApi
from orders_pipeline.sandbox.amazon.orders_v0 import OrdersV0
from orders_pipeline.sandbox.amazon.orders_v2026 import OrdersV2026
from orders_pipeline.sandbox.amazon.reports_api import DOCUMENTS, ReportsApi
from orders_pipeline.sandbox.amazon.restricted_tokens import RestrictedTokens
from orders_pipeline.sandbox.amazon.sellers import Sellers
from orders_pipeline.sandbox.amazon.shipments import Shipments
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.queue import Queue

NOTIFICATIONS_SCOPE = "sellingpartnerapi::notifications"


def amazon_application(state: AmazonState, queue: Queue, control_routes: list[BaseRoute]) -> Starlette:
    gate, consents = Gate(state), consent.Consents(state)
    return Starlette(
        routes=[
            Route("/auth/o2/token", Login(state).endpoint, methods=["POST"]),
            Route(consent.PATH, consents.show, methods=["GET"]),
            Route(consent.PATH, consents.decide, methods=["POST"]),
            Route(
                "/applications/2023-11-30/clientSecret",
                gate.endpoint(
                    "rotateApplicationClientSecret",
                    applications.ApplicationsApi(state, queue).rotate_client_secret,
                    grantless_scope=applications.SCOPE,
                ),
                methods=["POST"],
            ),
            *_orders(gate),
            *_notifications(gate, queue),
            *_reports(gate),
            *control_routes,
        ],
        exception_handlers={404: _no_such_path, 405: _no_such_path},
    )


def _orders(gate: Gate) -> list[Route]:
    state = gate.state
    v2026, v0 = OrdersV2026(state), OrdersV0(state)
    confirm, tokens, sellers = Shipments(state), RestrictedTokens(state), Sellers(state)
    new, old = "/orders/2026-01-01/orders", "/orders/v0/orders"
    one = f"{old}/{{order_id}}"
    return [
        Route(new, gate.endpoint("searchOrders", v2026.search_orders)),
        Route(f"{new}/{{order_id}}", gate.endpoint("getOrder", v2026.get_order)),
        Route(old, gate.endpoint("v0.getOrders", v0.get_orders, restricted=True)),
        Route(one, gate.endpoint("v0.getOrder", v0.get_order, restricted=True)),
        Route(f"{one}/buyerInfo", gate.endpoint("v0.getOrderBuyerInfo", v0.get_buyer_info, restricted=True)),
        Route(f"{one}/regulatedInfo", gate.endpoint("getOrderRegulatedInfo", v0.get_regulated_info, restricted=True)),
        Route(f"{one}/address", gate.endpoint("v0.getOrderAddress", v0.get_address, restricted=True)),
        Route(f"{one}/orderItems", gate.endpoint("v0.getOrderItems", v0.get_items, restricted=True)),
        Route(
            f"{one}/orderItems/buyerInfo",
            gate.endpoint("v0.getOrderItemsBuyerInfo", v0.get_items_buyer_info, restricted=True),
        ),
        Route(
            f"{one}/shipmentConfirmation", gate.endpoint("confirmShipment", confirm.confirm_shipment), methods=["POST"]
        ),
        Route(
            "/tokens/2021-03-01/restrictedDataToken",
            gate.endpoint("createRestrictedDataToken", tokens.create),
            methods=["POST"],
        ),
        Route(
            "/sellers/v1/marketplaceParticipations",
            gate.endpoint("getMarketplaceParticipations", sellers.get_marketplace_participations),
        ),
    ]


def _notifications(gate: Gate, queue: Queue) -> list[Route]:
    api, scope = NotificationsApi(gate.state, queue), NOTIFICATIONS_SCOPE
    destinations = "/notifications/v1/destinations"
    subscriptions = "/notifications/v1/subscriptions"
    one_type = f"{subscriptions}/{{notification_type}}"
    one_destination, one_subscription = f"{destinations}/{{destination_id}}", f"{one_type}/{{subscription_id}}"
    return [
        Route(
            destinations,
            gate.endpoint("createDestination", api.create_destination, grantless_scope=scope),
            methods=["POST"],
        ),
        Route(destinations, gate.endpoint("getDestinations", api.get_destinations, grantless_scope=scope)),
        Route(one_destination, gate.endpoint("getDestination", api.get_destination, grantless_scope=scope)),
        Route(
            one_destination,
            gate.endpoint("deleteDestination", api.delete_destination, grantless_scope=scope),
            methods=["DELETE"],
        ),
        Route(subscriptions, gate.endpoint("getSubscriptions", api.get_subscriptions)),
        Route(one_type, gate.endpoint("createSubscription", api.create_subscription), methods=["POST"]),
        Route(one_type, gate.endpoint("getSubscription", api.get_subscription)),
        Route(
            one_subscription, gate.endpoint("getSubscriptionById", api.get_subscription_by_id, grantless_scope=scope)
        ),
        Route(
            one_subscription,
            gate.endpoint("deleteSubscriptionById", api.delete_subscription_by_id, grantless_scope=scope),
            methods=["DELETE"],
        ),
    ]


def _reports(gate: Gate) -> list[Route]:
    api = ReportsApi(gate.state)
    reports, documents = "/reports/2021-06-30/reports", "/reports/2021-06-30/documents"
    one = f"{reports}/{{report_id}}"
    return [
        Route(reports, gate.endpoint("createReport", api.create_report), methods=["POST"]),
        Route(reports, gate.endpoint("getReports", api.get_reports)),
        Route(one, gate.endpoint("getReport", api.get_report)),
        Route(one, gate.endpoint("cancelReport", api.cancel_report), methods=["DELETE"]),
        Route(f"{documents}/{{document_id}}", gate.endpoint("getReportDocument", api.get_report_document)),
        # Amazon's storage, which is none of the API's: no token, no quota.
        Route(f"{DOCUMENTS}/{{document_id}}", api.download),
    ]


async def _no_such_path(_request: Request, _error: Exception) -> JSONResponse:
    # What Amazon's front door answers for a path that it does not know.
    body = {
        "errors": [{"code": "MissingAuthenticationToken", "message": "Missing Authentication Token", "details": ""}]
    }
    return JSONResponse(body, 403)
