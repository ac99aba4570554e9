"""Every kind of alert, and one evaluation of them all.

A domain's kinds are in its `alerts.py`. Here are also those whose state is in Dagster's storage.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from orders_pipeline.alerts.kinds import NOBODY, AlertKind, Found
from orders_pipeline.alerts.reconcile import NOT_EVALUATED, EvaluationResult, evaluate, reconcile
from orders_pipeline.alerts.rows import close_alerts_of_others
from orders_pipeline.channels.amazon import alerts as amazon
from orders_pipeline.database.engine import Database
from orders_pipeline.fulfillment import alerts as fulfillment
from orders_pipeline.intake import alerts as intake
from orders_pipeline.operations.alerting import alerts as alerting
from orders_pipeline.operations.overdue import OVERDUE, watch_scheduled_work
from orders_pipeline.privacy import alerts as privacy
from orders_pipeline.reports import alerts as reports
from orders_pipeline.shipments import alerts as shipments
from orders_pipeline.vault import alerts as vault
from orders_pipeline.work import alerts as work
from orders_pipeline.work.backlog import parked_of_others

FAILED_RUN = AlertKind(
    name="run.failed",
    severity="error",
    query=None,
    # Without the error's own text, which Dagster shows to who may open the run.
    message="A run of {job} failed ({run_id}).",
    action="Open the run in the Dagster UI. What it has not done is pending, and the next run goes on.",
    runbook="Failed runs",
    per_account=False,
    is_cause=True,
    link="/runs/{run_id}",
)

# Its work is not withdrawn: an account may be missing from the settings by mistake.
FORMER_ACCOUNT_PARKED = AlertKind(
    name="account.parked",
    severity="warning",
    query=None,
    message="{parked} pieces of work ({queues}) of account {account}, which is no longer configured, were set aside.",
    action="Configure the account again: replay_parked takes its work up, and `orders-pipeline erase --seller "
    "--everything` ends it with all that is stored of the account.",
    runbook="Work that waits",
    per_account=False,
    is_cause=True,
)

ACCOUNT_NOT_SERVED = AlertKind(
    name="account.not_served",
    severity="error",
    query=None,
    message="The account {account} is not served: {problems}.",
    action="Mend AMAZON_ACCOUNTS_FILE, or the variable that it names; `orders-pipeline accounts` says what is right. "
    "It is served again within seconds. The other accounts are served meanwhile.",
    runbook="Accounts",
    per_account=False,
    is_cause=True,
)

FAILED_BACKFILL = AlertKind(
    name="backfill.failed",
    severity="error",
    query=None,
    message="The backfill {backfill_id} of order_events failed: not all of its days were read.",
    action="Open it in the Dagster UI: the log of its run says why. Mend that, and launch it again for the days that "
    "are missing; pages that were read are not read again for a day.",
    runbook="Backfill",
    per_account=False,
    is_cause=True,
    link="/runs/b/{backfill_id}",
)

ALERTS: tuple[AlertKind, ...] = (
    *intake.ALERTS,
    *fulfillment.ALERTS,
    *shipments.ALERTS,
    *reports.ALERTS,
    *privacy.ALERTS,
    *amazon.ALERTS,
    *vault.ALERTS,
    *work.ALERTS,
    *alerting.ALERTS,
    OVERDUE,
    FORMER_ACCOUNT_PARKED,
    ACCOUNT_NOT_SERVED,
    FAILED_RUN,
    FAILED_BACKFILL,
    NOT_EVALUATED,
)


def evaluate_alerts(
    database: Database,
    account_ids: Sequence[str],
    failed_runs: Sequence[Found],
    failed_backfills: Sequence[Found],
    *,
    not_served: Mapping[str, Sequence[str]] = MappingProxyType({}),
    budget_seconds: float,
) -> list[EvaluationResult]:
    """Evaluate every kind for each account and for none, and take in what failed in Dagster. Errors as in `evaluate`.

    `account_ids`: those that are served; of every other one, what was set aside is told. `not_served`: the accounts of
    the settings that cannot be served, and why.
    """
    with database.transaction(NOBODY) as tx:
        reconcile(tx, FAILED_RUN, failed_runs)
        reconcile(tx, FAILED_BACKFILL, failed_backfills)
        wrong = [{"account": one, "problems": "; ".join(problems)} for one, problems in not_served.items()]
        reconcile(tx, ACCOUNT_NOT_SERVED, [Found(each["account"], each) for each in wrong])
        # Nobody looks any more whether they are over; what is left to do for such an account is told of here.
        close_alerts_of_others(tx.connection, [NOBODY, *account_ids, *not_served])
        parked = parked_of_others(tx.connection, account_ids)
        values = [{"account": row.account_id, "parked": row.parked, "queues": row.queues} for row in parked]
        reconcile(tx, FORMER_ACCOUNT_PARKED, [Found(each["account"], each) for each in values])
    for account_id in account_ids:
        with database.transaction(account_id) as tx:
            watch_scheduled_work(tx)
    ends_at, results = time.monotonic() + budget_seconds, list[EvaluationResult]()
    for number, who in enumerate((NOBODY, *account_ids)):
        # What one does not need, those after it have: of fifty each would have a fifth of a second.
        left = max(ends_at - time.monotonic(), 0.0) / (len(account_ids) + 1 - number)
        results.append(evaluate(database, who, ALERTS, budget_seconds=left))
    return results
