"""Retention for one account: what Amazon says of deliveries, then what is past its time. And who may read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import Deployment, ServedAccount, StoredAccount
from orders_pipeline.operations.overdue import RETENTION
from orders_pipeline.privacy.access.role_changes import note_role_changes
from orders_pipeline.privacy.erasure.warehouse_erasure import erase_at_warehouse
from orders_pipeline.privacy.retention.delivery import fetch_deliveries
from orders_pipeline.privacy.shred_expired import (
    RetentionPlan,
    RetentionTotals,
    apply_retention,
    plan_retention,
)
from orders_pipeline.work.backlog import accounts_with_due
from orders_pipeline.work.jobs import Queue

DELIVERY_DEADLINE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Retained:
    """What went, by rule, and what was asked of deliveries."""

    totals: RetentionTotals
    deliveries: Numbers


def retain(account: StoredAccount, notify: Callable[[str], None]) -> Retained:
    """Shred, purge and erase what is past its time. Of an account that is no longer served Amazon says nothing."""
    deliveries: Numbers = {}
    try:
        if isinstance(account, ServedAccount):
            deliveries = _look_up_deliveries(account)
    finally:
        # Whatever Amazon's answers do: what is past its time goes.
        totals = apply_retention(
            account.database,
            account.vault,
            account.deployment.warehouse_or_none(),
            account_id=account.account_id,
            notify=notify,
        )
        if not totals.unfinished:
            account.note_done(RETENTION)
    return Retained(totals, deliveries)


def _look_up_deliveries(account: ServedAccount) -> Numbers:
    totals = fetch_deliveries(
        account.amazon.orders,
        account.database,
        account_id=account.account_id,
        deadline_seconds=DELIVERY_DEADLINE_SECONDS,
    )
    return {f"deliveries_{name}": value for name, value in totals.as_metadata().items()}


def plan(account: StoredAccount) -> RetentionPlan:
    """What would go now, and why; nothing is changed."""
    return plan_retention(account.database, account_id=account.account_id)


def watch_roles(deployment: Deployment) -> dict[str, int]:
    """Record who was given or lost a right in the database: an alert follows from it."""
    changes = note_role_changes(deployment.database, deployment.audit)
    return {"privileges_granted": changes.granted, "privileges_revoked": changes.revoked}


def accounts_owed_erasures(deployment: Deployment) -> list[StoredAccount]:
    """The accounts, also those no longer served, for whom the warehouse can be asked to erase at this moment."""
    with deployment.database.begin() as connection:
        return [StoredAccount(deployment, one) for one in accounts_with_due(connection, Queue.ERASE)]


def erase_owed(account: StoredAccount, seconds: float) -> Numbers:
    """Ask the warehouse for what it owes this account's buyers. Raises SettingsError."""
    return erase_at_warehouse(
        account.database, account.audit, account.warehouse, account_id=account.account_id, deadline_seconds=seconds
    ).as_metadata()
