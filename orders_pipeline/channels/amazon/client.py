"""One seller's Amazon: everything that the stages call, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import requests

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.channels.amazon.api.applications import ApplicationsV2023
from orders_pipeline.channels.amazon.api.confirm_shipment import ShipmentsV0
from orders_pipeline.channels.amazon.api.notifications import NotificationsV1, SubscriptionReport
from orders_pipeline.channels.amazon.api.orders_v0 import OrdersV0
from orders_pipeline.channels.amazon.api.orders_v2026 import OrdersV2026
from orders_pipeline.channels.amazon.api.regulated_v0 import RegulatedV0
from orders_pipeline.channels.amazon.api.report_documents import DocumentStorage
from orders_pipeline.channels.amazon.api.reports import ReportsV2021
from orders_pipeline.channels.amazon.api.sellers import SellersV1
from orders_pipeline.channels.amazon.audit import AuditSink, NoAudit
from orders_pipeline.channels.amazon.auth.authorizations import grant_fingerprint
from orders_pipeline.channels.amazon.auth.credentials import StoredCredentials
from orders_pipeline.channels.amazon.auth.login import LOGIN_SECONDS, Login
from orders_pipeline.channels.amazon.auth.restricted_tokens import REGULATED, TO_SHIP, restricted_data_tokens
from orders_pipeline.channels.amazon.auth.tokens import TokenCache, TokenSource
from orders_pipeline.channels.amazon.http.sessions import CONNECT_SECONDS, READ_SECONDS, USER_AGENT, open_amazon_session
from orders_pipeline.channels.amazon.http.transport import Transport
from orders_pipeline.channels.amazon.quota.limits import NO_SELLER, Limits
from orders_pipeline.channels.amazon.quota.operations import NOTIFICATIONS_SCOPE, ROTATION_SCOPE
from orders_pipeline.channels.amazon.timing import AmazonClock, Timing
from orders_pipeline.database.engine import Database
from orders_pipeline.model.order import OrdersPort, VerificationsPort
from orders_pipeline.model.report import ReportsPort
from orders_pipeline.model.shipment import ShipmentsPort
from orders_pipeline.vault.keys import KeyProvider


@dataclass(frozen=True, slots=True)
class AmazonClient:
    """One seller in one region. Thread-safe. Close it when done; the database is the caller's."""

    seller_id: str
    region: str
    orders: OrdersPort
    verifications: VerificationsPort
    shipments: ShipmentsPort
    notifications: NotificationsV1
    sellers: SellersV1
    reports: ReportsPort
    limits: Limits
    clock: AmazonClock
    transport: Transport
    tokens: TokenSource
    restricted: TokenSource
    applications: ApplicationsV2023
    login: Login
    session: requests.Session

    def close(self) -> None:
        self.session.close()


def open_amazon(
    settings: AmazonSettings,
    database: Database,
    keys: KeyProvider,
    audit: AuditSink | None = None,
    *,
    user_agent: str = USER_AGENT,
    timeouts: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    total_seconds: float = READ_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    clock: Callable[[], datetime] | None = None,
    time_observer: Callable[[datetime], None] | None = None,
) -> AmazonClient:
    """Put the client together. Nothing is sent: the first call obtains the first token."""
    timing = Timing(sleep=sleep, monotonic=monotonic, now=clock or _utc_now)
    sink = audit or NoAudit()
    session = open_amazon_session(user_agent)
    limits = Limits(
        database,
        application_id=settings.client_id,
        # An account is one seller in one region, and its limits are shown under its name as everything of it.
        seller_id=settings.account_id,
        region=settings.region,
        timing=timing,
    )
    amazon_clock = AmazonClock(timing, observer=time_observer)
    transport = Transport(
        endpoint=settings.spapi_endpoint,
        seller_id=settings.seller_id,
        session=session,
        limits=limits,
        clock=amazon_clock,
        timing=timing,
        timeouts=timeouts,
        total_seconds=total_seconds,
    )
    credentials = StoredCredentials(settings, database, keys)
    login = Login(settings, session, timing, credentials, total_seconds=min(total_seconds, LOGIN_SECONDS))
    cache = _cache(settings, database, keys, timing, settings.account_id, credentials.grant)
    application_cache = _cache(settings, database, keys, timing, NO_SELLER, grant_fingerprint(settings.client_id, ""))
    tokens = TokenSource(cache, "access", login.seller_token)
    application_tokens = TokenSource(
        application_cache,
        f"grantless:{NOTIFICATIONS_SCOPE}",
        lambda deadline: login.application_token(NOTIFICATIONS_SCOPE, deadline),
    )
    rotation_tokens = TokenSource(
        application_cache,
        f"grantless:{ROTATION_SCOPE}",
        lambda deadline: login.application_token(ROTATION_SCOPE, deadline),
    )
    restricted = restricted_data_tokens(cache, transport, tokens, sink, TO_SHIP)
    orders: OrdersPort
    if settings.orders_api == "v0":
        orders = OrdersV0(
            transport,
            tokens,
            restricted,
            sink,
            settings.marketplace_ids,
        )
    else:
        orders = OrdersV2026(transport, tokens, sink)
    storage = DocumentStorage(
        session, endpoint=settings.spapi_endpoint, seller_id=settings.seller_id, timeouts=timeouts
    )
    return AmazonClient(
        seller_id=settings.seller_id,
        region=settings.region,
        orders=orders,
        verifications=RegulatedV0(transport, restricted_data_tokens(cache, transport, tokens, sink, REGULATED), sink),
        shipments=ShipmentsV0(transport, tokens),
        notifications=NotificationsV1(transport, tokens, application_tokens),
        sellers=SellersV1(transport, tokens),
        reports=ReportsV2021(transport, tokens, storage),
        limits=limits,
        clock=amazon_clock,
        transport=transport,
        tokens=tokens,
        restricted=restricted,
        applications=ApplicationsV2023(transport, rotation_tokens),
        login=login,
        session=session,
    )


def subscribe(client: AmazonClient, queue_arn: str, *, replace: bool = False) -> SubscriptionReport:
    """Have ORDER_CHANGE delivered to this queue; running it again changes nothing."""
    return client.notifications.subscribe(queue_arn, replace=replace)


def _cache(
    settings: AmazonSettings,
    database: Database,
    keys: KeyProvider,
    timing: Timing,
    account_id: str,
    grant: str | Callable[[], str],
) -> TokenCache:
    return TokenCache(
        database,
        keys,
        application_id=settings.client_id,
        account_id=account_id,
        region=settings.region,
        grant=grant,
        timing=timing,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
