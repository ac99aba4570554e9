"""Query parameters of the order listings, read as strictly as Amazon reads them."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders_pipeline.sandbox.amazon.gate import invalid_input
from orders_pipeline.sandbox.clock import Clock, parse_iso

ORDER_ID = re.compile(r"\d{3}-\d{7}-\d{7}")
HOLDBACK = timedelta(minutes=2)
PAGE_TOKEN_LIFE = timedelta(hours=24)


def read_list(query: dict[str, str], name: str, allowed: Iterable[str] | None = None, limit: int = 50) -> list[str]:
    if name not in query:
        return []
    values = query[name].split(",")
    if len(values) > limit:
        raise invalid_input(f"The number of values of {name} must not exceed {limit}.")
    if not all(values):
        raise invalid_input(f"{name} has an empty value.")
    if allowed is not None:
        known = set(allowed)
        for value in values:
            if value not in known:
                raise invalid_input(f"Invalid value '{value}' for {name}.")
    return values


def read_time(query: dict[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return parse_iso(query[name])
    except ValueError as error:
        raise invalid_input(f"{name} is not in ISO 8601 format.") from error


def read_page_size(query: dict[str, str], name: str) -> int:
    text = query.get(name, "100")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise invalid_input(f"{name} must be between 1 and 100.")
    return int(text)


def check_order_id(order_id: str) -> None:
    if not ORDER_ID.fullmatch(order_id):
        raise invalid_input("The order id is invalid: it must be in 3-7-7 format.")


@dataclass(frozen=True)
class Window:
    """By which time, from when, until when."""

    by_update: bool
    after: datetime
    before: datetime

    def contains(self, moment: datetime) -> bool:
        return self.after <= moment <= self.before


def read_window(query: dict[str, str], clock: Clock, names: tuple[str, str, str, str], delay: timedelta) -> Window:
    """`names`: created after, created before, updated after, updated before, in the version's own spelling."""
    created_after, created_before, updated_after, updated_before = names
    by_creation = created_after in query
    by_update = updated_after in query
    if by_creation == by_update:
        raise invalid_input(f"Exactly one of {created_after} and {updated_after} must be given.")
    strangers = (updated_after, updated_before) if by_creation else (created_after, created_before)
    if any(name in query for name in strangers):
        raise invalid_input(
            f"{created_after}, {created_before} cannot be mixed with {updated_after}, {updated_before}."
        )
    after_name, before_name = (created_after, created_before) if by_creation else (updated_after, updated_before)
    after, before = read_time(query, after_name), read_time(query, before_name)
    now = clock.now()
    if after is None or after > now:
        raise invalid_input(f"{after_name} must be in the past.")
    if before is not None:
        if before < after:
            raise invalid_input(f"{before_name} must be equal to or after {after_name}.")
        if before > now - HOLDBACK:
            raise invalid_input(f"{before_name} must be at least two minutes before the time of the request.")
    # A delayed listing shows nothing newer than its delay, whatever was asked for.
    end = min(before, now - delay) if before else now - delay
    return Window(by_update, after, end)


@dataclass
class _Listing:
    fingerprint: str
    order_ids: list[str]
    expires_at: datetime


class PageTokens:
    """Listings that go on: each token knows the parameters it was given for, and lives 24 hours."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}

    def put(self, fingerprint: str, order_ids: list[str]) -> str:
        token = secrets.token_urlsafe(48)
        with self._lock:
            self._listings[token] = _Listing(fingerprint, order_ids, self._clock.now() + PAGE_TOKEN_LIFE)
        return token

    def take(self, token: str, fingerprint: str, *, message: str) -> list[str]:
        with self._lock:
            listing = self._listings.get(token)
        if listing is None or listing.expires_at <= self._clock.now():
            raise invalid_input("The page token is invalid or has expired.")
        if listing.fingerprint != fingerprint:
            raise invalid_input(message)
        return listing.order_ids
