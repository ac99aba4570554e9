"""What can go wrong at Amazon: one typed tree.

Never a body: it could hold a buyer's data.

What a caller does about each is in failures.py; the transport retries AmazonThrottled and AmazonUnavailable until its
deadline, and an AmazonAuthError once, with a fresh token.
"""

from __future__ import annotations

from datetime import datetime


class AmazonError(Exception):
    """An answer of Amazon's that is not a success, or no answer."""

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self.operation = operation
        self.status = status
        self.code = code
        self.request_id = request_id
        super().__init__(message)


class LimitNotBefore(AmazonError):
    """No quota within the caller's deadline, or the breaker is open. Nothing was sent. Ask again at `not_before`."""

    retryable = True

    def __init__(self, message: str, *, operation: str, not_before: datetime) -> None:
        super().__init__(message, operation=operation)
        self.not_before = not_before


class AmazonThrottled(AmazonError):
    """429: the quota was exceeded in spite of the bucket (another application instance, or a lowered limit)."""

    retryable = True


class AmazonUnavailable(AmazonError):
    """500, 503, a connection error or a time-out. For a write the outcome is unknown: read back before repeating."""

    retryable = True


class AmazonBadRequest(AmazonError):
    """400, 413, 415: what was sent is wrong, and repeating it cannot succeed."""


class AmazonConflict(AmazonBadRequest):
    """409: it is there already. Read it and go on."""


class AmazonPageTokenInvalid(AmazonBadRequest):
    """The page token is older than 24 hours, or Amazon no longer takes it: begin the same window again."""


class AmazonNotFound(AmazonError):
    """404: Amazon does not know this order (or not for this seller)."""


class AmazonProtocolError(AmazonError):
    """An answer with a success status that is not what the model says it is."""


class AmazonAuthError(AmazonError):
    """401 or 403 after a fresh token. One seller's; the others go on."""


class AmazonTokenExpired(AmazonAuthError):
    """The access token, or the client secret behind it, has expired."""


class AmazonRoleMissing(AmazonAuthError):
    """The application, or the seller's authorisation of it, lacks a role."""


class AmazonWrongRegion(AmazonAuthError):
    """The marketplace or the endpoint belongs to another region than the authorisation."""


class AmazonRevoked(AmazonAuthError):
    """invalid_grant: the seller has taken the authorisation back. Final until they authorise again."""


class AmazonNotAuthorized(AmazonAuthError):
    """Nobody has authorised the application for this account, or the authorisation has ended. Nothing was sent."""


class AmazonCodeRefused(AmazonAuthError):
    """A consent's code, or a token that was typed, is not taken: the seller gives consent once more."""


class AmazonClientInvalid(AmazonAuthError):
    """invalid_client: the client id or every client secret is wrong. Final until they are set right."""
