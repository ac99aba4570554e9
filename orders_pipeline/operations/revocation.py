"""An account whose authorization its seller took back: it ends, and its buyers' data go within the day.

Whether a refusal is a revocation is a pure decision (`channels/amazon/auth/revocation.py`). Login with Amazon is asked
again before anything is destroyed; the destroying is that of a whole seller's erasure, and can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

from orders_pipeline.channels.amazon.auth.authorizations import (
    Authorization,
    authorization_in_use,
    keep_until,
    mark_ended,
    mark_erased,
    others_worked_since,
)
from orders_pipeline.channels.amazon.auth.revocation import KEPT_FOR, Standing, standing
from orders_pipeline.channels.amazon.errors import AmazonError, AmazonRevoked
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.orders.erasures import open_erasures
from orders_pipeline.privacy.erasure.erasure import carry_out, erase_seller

REASON = "the seller took the authorization back"
_SECONDS = 30.0


class NothingRefused(Exception):
    """There is no refusal that a person could speak about."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of one account: how it stands now, and how many buyers' records were destroyed."""

    standing: Standing
    shredded: int = 0
    failed: int = 0

    def as_numbers(self) -> dict[str, int | str]:
        return {"standing": str(self.standing), "shredded": self.shredded, "failed": self.failed}


def accounts_to_look_at(deployment: Deployment) -> list[str]:
    """Those whose token worked once and is refused now, and those that ended and whose buyers' data are still there."""
    return [account.account_id for account in deployment.accounts() if _needs_a_look(account)]


def look_at_authorization(account: ServedAccount) -> Looked:
    """Ask Login with Amazon once more, end the account if it is revoked, and destroy what has to go."""
    if not _needs_a_look(account):
        return Looked(_standing(account))
    found = _standing(account)
    if found in (Standing.REFUSED, Standing.REVOKED, Standing.ALL_REFUSED, Standing.KEPT):
        _ask(account)
        found = _standing(account)
    if found is Standing.REVOKED:
        _end(account)
        found = Standing.ENDED
    return _destroy(account) if found is Standing.ENDED else Looked(found)


def not_revoked(account: ServedAccount, reason: str) -> Authorization:
    """A person says that it is no revocation: nothing is destroyed for seven days, and Amazon is asked on.

    Raises NothingRefused.
    """
    with account.transaction() as tx:
        found = authorization_in_use(tx)
        if found is None or (found.refused_since is None and found.ended_at is None):
            raise NothingRefused(f"Login with Amazon refuses nothing of account {account.account_id}.")
        keep_until(tx, found.fingerprint, KEPT_FOR)
        account.audit.record(
            tx.connection, action="authorize", account_id=account.account_id, purpose=reason, outcome="not_revoked"
        )
        kept = authorization_in_use(tx)
    assert kept is not None
    return kept


def _ask(account: ServedAccount) -> None:
    """What Login with Amazon says now; it is noted where it is heard (`channels/amazon/auth/login.py`)."""
    amazon = account.amazon
    try:
        amazon.login.seller_token(amazon.transport.deadline(_SECONDS))
    except AmazonRevoked:
        return
    except AmazonError:
        # Nobody answered, or about something else: it says nothing of the authorization.
        return


def _end(account: ServedAccount) -> None:
    with account.transaction() as tx:
        found = authorization_in_use(tx)
        assert found is not None
        mark_ended(tx, found.fingerprint)
        account.audit.record(
            tx.connection, action="authorize", account_id=account.account_id, purpose=REASON, outcome="ended",
            detail={"refusals": found.refusals},
        )  # fmt: skip


def _destroy(account: ServedAccount) -> Looked:
    deployment, account_id = account.deployment, account.account_id
    with account.transaction() as tx:
        found = authorization_in_use(tx)
        begun = [one for one in open_erasures(tx) if one.order_id is None and one.shredded_at is None]
    if begun:
        # A run before this one met a lock, or died: the same request is gone on with.
        shreds = carry_out(account.database, account.vault, account_id, begun[-1], reason=REASON)
        shredded, failed = sum(shreds.shredded.values()), shreds.failed
    else:
        totals = erase_seller(
            account.database, account.vault, deployment.warehouse_or_none(), account_id=account_id, reason=REASON
        )
        shredded, failed = totals.shredded, totals.failed
    if found is not None and not failed:
        # What the warehouse still owes is asked for until it is done, as of every erasure.
        with account.transaction() as tx:
            mark_erased(tx, found.fingerprint)
    return Looked(Standing.ENDED, shredded, failed)


def _needs_a_look(account: ServedAccount) -> bool:
    with account.transaction() as tx:
        found = authorization_in_use(tx)
    if found is None:
        return False
    if found.ended_at is not None:
        return found.erased_at is None
    return found.refused_since is not None and found.worked_at is not None


def _standing(account: ServedAccount) -> Standing:
    with account.transaction() as tx:
        found = authorization_in_use(tx)
        if found is None or found.refused_since is None:
            return Standing.WORKS if found is None or found.ended_at is None else Standing.ENDED
        others = [one for one in account.deployment.account_ids() if one != account.account_id]
        others_work = not others or others_worked_since(tx.connection, others, found.refused_since)
    return standing(found, others_work=others_work)
