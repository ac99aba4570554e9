"""The seller's consent: where it is asked for, and the state that comes back with it.

A state is asked for by a person, for one account and, at the web port, in one browser. It counts once, for ten minutes
by the database's clock, and only its hash is kept (Amazon: "Website authorization workflow": short-lived, unique).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlencode

from sqlalchemy import Connection, delete, func, insert, select, update

from orders_pipeline.application_settings import ApplicationSettings
from orders_pipeline.channels.amazon.auth.tables import amazon_consents as consents
from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.model.marketplaces import Marketplace, seller_central_of

CONSENT_PATH = "/apps/authorize/consent"
STATE_LIFE = timedelta(minutes=10)
# Longer ones are none of ours, and none of Amazon's.
LONGEST_PARAMETER = 2048
# An hour after its end nobody asks why it was refused.
_FORGOTTEN_AFTER = timedelta(hours=1)
_NOW = func.clock_timestamp()


class StateProblem(StrEnum):
    """Why a state does not count."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    OTHER_BROWSER = "other_browser"


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent that somebody asked for."""

    account_id: str
    asked_by: str
    session_id: str | None
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class TakenState:
    """What a state that came back was asked for, if anybody asked, and why it does not count; None: it does."""

    consent: Consent | None
    problem: StateProblem | None


def consent_url(settings: ApplicationSettings, marketplace: Marketplace, state: str, redirect_uri: str) -> str:
    """Amazon's consent page for the sellers of this marketplace; `settings.application_id` is there."""
    query = {"application_id": settings.application_id or "", "state": state, "redirect_uri": redirect_uri}
    if settings.is_draft:
        query["version"] = "beta"
    return f"{settings.seller_central or seller_central_of(marketplace)}{CONSENT_PATH}?{urlencode(query)}"


def ask_for_consent(
    tx: AccountTransaction, *, asked_by: str, redirect_uri: str, session_id: str | None, browser: str | None
) -> str:
    """A new state. `browser` is what that browser alone will send along, None at a terminal."""
    state = secrets.token_urlsafe(32)
    tx.execute(delete(consents).where(consents.c.expires_at < _NOW - _FORGOTTEN_AFTER))
    tx.execute(
        insert(consents).values(
            state_hash=_hash(state),
            account_id=tx.account_id,
            asked_by=asked_by,
            session_id=session_id,
            browser_hash=None if browser is None else _hash(browser),
            redirect_uri=redirect_uri,
            expires_at=_NOW + STATE_LIFE,
        )
    )
    return state


def take_state(connection: Connection, state: str, browser: str | None) -> TakenState:
    """What this state was asked for; from here on it counts no more, whatever becomes of it.

    Commit before anything is done with it.
    """
    table, mine = consents, consents.c.state_hash == _hash(state)
    taken = connection.execute(
        update(table).where(mine, table.c.used_at.is_(None)).values(used_at=_NOW).returning(table.c.state_hash)
    ).one_or_none()
    row = connection.execute(select(table, (table.c.expires_at <= _NOW).label("is_over")).where(mine)).one_or_none()
    if row is None:
        return TakenState(None, StateProblem.UNKNOWN)
    problem = None
    if taken is None:
        problem = StateProblem.USED
    elif row.is_over:
        problem = StateProblem.EXPIRED
    elif row.browser_hash != (None if browser is None else _hash(browser)):
        problem = StateProblem.OTHER_BROWSER
    return TakenState(Consent(row.account_id, row.asked_by, row.session_id, row.redirect_uri), problem)


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
