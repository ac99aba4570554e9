"""The stages from the warehouse's report to what Amazon shows, each for one account: what `confirm_shipments` does."""

from __future__ import annotations

from orders_pipeline.model.states import PackageState
from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.hot_run import HotJob, JobStage
from orders_pipeline.operations.pending_work import confirm_due
from orders_pipeline.shipments.carriers_in_use import carriers_in_use
from orders_pipeline.shipments.confirm import confirm_due_packages
from orders_pipeline.shipments.confirming import Confirming
from orders_pipeline.shipments.event_rows import WMS_SHIPMENTS
from orders_pipeline.shipments.packages import apply_shipments
from orders_pipeline.shipments.poll import poll_warehouse
from orders_pipeline.shipments.verify import verify_due_packages
from orders_pipeline.work.jobs import Queue
from orders_pipeline.work.tally import Tally


def read_shipments(account: ServedAccount, _seconds: float) -> Tally:
    """Read the warehouse's shipment events."""
    return poll_warehouse(
        lambda: account.warehouse, account.database, lambda: account.vault, account_id=account.account_id
    )


def apply_recorded_shipments(account: ServedAccount, seconds: float) -> Tally:
    """Apply the events, read or brought by a webhook. It waits for no warehouse: one that hangs may send webhooks."""
    return apply_shipments(account.database, account.audit, account_id=account.account_id, deadline_seconds=seconds)


def confirm_packages(account: ServedAccount, seconds: float) -> Tally:
    """Tell Amazon of every package that is due."""
    return confirm_due_packages(_confirming(account), deadline_seconds=seconds)


def verify_packages(account: ServedAccount, seconds: float) -> Tally:
    """Verify that Amazon shows the packages that it was told of."""
    return verify_due_packages(_confirming(account), deadline_seconds=seconds)


def _confirming(account: ServedAccount) -> Confirming:
    return Confirming(
        database=account.database,
        audit=account.audit,
        shipments=account.amazon.shipments,
        orders=account.amazon.orders,
        carrier_overrides=carriers_in_use(account.database, data_dir=account.deployment.settings.data_dir),
        account_id=account.account_id,
        default_marketplace_id=account.marketplace_ids[0],
        marketplace_ids=tuple(account.marketplace_ids),
    )


def _applied(tally: Tally) -> Numbers:
    return {"applied": sum(tally.outcomes.values())}


def _confirmed(tally: Tally) -> Numbers:
    return {f"confirm_{name}": value for name, value in tally.as_metadata().items()}


def _verified(tally: Tally) -> Numbers:
    return {f"verify_{name}": value for name, value in tally.as_metadata().items()}


def _seen(tally: Tally) -> Numbers:
    """What was seen of Amazon's side: always the same names, so that they are plotted."""
    return {
        "orders_looked_at": sum(tally.outcomes.values()),
        "orders_shown_as_told": tally.outcomes.get(PackageState.CONFIRMED, 0),
        "calls_failed": sum(tally.errors.values()),
    }


CONFIRM = HotJob(
    stages=(
        # Nothing is notified under this name: once a run. What comes while the run is awake, the sensor reads.
        JobStage("read_shipments", read_shipments, {"wms_shipments": Tally.as_metadata}),
        JobStage(WMS_SHIPMENTS, apply_recorded_shipments, {"wms_shipments": _applied}, "recorded"),
        JobStage(Queue.CONFIRM, confirm_packages, {"shipment_confirmations": _confirmed}, "told"),
        JobStage(
            Queue.VERIFY,
            verify_packages,
            {"shipment_confirmations": _verified, "amazon_shipments": _seen},
            "verified",
        ),
    ),
    due=confirm_due,
)
