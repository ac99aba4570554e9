"""What an answer of Amazon's means: a body, or one of the typed errors.

Never the body itself: of Amazon's words only the code, and, where we sent something wrong, the sentence about it (we
send nothing of a buyer's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orders_pipeline.audit.redaction import redact
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonConflict,
    AmazonError,
    AmazonNotFound,
    AmazonProtocolError,
    AmazonRevoked,
    AmazonRoleMissing,
    AmazonThrottled,
    AmazonTokenExpired,
    AmazonUnavailable,
    AmazonWrongRegion,
)
from orders_pipeline.channels.amazon.quota.operations import Operation
from orders_pipeline.http.replies import BadBody, Reply
from orders_pipeline.model.untrusted_text import bounded_id, bounded_text

REQUEST_ID = "x-amzn-RequestId"
RATE_LIMIT = "x-amzn-RateLimit-Limit"
# Amazon's request ids have 36 characters, its codes some twenty; a proxy writes what it likes.
REQUEST_ID_CHARACTERS, CODE_CHARACTERS, SENTENCE_CHARACTERS = 64, 60, 200
# Enough to tell a refusal's kind, and to mask what is whole, before the sentence is cut.
READ_CHARACTERS = 2_000
PACKAGE_TO_UPDATE_NOT_FOUND = "PackageToUpdateNotFound"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success. `body` is empty for 204."""

    body: Mapping[str, Any] = field(repr=False)
    request_id: str | None


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """Amazon's first error, as far as it is safe to keep: of bounded length, and visible characters alone."""

    code: str | None
    message: str
    details: str
    has_errors: bool


def read_answer(reply: Reply, operation: Operation, seller_id: str) -> Answer:
    """The answer's body. Raises the error that the answer is; AmazonAuthError for every 401 and 403."""
    request_id = bounded_id(reply.headers.get(REQUEST_ID), REQUEST_ID_CHARACTERS)
    status = reply.status
    body, problem = _json_object(reply)
    if status == 204:
        return Answer({}, request_id)
    if 200 <= status < 300:
        if body is None:
            raise AmazonProtocolError(
                f"{_where(operation, status, seller_id, request_id)}: {problem}. Nothing was taken "
                "from it. If it goes on, look for a proxy on the way, and report it to Amazon with the request id.",
                operation=operation.name,
                status=status,
                request_id=request_id,
            )
        if body.get("errors") and not body.get("payload"):
            refusal = _error_body(body)
            raise AmazonProtocolError(
                f"{_where(operation, status, seller_id, request_id)}, but with errors ({refusal.code}). Nothing was "
                "taken from it. Report it to Amazon with the request id if it goes on.",
                operation=operation.name,
                status=status,
                code=refusal.code,
                request_id=request_id,
            )
        return Answer(body, request_id)
    if (host := reply.redirect) is not None:
        raise AmazonProtocolError(
            f"{_where(operation, status, seller_id, request_id)}: a redirect to {host}, which is not followed. Look at "
            "AMAZON_SPAPI_ENDPOINT, and for a proxy on the way.",
            operation=operation.name,
            status=status,
            request_id=request_id,
        )
    raise _error(operation, status, seller_id, request_id, _error_body(body))


def protocol_error(operation: Operation, seller_id: str, request_id: str | None, problem: str) -> AmazonProtocolError:
    """A success whose content is not what the model says. `problem` names a field, never its value."""
    return AmazonProtocolError(
        f"{_where(operation, 200, seller_id, request_id)}: {problem}. Nothing was taken from it. Compare with Amazon's "
        "model, and report it to Amazon with the request id.",
        operation=operation.name,
        status=200,
        request_id=request_id,
    )


def no_answer(operation: Operation, seller_id: str, failure: str) -> AmazonUnavailable:
    """No answer: whether the request had its effect is not known."""
    return AmazonUnavailable(
        f"{operation.name} for seller {seller_id} got no answer ({failure}). It is tried again; if it goes on, look at "
        "this machine's network and at Amazon's status page.",
        operation=operation.name,
    )


