"""A page token of ours: Amazon's, with all that the next page needs to be asked for in the same words.

Amazon has answered the same page again and again under new tokens (amzn/selling-partner-api-docs#2090).
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orders_pipeline.channels.amazon.errors import AmazonPageTokenInvalid, AmazonProtocolError
from orders_pipeline.channels.amazon.quota.operations import Operation

LIFE = timedelta(hours=24)
# Enough to see a loop of pages; a token stays below 2 kB.
PAGES_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class PageToken:
    """`amazon` is Amazon's own token; `before` the end of the window as sent; `seen` fingerprints of pages."""

    amazon: str
    before: datetime
    given_at: datetime
    seen: tuple[str, ...]

    def encode(self) -> str:
        document = [self.amazon, self.before.isoformat(), self.given_at.isoformat(), list(self.seen)]
        return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()


def read_page_token(text: str, operation: Operation, seller_id: str, now: datetime) -> PageToken:
    """Raises AmazonPageTokenInvalid for one that is no longer good; nothing was sent then."""
    try:
        amazon, before, given_at, seen = json.loads(base64.urlsafe_b64decode(text.encode()))
        token = PageToken(
            str(amazon), datetime.fromisoformat(before), datetime.fromisoformat(given_at), tuple(map(str, seen))
        )
    except (ValueError, TypeError) as error:
        raise _invalid(operation, seller_id, "the page token is not one of ours") from error
    if now - token.given_at >= LIFE:
        raise _invalid(operation, seller_id, "the page token is older than the 24 hours that Amazon keeps it")
    return token


def next_page_token(
    amazon: str | None,
    order_ids: list[str],
    *,
    before: datetime,
    now: datetime,
    previous: PageToken | None,
    operation: Operation,
    seller_id: str,
    request_id: str | None,
) -> str | None:
    """The token for the page after this one; None after the last. Raises AmazonProtocolError for a repeated page."""
    fingerprint = hashlib.sha256("\n".join(sorted(order_ids)).encode()).hexdigest()[:12]
    seen = previous.seen if previous else ()
    if order_ids and fingerprint in seen:
        raise AmazonProtocolError(
            f"{operation.name} for seller {seller_id} (request id {request_id or 'none'}) answered a page that it had "
            "answered before: the listing goes in a circle. The pages so far are kept; begin the window again later, "
            "and report it to Amazon with the request id if it goes on.",
            operation=operation.name,
            status=200,
            request_id=request_id,
        )
    if not amazon:
        return None
    return PageToken(amazon, before, now.astimezone(UTC), (*seen, fingerprint)[-PAGES_REMEMBERED:]).encode()


def _invalid(operation: Operation, seller_id: str, problem: str) -> AmazonPageTokenInvalid:
    return AmazonPageTokenInvalid(
        f"{operation.name} for seller {seller_id} was not sent: {problem}. Begin the same window again; what was found "
        "before is recognised.",
        operation=operation.name,
        code="PageTokenInvalid",
    )
