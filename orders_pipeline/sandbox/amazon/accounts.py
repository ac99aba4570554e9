"""Who may call: applications, sellers, and the tokens that Login with Amazon gave them."""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orders_pipeline.sandbox.clock import Clock

# Amazon's role names, as far as they decide what an answer holds.
INVENTORY_AND_ORDER_TRACKING = "Inventory and Order Tracking"
DIRECT_TO_CONSUMER = "Direct-to-Consumer Shipping"
TAX_INVOICING = "Tax Invoicing"

GRANTLESS_SCOPES = ("sellingpartnerapi::notifications", "sellingpartnerapi::client_credential:rotation")
RESTRICTED_TOKEN_SECONDS = 3600
CODE_SECONDS = 300


@dataclass
class Application:
    application_id: str
    client_id: str
    client_secrets: list[str]  # two during a rotation: the new one and the old one
    redirect_uris: list[str] = field(default_factory=list[str])  # as registered: consents come back there alone
    is_draft: bool = False
    rotation_queue_arn: str | None = None  # where a new client secret is sent; None: it is not enrolled
    consents_at_most: int | None = None
    consented: set[str] = field(default_factory=set[str])


@dataclass
class Seller:
    seller_id: str
    refresh_token: str
    marketplace_ids: list[str]
    roles: set[str] = field(default_factory=lambda: {INVENTORY_AND_ORDER_TRACKING, DIRECT_TO_CONSUMER})
    store_name: str = "Sandbox Store"
    revoked: bool = False
    earlier_tokens: list[str] = field(default_factory=list[str])


@dataclass
class ConsentCode:
    """What a seller's consent is exchanged by: once, by whoever gives the same redirect URI."""

    value: str
    seller: Seller
    redirect_uri: str
    expires_at: datetime


@dataclass
class AccessToken:
    value: str
    application: Application
    seller: Seller | None  # None: a grantless token
    scope: str | None
    expires_at: datetime


@dataclass
class RestrictedResource:
    method: str
    path: str
    data_elements: tuple[str, ...]

    def covers(self, method: str, path: str) -> bool:
        pattern = re.escape(self.path).replace(r"\{orderId\}", "[^/]+")
        return method == self.method and re.fullmatch(pattern, path) is not None


@dataclass
class RestrictedToken:
    value: str
    application: Application
    seller: Seller
    resources: list[RestrictedResource]
    expires_at: datetime


class Accounts:
    def __init__(self, clock: Clock, *, token_seconds: int) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.token_seconds = token_seconds
        self.application = Application(
            application_id="amzn1.sp.solution.sandbox",
            client_id="amzn1.application-oa2-client.sandbox",
            client_secrets=["amzn1.oa2-cs.v1.sandbox-secret"],
        )
        self.sellers: dict[str, Seller] = {}
        self._access: dict[str, AccessToken] = {}
        self._restricted: dict[str, RestrictedToken] = {}
        self._codes: dict[str, ConsentCode] = {}

    def add_seller(self, seller_id: str, marketplace_ids: list[str]) -> Seller:
        # Another one in every sandbox: clients cache access tokens by it, and those of the last sandbox are void.
        seller = Seller(seller_id, f"Atzr|{seller_id}-{secrets.token_hex(8)}", list(marketplace_ids))
        with self._lock:
            self.sellers[seller_id] = seller
        return seller

    def seller_of_refresh_token(self, refresh_token: str) -> Seller | None:
        with self._lock:
            for seller in self.sellers.values():
                if refresh_token in (seller.refresh_token, *seller.earlier_tokens) and not seller.revoked:
                    return seller
        return None

    def consent(self, seller_id: str, redirect_uri: str) -> str | None:
        """The seller gives consent: the code for it; None where no more sellers may."""
        with self._lock:
            application, seller = self.application, self.sellers[seller_id]
            others = application.consented - {seller_id}
            if application.consents_at_most is not None and len(others) >= application.consents_at_most:
                return None
            application.consented.add(seller_id)
            value = "S" + secrets.token_urlsafe(12)
            expires_at = self._clock.now() + timedelta(seconds=CODE_SECONDS)
            self._codes[value] = ConsentCode(value, seller, redirect_uri, expires_at)
            return value

    def exchange(self, code: str, redirect_uri: str) -> Seller | None:
        """The seller whose consent this code is, with a refresh token of its own from here on; None: it is refused."""
        with self._lock:
            found = self._codes.pop(code, None)
            if found is None or found.redirect_uri != redirect_uri or self._clock.now() >= found.expires_at:
                return None
            # A consent that is given once more ends no token that an earlier one gave.
            seller = found.seller
            seller.earlier_tokens = [] if seller.revoked else [*seller.earlier_tokens, seller.refresh_token]
            seller.refresh_token = f"Atzr|{seller.seller_id}-{secrets.token_hex(24)}"
            seller.revoked = False
            return seller

    def issue(self, seller: Seller | None, scope: str | None) -> AccessToken:
        # Real tokens are a few hundred characters; a client that cuts them short should find out here.
        value = "Atza|" + secrets.token_urlsafe(240)
        expires_at = self._clock.now() + timedelta(seconds=self.token_seconds)
        token = AccessToken(value, self.application, seller, scope, expires_at)
        with self._lock:
            self._access[value] = token
        return token

    def issue_restricted(self, seller: Seller, resources: list[RestrictedResource]) -> RestrictedToken:
        value = "Atz.sprdt|" + secrets.token_urlsafe(240)
        expires_at = self._clock.now() + timedelta(seconds=RESTRICTED_TOKEN_SECONDS)
        token = RestrictedToken(value, self.application, seller, resources, expires_at)
        with self._lock:
            self._restricted[value] = token
        return token

    def find(self, value: str) -> AccessToken | RestrictedToken | None:
        with self._lock:
            return self._access.get(value) or self._restricted.get(value)

    def is_expired(self, token: AccessToken | RestrictedToken) -> bool:
        return self._clock.now() >= token.expires_at

    def expire_tokens(self) -> None:
        """Every token given so far is over at once."""
        with self._lock:
            for token in (*self._access.values(), *self._restricted.values()):
                token.expires_at = self._clock.now()

    def revoke(self, seller_id: str) -> None:
        """The seller withdraws the authorisation: refresh token and access tokens stop working."""
        with self._lock:
            seller = self.sellers[seller_id]
            seller.revoked = True
            for token in (*self._access.values(), *self._restricted.values()):
                if token.seller is seller:
                    token.expires_at = self._clock.now()

    def authorize_again(self, seller_id: str) -> None:
        with self._lock:
            self.sellers[seller_id].revoked = False

    def remove_role(self, seller_id: str, role: str = DIRECT_TO_CONSUMER) -> None:
        self.sellers[seller_id].roles.discard(role)

    def add_role(self, seller_id: str, role: str = DIRECT_TO_CONSUMER) -> None:
        self.sellers[seller_id].roles.add(role)
