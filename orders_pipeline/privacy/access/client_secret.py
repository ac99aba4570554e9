"""How old the Login with Amazon client secret is, and what Amazon has said of its end.

Amazon's notices come at 90, 60, 30, 15, 7 and 1 days; a secret lives for 180 (amzn/selling-partner-api-models#4489).
So its end is at most 180 days after it was first seen here, whatever a notice says.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from orders_pipeline.amazon_settings import AmazonSettings
from orders_pipeline.channels.amazon.auth.client_secrets import secret_fingerprint
from orders_pipeline.channels.amazon.auth.credentials import StoredCredentials
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.access.secret_rows import (
    mark_parked_used,
    note_secret,
    parked_of_types,
    set_secret_expiry,
)
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import VaultRecordMissing

SECRET_LIFE = timedelta(days=180)
WARNED_AT_DAYS = (90, 60, 30, 15, 7, 1)
EXPIRY_NOTICE = "APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY"
PARKED_MESSAGE = "parked_message"
# A notice may be read by us some days after it was sent; a secret that came later is another one.
NOTICE_SLACK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SecretLife:
    """The secret in use. `from_amazon`: its end is Amazon's word, not our reckoning from when we first saw it."""

    expires_at: datetime
    days_left: float
    from_amazon: bool

    @property
    def warning(self) -> int | None:
        """The nearest of Amazon's days that has been passed: 30 with 29.5 days left; None with more than 90."""
        passed = [days for days in WARNED_AT_DAYS if self.days_left <= days]
        return min(passed) if passed else None


def secret_life(database: Database, vault: Vault, settings: AmazonSettings) -> SecretLife:
    """Note the newest secret, be it of the settings or of a rotation, and tell how long it will still live."""
    secret = StoredCredentials(settings, database, vault.keys).client_secrets()[0]
    fingerprint = secret_fingerprint(vault, secret)
    with database.begin() as connection:
        age = note_secret(connection, settings.client_id, fingerprint)
    # Whoever can write to the queue can forge a notice: its word may bring the end nearer, and never put it off.
    latest = age.first_seen_at + SECRET_LIFE
    from_amazon = age.expires_at is not None and age.expires_at <= latest
    expires_at = age.expires_at if age.expires_at is not None and from_amazon else latest
    left = (expires_at - age.first_seen_at).total_seconds() - age.seconds_since_first_seen
    return SecretLife(expires_at, round(left / 86_400, 2), from_amazon)


def note_secrets(database: Database, vault: Vault, settings: AmazonSettings) -> None:
    """Note when the settings' secrets were first seen."""
    fingerprints = [secret_fingerprint(vault, one.get_secret_value()) for one in settings.client_secrets]
    with database.begin() as connection:
        for fingerprint in reversed(fingerprints):
            note_secret(connection, settings.client_id, fingerprint)


def take_expiry_notices(
    database: Database, vault: Vault, settings: AmazonSettings, applications: Collection[str] = ()
) -> int:
    """Take over what Amazon's notices, parked for this account, say of an application's secret; how many were read.

    `applications`: other client ids that are in use; accounts that share a queue may have another one each.
    """
    secret_life(database, vault, settings)
    with database.transaction(settings.account_id) as tx:
        parked = parked_of_types(tx, [EXPIRY_NOTICE], limit=100)
    for message in parked:
        try:
            body = vault.reveal(
                account_id=settings.account_id, kind=PARKED_MESSAGE, subject_id=str(message.parked_id),
                purpose="end of the client secret",
            )  # fmt: skip
        except VaultRecordMissing:
            body = b""
        client_id, expires_at = _read(body)
        with database.begin() as connection:
            whose = client_id or settings.client_id
            if expires_at is not None and whose in (settings.client_id, *applications):
                set_secret_expiry(
                    connection, whose, told_at=message.parked_at, expires_at=expires_at, slack=NOTICE_SLACK
                )
            mark_parked_used(connection, message.parked_id)
    return len(parked)


def _read(body: bytes) -> tuple[str | None, datetime | None]:
    """(client id, end) of a notice, in either casing; (None, None) for anything else."""
    try:
        envelope = _lowered(json.loads(body))
    except (ValueError, RecursionError):
        return None, None
    notice = part_of(part_of(envelope, "payload"), "applicationoauthclientsecretexpiry")
    client_id, expires_at = notice.get("clientid"), read_time(notice.get("clientsecretexpirytime"))
    if expires_at is None:
        return None, None
    return client_id if isinstance(client_id, str) else None, expires_at


def read_time(announced: object) -> datetime | None:
    """A time as Amazon's notices write it, aware, UTC where it has no offset; None for anything else."""
    if not isinstance(announced, str):
        return None
    try:
        found = datetime.fromisoformat(announced)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def part_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a notice, its names in small letters: Amazon writes them in either casing."""
    return _lowered(document.get(name))


def _lowered(value: object) -> dict[str, Any]:
    return {str(name).lower(): one for name, one in value.items()} if isinstance(value, dict) else {}
