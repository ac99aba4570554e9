"""Client secrets that a rotation brought, sealed; and which of all that are known is the newest.

A secret of the settings has the day when it was first seen here, a sealed one the day when it came: so whichever is
newer is tried first, whether a person or a rotation changed it last. An older one is kept: it works for some days more,
and one that works no more costs a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text, update

from orders_pipeline.channels.amazon.auth.rows import read_token
from orders_pipeline.channels.amazon.auth.sealed import open_token, seal_token
from orders_pipeline.channels.amazon.auth.tables import amazon_tokens
from orders_pipeline.channels.amazon.quota.limits import NO_SELLER
from orders_pipeline.database.engine import AccountTransaction, Database, database_now
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.envelope import CLIENT_SECRET_PURPOSE
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.keys import KeyProvider

# An old one is tried at least so long after a new one came, whatever the message said of its end: who can write to the
# queue could say that it ended already.
KEPT_AT_LEAST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SealedSecret:
    secret: str = field(repr=False)
    since: datetime


def secret_fingerprint(vault: Vault, secret: str) -> str:
    """Tells a secret again without keeping it."""
    return vault.fingerprint(b"client_secret\n" + secret.encode())


def sealed_secrets(database: Database, keys: KeyProvider, application_id: str) -> list[SealedSecret]:
    """Those whose time is not over, newest first; one that does not open is left out."""
    table = amazon_tokens
    with database.transaction(NO_SELLER) as tx:
        rows = tx.execute(
            select(table.c.purpose, table.c.obtained_at)
            .where(
                table.c.application_id == application_id,
                table.c.account_id == NO_SELLER,
                table.c.purpose.like(f"{CLIENT_SECRET_PURPOSE}:%"),
                table.c.expires_at > func.clock_timestamp(),
            )
            .order_by(table.c.obtained_at.desc())
        ).all()
        return [
            SealedSecret(secret, row.obtained_at)
            for row in rows
            if (secret := _open(tx, keys, application_id, row.purpose)) is not None
        ]


def store_secret(
    tx: AccountTransaction, keys: KeyProvider, application_id: str, fingerprint: str, secret: str, *, life: timedelta
) -> bool:
    """Seal a new one in the caller's transaction (of NO_SELLER); False if it is there: a queue delivers again.

    Raises VaultError.
    """
    purpose = _purpose(fingerprint)
    if read_token(tx, application_id, purpose) is not None:
        return False
    seal_token(tx, keys, application_id=application_id, purpose=purpose, token=secret, life=life)
    return True


def end_older_secrets(tx: AccountTransaction, application_id: str, fingerprint: str, *, in_time: timedelta) -> None:
    """Those that came before this one end then, and not before they have been kept for long enough."""
    table = amazon_tokens
    end = func.clock_timestamp() + max(in_time, KEPT_AT_LEAST)
    tx.execute(
        update(table)
        .where(
            table.c.application_id == application_id,
            table.c.account_id == NO_SELLER,
            table.c.purpose.like(f"{CLIENT_SECRET_PURPOSE}:%"),
            table.c.purpose != _purpose(fingerprint),
        )
        .values(expires_at=func.least(table.c.expires_at, end))
    )


def newest_first(
    given: Sequence[str], sealed: Sequence[SealedSecret], database: Database, vault: Vault, application_id: str
) -> list[str]:
    """All of them in the order in which they came; `given` are the settings', newest first."""
    if not sealed:
        return list(given)
    try:
        fingerprints = [secret_fingerprint(vault, secret) for secret in given]
    except VaultError:
        # Nobody can tell: each is tried.
        return list(dict.fromkeys([*(one.secret for one in sealed), *given]))
    with database.begin() as connection:
        seen = _first_seen(connection, application_id, fingerprints)
        now = database_now(connection)
    # One that nobody has seen yet was set just now.
    dated = [(seen.get(each, now), secret) for each, secret in zip(fingerprints, given, strict=True)]
    dated += [(one.since, one.secret) for one in sealed]
    return list(dict.fromkeys(secret for _, secret in sorted(dated, key=lambda one: one[0], reverse=True)))


def _first_seen(connection: Connection, application_id: str, fingerprints: Sequence[str]) -> dict[str, datetime]:
    rows = connection.execute(
        text("""
            select fingerprint, first_seen_at from pipeline.client_secrets
            where application_id = :application_id and fingerprint = any(:fingerprints)
        """),
        {"application_id": application_id, "fingerprints": list(fingerprints)},
    )
    return {row.fingerprint: row.first_seen_at for row in rows}


def _purpose(fingerprint: str) -> str:
    return f"{CLIENT_SECRET_PURPOSE}:{fingerprint[:32]}"


def _open(tx: AccountTransaction, keys: KeyProvider, application_id: str, purpose: str) -> str | None:
    try:
        return open_token(tx, keys, application_id=application_id, purpose=purpose)
    except VaultError:
        return None