def _error(
    operation: Operation, status: int, seller_id: str, request_id: str | None, refusal: _ErrorBody
) -> AmazonError:
    where = _where(operation, status, seller_id, request_id)
    if status in (401, 403):
        return _auth_error(operation, status, where, request_id, refusal)
    kind: type[AmazonError]
    code = refusal.code
    if status == 429:
        kind, problem = (
            AmazonThrottled,
            (
                "the quota is used up. The bucket was emptied and rests; if this is frequent, another program uses "
                "the same application, or Amazon has lowered the limit"
            ),
        )
    elif status >= 500:
        kind, problem = (
            AmazonUnavailable,
            ("Amazon's service fails. It is tried again; if it goes on, look at Amazon's status page"),
        )
    elif status == 404 and refusal.has_errors:
        kind, problem = (
            AmazonNotFound,
            ("Amazon does not know it, or not for this seller. Compare the seller and the region with the order's"),
        )
    elif status in (404, 405) or status < 400:
        kind, problem = (
            AmazonProtocolError,
            (
                "this is not an answer of the Selling Partner API. Look at AMAZON_SPAPI_ENDPOINT, and for a proxy on "
                "the way"
            ),
        )
    else:
        kind = AmazonConflict if status == 409 else AmazonBadRequest
        if PACKAGE_TO_UPDATE_NOT_FOUND in refusal.message:
            code = PACKAGE_TO_UPDATE_NOT_FOUND
        said = f" Amazon says: {bounded_text(redact(refusal.message), SENTENCE_CHARACTERS)}" if refusal.message else ""
        problem = f"what was sent is not accepted ({code or 'no code'}); sending it again cannot help.{said}"
    return kind(
        f"{where}: {problem.rstrip('.')}.", operation=operation.name, status=status, code=code, request_id=request_id
    )


def _auth_error(
    operation: Operation, status: int, where: str, request_id: str | None, refusal: _ErrorBody
) -> AmazonAuthError:
    said = f"{refusal.message} {refusal.details}".lower()
    kind: type[AmazonAuthError] = AmazonAuthError
    if "secret" in said and "expired" in said:
        kind, problem = (
            AmazonTokenExpired,
            (
                "the client secret has expired (it lives 180 days). Make a new one in the developer console and set "
                "AMAZON_LWA_CLIENT_SECRET; keep the old one in AMAZON_LWA_CLIENT_SECRET_PREVIOUS for half an hour"
            ),
        )
    elif "region" in said or "marketplaces you provided" in said:
        kind, problem = (
            AmazonWrongRegion,
            (
                "the marketplace does not belong to this authorisation's region. Look at AMAZON_MARKETPLACE_ID, "
                "AMAZON_REGION and AMAZON_SPAPI_ENDPOINT: an authorisation is for one region"
            ),
        )
    elif "expired" in said:
        kind, problem = (
            AmazonTokenExpired,
            (
                "the access token counts as expired though it is new. Compare this machine's clock with Amazon's "
                "(`orders-pipeline doctor`)"
            ),
        )
    elif "revoked" in said or "malformed" in said:
        kind, problem = (
            AmazonRevoked,
            (
                "the access token is not taken though it is new: the seller took the authorisation back, or the token "
                "is of another region than the endpoint. Let the seller authorise the application again, and look at "
                "AMAZON_REGION"
            ),
        )
    elif refusal.has_errors:
        kind, problem = (
            AmazonRoleMissing,
            (
                "the application lacks a role for this data, or the seller authorised it before the role was added. "
                f"Add {_role(operation)} in the developer profile, then let the seller authorise the application again"
            ),
        )
    else:
        problem = (
            "it was refused before it reached the API. Look at AMAZON_SPAPI_ENDPOINT, and whether the seller's account "
            "is active"
        )
    return kind(
        f"{where}: {problem}.", operation=operation.name, status=status, code=refusal.code, request_id=request_id
    )


def _role(operation: Operation) -> str:
    if operation.path.startswith("/notifications"):
        return '"Inventory and Order Tracking" or "Direct-to-Consumer Shipping"'
    if operation.path.startswith("/sellers"):
        return "any selling partner role"
    if operation.path.startswith("/reports"):
        return '"Inventory and Order Tracking", or the role of this type of report'
    return '"Direct-to-Consumer Shipping" (and "Inventory and Order Tracking")'


def _where(operation: Operation, status: int, seller_id: str, request_id: str | None) -> str:
    return f"{operation.name} answered {status} for seller {seller_id} (request id {request_id or 'none'})"


def _json_object(reply: Reply) -> tuple[dict[str, Any] | None, str]:
    """The body if it is an object, and else what is wrong with it."""
    try:
        body = reply.json()
    except BadBody as error:
        return None, f"the body cannot be read: {error}"
    return (body, "") if isinstance(body, dict) else (None, "the body is not a JSON object")


def _error_body(body: Mapping[str, Any] | None) -> _ErrorBody:
    errors = body.get("errors") if body else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return _ErrorBody(None, "", "", has_errors=False)
    code = first.get("code")
    return _ErrorBody(
        # "Invalid Input" with a space is confirmShipment's own spelling (facts §1).
        bounded_text(code.replace(" ", ""), CODE_CHARACTERS) if isinstance(code, str) else None,
        bounded_text(first.get("message"), READ_CHARACTERS) or "",
        bounded_text(first.get("details"), READ_CHARACTERS) or "",
        has_errors=True,
    )
