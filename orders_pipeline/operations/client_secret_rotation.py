"""Rotation of the client secret: Amazon is asked for a new one, and the queue that brings it is read.

The message holds a live secret in clear: the queue is one of its own, the body is in no log, no error and no row but
the sealed one, and the message is deleted once that is committed. What cannot be read stays on the queue, and comes to
its dead letters by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from orders_pipeline.audit.redaction import register_secret
from orders_pipeline.channels.amazon.auth.client_secrets import end_older_secrets, secret_fingerprint, store_secret
from orders_pipeline.channels.amazon.quota.limits import NO_SELLER
from orders_pipeline.database.engine import database_now
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.privacy.access.client_secret import (
    EXPIRY_NOTICE,
    NOTICE_SLACK,
    SECRET_LIFE,
    note_secrets,
    part_of,
    read_time,
)
from orders_pipeline.privacy.access.secret_rows import note_secret, set_secret_expiry

if TYPE_CHECKING:
    from orders_pipeline.intake.queue import NotificationQueue, QueueMessage

NEW_SECRET = "APPLICATION_OAUTH_CLIENT_NEW_SECRET"  # noqa: S105 - a notification's name
_WAIT_SECONDS = 2


class RotationNotPossible(Exception):
    """No new secret could come back; the message says what to set."""


@dataclass(slots=True)
class TakenMessages:
    """What the queue brought: new secrets, notices of an end, and what was left on it."""

    new_secrets: int = 0
    notices: int = 0
    left: int = 0

    def as_metadata(self) -> dict[str, int]:
        return {"new_secrets": self.new_secrets, "notices": self.notices, "left_on_the_queue": self.left}


@dataclass(frozen=True, slots=True)
class _Message:
    """One that is ours to take. Times are aware, UTC; None: the message names none."""

    kind: str
    client_id: str
    secret: str | None = field(repr=False)
    expires_at: datetime | None
    old_expires_at: datetime | None


def rotate_client_secret(account: ServedAccount) -> None:
    """Ask Amazon for a new secret of this account's application. Raises AmazonError or RotationNotPossible."""
    _queue(account.deployment)
    account.amazon.applications.rotate_client_secret()
    account.audit.record(
        None, action="rotate_client_secret", account_id=account.account_id, purpose="rotation", outcome="asked",
        detail={"client_id": account.settings.client_id},
    )  # fmt: skip


def secrets_wait(deployment: Deployment) -> bool:
    """Whether the queue has anything. Raises QueueUnavailable; False where none is configured."""
    if deployment.settings.application.rotation_queue_url is None:
        return False
    return _queue(deployment).depth().visible > 0


def take_client_secrets(deployment: Deployment, *, wait_seconds: int = _WAIT_SECONDS) -> TakenMessages:
    """Take what the queue holds, until it is empty. Raises QueueUnavailable, RotationNotPossible or VaultError."""
    queue, taken = _queue(deployment), TakenMessages()
    applications = {account.settings.client_id: account for account in deployment.accounts()}
    while messages := queue.receive(wait_seconds=wait_seconds):
        done: list[QueueMessage] = []
        for message in messages:
            read = _read(message.body)
            account = None if read is None else applications.get(read.client_id)
            if read is None or account is None:
                taken.left += 1
                continue
            _take(account, read, told_at=message.sent_at)
            done.append(message)
            taken.new_secrets += read.kind == NEW_SECRET
            taken.notices += read.kind == EXPIRY_NOTICE
        queue.delete(done)
        if not done:
            break
    return taken


def _take(account: ServedAccount, message: _Message, *, told_at: datetime | None) -> None:
    if message.secret is not None:
        register_secret(message.secret)
        _store(account, message, message.secret)
    elif message.expires_at is not None:
        with account.database.begin() as connection:
            told = told_at or database_now(connection)
            set_secret_expiry(
                connection, message.client_id, told_at=told, expires_at=message.expires_at, slack=NOTICE_SLACK
            )


def _store(account: ServedAccount, message: _Message, secret: str) -> None:
    database, vault, settings = account.database, account.vault, account.settings
    # Those of the settings first: what is seen only later would be taken for newer.
    note_secrets(database, vault, settings)
    fingerprint = secret_fingerprint(vault, secret)
    with database.transaction(NO_SELLER) as tx:
        now = database_now(tx.connection)
        life = min(SECRET_LIFE, max((message.expires_at or now + SECRET_LIFE) - now, timedelta(days=1)))
        if not store_secret(tx, account.deployment.keys, settings.client_id, fingerprint, secret, life=life):
            return
        end_older_secrets(tx, settings.client_id, fingerprint, in_time=(message.old_expires_at or now) - now)
        note_secret(tx.connection, settings.client_id, fingerprint)
        if message.expires_at is not None:
            set_secret_expiry(
                tx.connection, settings.client_id, told_at=now, expires_at=message.expires_at, slack=NOTICE_SLACK
            )
        account.audit.record(
            tx.connection, action="rotate_client_secret", account_id=account.account_id, purpose="rotation",
            outcome="received", detail={"client_id": settings.client_id},
        )  # fmt: skip


def _queue(deployment: Deployment) -> NotificationQueue:
    from orders_pipeline.intake.queue import NotificationQueue  # boto3: only who reads the queue pays for its import

    url = deployment.settings.application.rotation_queue_url
    if url is None:
        raise RotationNotPossible(
            "Set AMAZON_ROTATION_QUEUE_URL to the queue that is registered for the rotation of credentials in the "
            "developer console: a new secret comes there, and nowhere else."
        )
    return NotificationQueue(url)


def _read(body: str) -> _Message | None:
    """None for what is neither a new secret nor a notice of an end."""
    try:
        envelope: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    kind = part_of({"": envelope}, "").get("notificationtype")
    payload = part_of(part_of({"": envelope}, ""), "payload")
    if kind == EXPIRY_NOTICE:
        notice = part_of(payload, "applicationoauthclientsecretexpiry")
        expires_at = read_time(notice.get("clientsecretexpirytime"))
        client_id = notice.get("clientid")
        if not isinstance(client_id, str) or expires_at is None:
            return None
        return _Message(EXPIRY_NOTICE, client_id, None, expires_at, None)
    if kind != NEW_SECRET:
        return None
    notice = part_of(payload, "applicationoauthclientnewsecret")
    client_id, secret = notice.get("clientid"), notice.get("newclientsecret")
    if not isinstance(client_id, str) or not isinstance(secret, str) or not secret:
        return None
    return _Message(
        NEW_SECRET,
        client_id,
        secret,
        read_time(notice.get("newclientsecretexpirytime")),
        read_time(notice.get("oldclientsecretexpirytime")),
    )
