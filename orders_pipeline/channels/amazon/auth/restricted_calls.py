"""Account for a restricted call before it is made, and for its failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import uuid4

from orders_pipeline.channels.amazon.audit import AuditSink
from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.channels.amazon.http.answers import REQUEST_ID_CHARACTERS
from orders_pipeline.channels.amazon.quota.operations import Operation
from orders_pipeline.model.untrusted_text import bounded_id

PURPOSE = "ship the order"
ACTION = "amazon_restricted_call"

Result = TypeVar("Result")


def restricted_call(
    audit: AuditSink, operation: Operation, order_id: str | None, call: Callable[[], Result], *, action: str = ACTION
) -> Result:
    """Record, call, and record again if it failed. If the first record cannot be written, nothing is called.

    Both entries carry the call's number: a failure takes the weight of evidence from its own request and no other's.
    """
    return _accounted(audit, operation, order_id, call, action, _detail(operation))


def restricted_listing(
    audit: AuditSink, operation: Operation, call: Callable[[], Result], shown: Callable[[Result], Sequence[str]]
) -> Result:
    """As `restricted_call`, of a page of orders not known before: each that is `shown` is recorded, then given."""
    detail = _detail(operation)
    result = _accounted(audit, operation, None, call, ACTION, detail)
    audit.record_each(ACTION, shown(result), PURPOSE, "requested", detail)
    return result


def _detail(operation: Operation) -> dict[str, object]:
    return {"operation": operation.name, "call": uuid4().hex}


def _accounted(
    audit: AuditSink,
    operation: Operation,
    order_id: str | None,
    call: Callable[[], Result],
    action: str,
    detail: dict[str, object],
) -> Result:
    audit.record(action, order_id, PURPOSE, "requested", detail)
    try:
        return call()
    except AmazonError as error:
        # Bounded once more: an audit entry takes no long text, and without it a failure would look like a reading.
        request_id = bounded_id(error.request_id, REQUEST_ID_CHARACTERS)
        failed = {**detail, "error": type(error).__name__, "status": error.status, "request_id": request_id}
        audit.record(action, order_id, PURPOSE, "failed", failed)
        raise
