"""Does Amazon let us do what we are here for? One finding a subject.

Each look costs at most one request of an operation, none of the rare ones; none reads an order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.channels.amazon.api.notifications import FBA_SHIPMENT_STATUS
from orders_pipeline.channels.amazon.client import AmazonClient
from orders_pipeline.channels.amazon.diagnostics import DiagnosticResult, bad, good
from orders_pipeline.channels.amazon.errors import AmazonBadRequest, AmazonError, AmazonNotFound
from orders_pipeline.channels.amazon.notification_types import wanted_notifications

DEADLINE_SECONDS = 20.0
# An order id of the right form that no order has: 404 says that the role is there.
NO_ORDER = "000-0000000-0000000"
CLOCK_TOLERANCE = timedelta(seconds=30)


def check_amazon(
    client: AmazonClient, settings: AmazonSettings, queue_arn: str | None = None
) -> list[DiagnosticResult]:
    """Every finding, good or bad; never raises AmazonError."""
    checks: list[tuple[str, Callable[[], DiagnosticResult]]] = [
        ("credentials", lambda: _credentials(client)),
        ("order role", lambda: _order_role(client)),
        ("personal data role", lambda: _personal_data_role(client)),
        ("marketplaces", lambda: _marketplaces(client, settings)),
        ("subscription", lambda: _subscription(client, queue_arn)),
        ("clock", lambda: _clock(client)),
    ]
    if FBA_SHIPMENT_STATUS in wanted_notifications(settings):
        checks.append(("FBA subscription", lambda: _fba_subscription(client, queue_arn)))
    results: list[DiagnosticResult] = []
    for subject, check in checks:
        try:
            results.append(check())
        except AmazonError as error:
            results.append(bad(subject, f"{type(error).__name__}", str(error)))
        if subject == "credentials" and not results[0].ok:
            # Everything else would say the same.
            break
    return results


def _credentials(client: AmazonClient) -> DiagnosticResult:
    client.tokens.current(client.transport.deadline(DEADLINE_SECONDS))
    return good("credentials", f"Login with Amazon issues tokens for seller {client.seller_id}")


def _order_role(client: AmazonClient) -> DiagnosticResult:
    try:
        client.orders.get_order(NO_ORDER, deadline_seconds=DEADLINE_SECONDS)
    except (AmazonNotFound, AmazonBadRequest):
        # It was let in: only the order is not there.
        return good("order role", f"the Orders API {client.orders.api_version} answers")
    return good("order role", f"the Orders API {client.orders.api_version} answers")


def _personal_data_role(client: AmazonClient) -> DiagnosticResult:
    # Version 2026-01-01 leaves a buyer's data out without a word where the role is missing; the Tokens API says it.
    client.restricted.current(client.transport.deadline(DEADLINE_SECONDS))
    return good("personal data role", "addresses of merchant-fulfilled orders may be read")


def _marketplaces(client: AmazonClient, settings: AmazonSettings) -> DiagnosticResult:
    known = {one.marketplace_id: one for one in client.sellers.marketplace_participations()}
    problems: list[str] = []
    for marketplace_id in settings.marketplace_ids:
        one = known.get(marketplace_id)
        if one is None or not one.participates:
            problems.append(f"the seller takes no part in {marketplace_id}")
        elif one.has_suspended_listings:
            problems.append(f"listings in {marketplace_id} are suspended")
    if problems:
        others = ", ".join(sorted(one for one in known if known[one].participates))
        return bad(
            "marketplaces",
            "; ".join(problems),
            f"Look at AMAZON_MARKETPLACE_ID (this seller is in {others or 'none'}), or in Seller Central.",
        )
    return good("marketplaces", f"{len(settings.marketplace_ids)} of {len(known)} in region {client.region}")


def _subscription(client: AmazonClient, queue_arn: str | None) -> DiagnosticResult:
    subscription = client.notifications.get_subscription()
    subscribe = "Run `orders-pipeline subscribe`; until then only sweeps find orders."
    if subscription is None:
        return bad("subscription", "there is no ORDER_CHANGE subscription", subscribe)
    if not subscription.delivers_what_is_needed:
        return bad("subscription", "its filter leaves out order changes that are needed", subscribe)
    arns = {one.destination_id: one.queue_arn for one in client.notifications.get_destinations()}
    delivered_to = arns.get(subscription.destination_id or "")
    if queue_arn is not None and delivered_to != queue_arn:
        return bad(
            "subscription",
            f"ORDER_CHANGE goes to {delivered_to or 'an unknown destination'}",
            "If no other program reads that queue, run `orders-pipeline subscribe` with replace.",
        )
    return good("subscription", f"ORDER_CHANGE goes to {delivered_to or subscription.destination_id}")


def _fba_subscription(client: AmazonClient, queue_arn: str | None) -> DiagnosticResult:
    subject, subscription = "FBA subscription", client.notifications.get_subscription(FBA_SHIPMENT_STATUS)
    arns = {one.destination_id: one.queue_arn for one in client.notifications.get_destinations()}
    delivered_to = arns.get(subscription.destination_id or "") if subscription else None
    if subscription is None or (queue_arn is not None and delivered_to != queue_arn):
        return bad(
            subject,
            f"{FBA_SHIPMENT_STATUS} goes to {delivered_to or 'no queue'}",
            "Do you take part in FBA Onsite? Run `orders-pipeline subscribe`. If not, set ORDERS_WATCH_FBA=false.",
        )
    return good(subject, f"{FBA_SHIPMENT_STATUS} (FBA Onsite) goes to {delivered_to}")


def _clock(client: AmazonClient) -> DiagnosticResult:
    if not client.clock.known:
        return bad(
            "clock", "Amazon's time is not known", "No answer carried a Date header: look for a proxy on the way."
        )
    seconds = client.clock.offset.total_seconds()
    if abs(client.clock.offset) > CLOCK_TOLERANCE:
        return bad("clock", f"{seconds:.0f} s from Amazon's", "Let this machine's clock be set by NTP.")
    return good("clock", f"{seconds:.0f} s from Amazon's")
