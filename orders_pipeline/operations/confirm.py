"""The steps from the warehouse's report to what Amazon shows, each for one account: what `confirm_shipments` does."""

from __future__ import annotations

from orders_pipeline.operations.accounts import Numbers
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.shipments.carriers_in_use import carriers_in_use
from orders_pipeline.shipments.confirm import confirm_due_packages
from orders_pipeline.shipments.confirming import Confirming
from orders_pipeline.shipments.packages import apply_shipments
from orders_pipeline.shipments.poll import poll_warehouse
from orders_pipeline.shipments.verify import verify_due_packages

# Of each half: telling Amazon, and reading what it shows.
DEADLINE_SECONDS = 45.0


def record_shipments(account: ServedAccount) -> Numbers:
    """Read the warehouse's shipment events, and apply them. Without the warehouse, what it told before is applied."""
    polled = poll_warehouse(
        lambda: account.warehouse, account.database, lambda: account.vault, account_id=account.account_id
    )
    applied = apply_shipments(account.database, account.audit, account_id=account.account_id)
    return {**polled.as_metadata(), "applied": sum(applied.outcomes.values())}


def confirm_packages(account: ServedAccount) -> Numbers:
    """Tell Amazon of every package that is due, and verify that it shows those it was told of."""
    work = Confirming(
        database=account.database,
        audit=account.audit,
        shipments=account.amazon.shipments,
        orders=account.amazon.orders,
        carrier_overrides=carriers_in_use(account.database, data_dir=account.deployment.settings.data_dir),
        account_id=account.account_id,
        default_marketplace_id=account.marketplace_ids[0],
        marketplace_ids=tuple(account.marketplace_ids),
    )
    sent = confirm_due_packages(work, deadline_seconds=DEADLINE_SECONDS)
    verified = verify_due_packages(work, deadline_seconds=DEADLINE_SECONDS)
    return {
        **{f"confirm_{name}": value for name, value in sent.as_metadata().items()},
        **{f"verify_{name}": value for name, value in verified.as_metadata().items()},
    }
