"""Application Management 2023-11-30: a new client secret, which goes to the queue that is enrolled and nowhere else."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool

from orders_pipeline.sandbox.amazon.gate import Call, invalid_input
from orders_pipeline.sandbox.amazon.state import AmazonState
from orders_pipeline.sandbox.clock import iso
from orders_pipeline.sandbox.queue import Queue

SCOPE = "sellingpartnerapi::client_credential:rotation"
SECRET_LIFE = timedelta(days=180)
# How long the old one works on; Amazon's message says it, and seven days is what is commonly seen.
OVERLAP = timedelta(days=7)


class ApplicationsApi:
    def __init__(self, state: AmazonState, queue: Queue) -> None:
        self._state = state
        self._queue = queue

    async def rotate_client_secret(self, _call: Call) -> tuple[int, dict[str, Any] | None]:
        application = self._state.accounts.application
        if application.rotation_queue_arn is None:
            raise invalid_input(
                "Application is not enrolled for rotation notification. Please update application notification "
                "preference in Developer console."
            )
        now = self._state.clock.now()
        secret = f"amzn1.oa2-cs.v1.{secrets.token_hex(32)}"
        application.client_secrets = [secret, *application.client_secrets[:1]]
        message = {
            "notificationVersion": "1.0",
            "notificationType": "APPLICATION_OAUTH_CLIENT_NEW_SECRET",
            "payloadVersion": "1.0",
            "eventTime": iso(now),
            "payload": {
                "applicationOAuthClientNewSecret": {
                    "clientId": application.client_id,
                    "newClientSecret": secret,
                    "newClientSecretExpiryTime": iso(now + SECRET_LIFE),
                    "oldClientSecretExpiryTime": iso(now + OVERLAP),
                }
            },
            "notificationMetadata": {
                "applicationId": application.application_id,
                "subscriptionId": str(uuid.uuid4()),
                "publishTime": iso(now),
                "notificationId": str(uuid.uuid4()),
            },
        }
        await run_in_threadpool(self._queue.publish, application.rotation_queue_arn, message)
        return 204, None
