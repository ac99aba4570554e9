"""What is known of each refresh token: who authorised it and when, whether it works, since when it is refused.

A token is named by its fingerprint. The one that counts is the one that was used last: a token that was replaced in the
settings, or by another consent, is refused to nobody's harm. All times are the database's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, case, func, select, update
from sqlalchemy.dialects.postgresql import insert

from orders_pipeline.channels.amazon.auth.tables import amazon_authorizations as authorizations
from orders_pipeline.database.engine import AccountTransaction, AnyRow

CONSENT, TYPED, SETTINGS = "consent", "typed", "settings"
# A public application is authorised anew every 365 days (Amazon: "Authorize applications"); whether ours is one, only a
# consent tells: a private one is authorised in Seller Central, and its token has no end.
CONSENT_LIFE = timedelta(days=365)
_NOW = func.clock_timestamp()


@dataclass(frozen=True, slots=True)
class Authorization:
    """One refresh token's story. Times are aware, UTC; None: it did not happen, or nobody knows.

    `refused_since` is the first refusal since it last worked, `kept_until` until when a person said that a refusal is
    no revocation, `ended_at` when it counted as revoked, `erased_at` when its buyers' data were gone.
    """

    account_id: str
    fingerprint: str
    source: str
    authorized_at: datetime | None
    authorized_by: str | None
    due_at: datetime | None
    due_because: str | None
    worked_at: datetime | None
    refused_since: datetime | None
    refused_at: datetime | None
    refusals: int
    kept_until: datetime | None
    ended_at: datetime | None
    erased_at: datetime | None
    now: datetime


def grant_fingerprint(client_id: str, refresh_token: str) -> str:
    """Names an authorisation. Of a long random token it gives nothing away, and each authorisation has another."""
    return hashlib.sha256(f"{client_id}\n{refresh_token}".encode()).hexdigest()[:32]


def sealed_authorization(tx: AccountTransaction) -> Authorization | None:
    """That of the refresh token that lies sealed, or last did."""
    newest = authorizations.c.authorized_at.desc().nulls_last()
    return _one(tx, authorizations.c.source != SETTINGS, newest)


def authorization_in_use(tx: AccountTransaction) -> Authorization | None:
    """That of the token that was used last."""
    return _one(tx, authorizations.c.source.is_not(None), authorizations.c.used_at.desc())


def authorization_of(tx: AccountTransaction, fingerprint: str) -> Authorization | None:
    return _one(tx, authorizations.c.fingerprint == fingerprint, authorizations.c.used_at.desc())


def others_worked_since(connection: Connection, account_ids: Sequence[str], since: datetime) -> bool:
    """Whether a token of one of these accounts worked after that time."""
    statement = select(authorizations.c.account_id).where(
        authorizations.c.account_id.in_(list(account_ids)), authorizations.c.worked_at > since
    )
    return connection.execute(statement.limit(1)).one_or_none() is not None


def insert_authorization(tx: AccountTransaction, fingerprint: str, *, source: str, by: str) -> None:
    """A seller authorised the application now. One that is typed once more begins anew."""
    values = {
        "source": source,
        "authorized_at": _NOW,
        "authorized_by": by,
        "due_at": _NOW + CONSENT_LIFE if source == CONSENT else None,
        "due_because": "age" if source == CONSENT else None,
        "used_at": _NOW,
        # It was tried: its first access token came with it.
        "worked_at": _NOW,
        "refused_since": None,
        "refused_at": None,
        "refusals": 0,
        "kept_until": None,
        "ended_at": None,
        "erased_at": None,
    }
    statement = insert(authorizations).values(account_id=tx.account_id, fingerprint=fingerprint, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=list(authorizations.primary_key), set_=values))


def note_worked(tx: AccountTransaction, fingerprint: str) -> None:
    """Login with Amazon gave an access token for it: whatever was refused before was no revocation."""
    working = {"used_at": _NOW, "worked_at": _NOW, "refused_since": None, "refused_at": None, "refusals": 0}
    statement = insert(authorizations).values(
        account_id=tx.account_id, fingerprint=fingerprint, source=SETTINGS, used_at=_NOW, worked_at=_NOW
    )
    tx.execute(statement.on_conflict_do_update(index_elements=list(authorizations.primary_key), set_=working))


def note_refused(tx: AccountTransaction, fingerprint: str) -> None:
    """Login with Amazon answered invalid_grant for it."""
    table = authorizations
    statement = insert(table).values(
        account_id=tx.account_id, fingerprint=fingerprint, source=SETTINGS, used_at=_NOW,
        refused_since=_NOW, refused_at=_NOW, refusals=1,
    )  # fmt: skip
    refused = {
        "used_at": _NOW,
        "refused_since": func.coalesce(table.c.refused_since, _NOW),
        "refused_at": _NOW,
        "refusals": table.c.refusals + 1,
    }
    tx.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=refused))


def mark_ended(tx: AccountTransaction, fingerprint: str) -> None:
    """It counts as revoked from now on; nobody asks for a token with it any more."""
    _set(tx, fingerprint, ended_at=func.coalesce(authorizations.c.ended_at, _NOW))


def mark_erased(tx: AccountTransaction, fingerprint: str) -> None:
    """The data of the buyers that were known are gone."""
    _set(tx, fingerprint, erased_at=_NOW)


def keep_until(tx: AccountTransaction, fingerprint: str, keeping: timedelta) -> None:
    """A person says that the refusals are no revocation: what was counted counts no more, and nothing ends meanwhile.

    What had ended is asked for again; what was destroyed stays so.
    """
    _set(tx, fingerprint, refused_since=None, refused_at=None, refusals=0, kept_until=_NOW + keeping, ended_at=None)


def mark_roles_changed(tx: AccountTransaction) -> int:
    """The application's roles changed: the authorisation in use has to be given anew, from now on; how many are due."""
    newest = select(authorizations.c.fingerprint).where(authorizations.c.account_id == tx.account_id)
    statement = (
        update(authorizations)
        .where(
            authorizations.c.account_id == tx.account_id,
            authorizations.c.ended_at.is_(None),
            authorizations.c.fingerprint == newest.order_by(authorizations.c.used_at.desc()).limit(1).scalar_subquery(),
        )
        .values(
            due_at=case((authorizations.c.due_at < _NOW, authorizations.c.due_at), else_=_NOW),
            due_because="roles",
        )
    )
    return tx.execute(statement).rowcount


def _set(tx: AccountTransaction, fingerprint: str, **values: object) -> None:
    tx.execute(
        update(authorizations)
        .where(authorizations.c.account_id == tx.account_id, authorizations.c.fingerprint == fingerprint)
        .values(**values)
    )


def _one(tx: AccountTransaction, condition: ColumnElement[bool], order: ColumnElement[object]) -> Authorization | None:
    statement = (
        select(authorizations, _NOW.label("now"))
        .where(authorizations.c.account_id == tx.account_id, condition)
        .order_by(order)
        .limit(1)
    )
    row: AnyRow | None = tx.execute(statement).one_or_none()
    if row is None:
        return None
    return Authorization(**{name: getattr(row, name) for name in Authorization.__dataclass_fields__})
