"""Application Management 2023-11-30: Amazon makes a new client secret, and sends it to the queue that is enrolled."""

from __future__ import annotations

from orders_pipeline.channels.amazon.errors import AmazonBadRequest
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import ROTATE_CLIENT_SECRET
from orders_pipeline.model.order import Priority


class ApplicationsV2023:
    def __init__(self, transport: Transport, tokens: AccessTokens) -> None:
        self._transport = transport
        self._tokens = tokens

    def rotate_client_secret(self, *, deadline_seconds: float = 20.0) -> None:
        """Amazon makes a new one; the old one works until the time that the message with the new one names.

        Raises AmazonError: AmazonBadRequest where no queue is enrolled in the developer console.
        """
        # Sent once: each call makes another secret.
        request = Request(ROTATE_CLIENT_SECRET, ROTATE_CLIENT_SECRET.path, repeatable=False)
        deadline = self._transport.deadline(deadline_seconds)
        try:
            self._transport.call(request, self._tokens, priority=Priority.EVENT, deadline=deadline)
        except AmazonBadRequest as error:
            raise AmazonBadRequest(
                f"{error} Register a queue of its own for the rotation of credentials in the developer console, and "
                "set AMAZON_ROTATION_QUEUE_URL to it.",
                operation=error.operation,
                status=error.status,
                code=error.code,
                request_id=error.request_id,
            ) from None
