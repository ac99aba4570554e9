"""Whether a regulated order (medicine, prescriptions) may be shipped: getOrderRegulatedInfo, for both API versions.

The operation is v0's, is not deprecated, and has no successor. What the buyer filled in comes with it, and is not read.
"""

from __future__ import annotations

from orders_pipeline.channels.amazon.audit import AuditSink
from orders_pipeline.channels.amazon.auth.restricted_calls import restricted_call
from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.channels.amazon.http.answers import Answer, protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import GET_ORDER_REGULATED_INFO
from orders_pipeline.model.order import Priority, Verification


class RegulatedV0:
    """Reads verifications of one seller's orders. See `VerificationsPort`."""

    def __init__(self, transport: Transport, restricted: AccessTokens, audit: AuditSink) -> None:
        self._transport = transport
        self._restricted = restricted
        self._audit = audit

    def get_verification(
        self, order_id: str, *, priority: Priority = Priority.EVENT, deadline_seconds: float = 20.0
    ) -> Verification:
        deadline = self._transport.deadline(deadline_seconds)
        request = Request(GET_ORDER_REGULATED_INFO, GET_ORDER_REGULATED_INFO.url_path(order_id=order_id))

        def call() -> Answer:
            return self._transport.call(request, self._restricted, priority=priority, deadline=deadline)

        answer = restricted_call(self._audit, GET_ORDER_REGULATED_INFO, order_id, call)
        payload = Fields(answer.body, "answer").part("payload")
        if payload.text("AmazonOrderId") != order_id:
            raise self._protocol_error(answer, "answer.payload.AmazonOrderId is missing or another order's")
        try:
            verification = payload.part("RegulatedOrderVerificationStatus")
            return Verification(
                status=verification.required_text("Status"),
                needs_merchant=verification.flag("RequiresMerchantAction"),
                dosage_label=payload.flag("RequiresDosageLabel"),
            )
        except FieldProblem as problem:
            raise self._protocol_error(answer, str(problem)) from None

    def _protocol_error(self, answer: Answer, problem: str) -> AmazonError:
        return protocol_error(GET_ORDER_REGULATED_INFO, self._transport.seller_id, answer.request_id, problem)
