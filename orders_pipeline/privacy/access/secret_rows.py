"""Queries of the client secrets that were seen, and of the notices that say when one ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AccountTransaction, AnyRow


@dataclass(frozen=True, slots=True)
class SecretAge:
    """One client secret, by its fingerprint. `expires_at` is Amazon's word; None: it said nothing."""

    first_seen_at: datetime
    expires_at: datetime | None
    seconds_since_first_seen: float


def note_secret(connection: Connection, application_id: str, fingerprint: str) -> SecretAge:
    """Remember when this secret was first seen; what is known of it."""
    connection.execute(
        text("""
            insert into pipeline.client_secrets (application_id, fingerprint) values (:application_id, :fingerprint)
            on conflict (application_id, fingerprint) do update set last_seen_at = clock_timestamp()
        """),
        {"application_id": application_id, "fingerprint": fingerprint},
    )
    row = connection.execute(
        text("""
            select least(first_seen_at, clock_timestamp()), expires_at,
            extract(epoch from clock_timestamp() - first_seen_at) from pipeline.client_secrets
            where application_id = :application_id and fingerprint = :fingerprint
        """),
        {"application_id": application_id, "fingerprint": fingerprint},
    ).one()
    # A first sight that is still to come is not believed: it would put the end off.
    return SecretAge(row[0], row[1], max(0.0, float(row[2])))


def set_secret_expiry(
    connection: Connection, application_id: str, *, told_at: datetime, expires_at: datetime, slack: timedelta
) -> bool:
    """Keep Amazon's word about the secret that was in use when it spoke; False where none is known at all.

    A word from before we knew any is about the oldest that we know, as far as anybody can tell.
    """
    return bool(
        connection.execute(
            text("""
                update pipeline.client_secrets s set expires_at = :expires_at from (select fingerprint
                from pipeline.client_secrets where application_id = :application_id
                order by first_seen_at <= :seen_by desc, case when first_seen_at <= :seen_by then
                -extract(epoch from first_seen_at) else extract(epoch from first_seen_at) end limit 1) as meant
                where s.application_id = :application_id and s.fingerprint = meant.fingerprint
            """),
            {"application_id": application_id, "seen_by": told_at + slack, "expires_at": expires_at},
        ).rowcount
    )


def parked_of_types(tx: AccountTransaction, types: Sequence[str], limit: int) -> Sequence[AnyRow]:
    """(parked_id, notification_type, parked_at) of messages of these types that nobody has used yet, oldest first."""
    return list(
        tx.execute(
            text("""
                select parked_id, notification_type, parked_at from pipeline.parked_messages
                where account_id = :account_id and notification_type = any(:types) and replayed_at is null
                order by parked_at limit :limit
            """),
            {"account_id": tx.account_id, "types": list(types), "limit": limit},
        )
    )


def mark_parked_used(connection: Connection, parked_id: object) -> None:
    """Its content was taken over: the next retention shreds it."""
    connection.execute(
        text("update pipeline.parked_messages set replayed_at = clock_timestamp() where parked_id = :id"),
        {"id": parked_id},
    )
