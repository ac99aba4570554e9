"""Asset checks: each shows that a promise holds now, with the numbers behind it.

A check is evaluated in its asset's own step: it costs no other step, and is as fresh as the asset.
"""

from collections.abc import Iterator

import dagster as dg

from orders_pipeline.database.engine import AccountTransaction
from orders_pipeline.operations import promises as checks
from orders_pipeline.operations.parked_work import parked_work

# A confirmation takes a minute; with less than this to go a person can still act.
DEADLINE_HOURS = 4
# Runs follow each other within seconds; events that wait this long are not being worked.
EVENT_PATIENCE_SECONDS = 600
# A quiet shop has quiet hours; orders that sweeps find while no notification comes are another matter.
SILENCE_SECONDS = 6 * 3600

QUEUE_CHECKS = [
    dg.AssetCheckSpec(
        "no_cancelled_order_is_pushed",
        asset="fulfillment_queue",
        blocking=True,
        description="No order that Amazon has cancelled is about to be pushed. Blocking: shipping wrong is worse than "
        "shipping late.",
    ),
    dg.AssetCheckSpec(
        "every_eligible_order_is_queued",
        asset="fulfillment_queue",
        description="Every merchant-fulfilled order that is to ship has an entry, if only to say why it waits.",
    ),
]
WMS_ORDERS_CHECKS = [
    dg.AssetCheckSpec(
        "pushed_once", asset="wms_orders", description="The warehouse has no order with other content than was sent."
    )
]
ORDERS_CHECKS = [
    dg.AssetCheckSpec(
        "events_are_applied", asset="orders", description="No event waits longer than ten minutes for its order."
    ),
    dg.AssetCheckSpec(
        "nothing_is_parked", asset="orders", description="Nothing was set aside. If it was: mend it, then replay it."
    ),
]
CONFIRMATION_CHECKS = [
    dg.AssetCheckSpec(
        "confirmed_in_time",
        asset="shipment_confirmations",
        description="Every package that left is confirmed at Amazon four hours before its ship-by time.",
    ),
    dg.AssetCheckSpec(
        "shipped_in_time", asset="shipment_confirmations", description="No order is past its ship-by time unshipped."
    ),
]
SWEEP_CHECKS = [
    dg.AssetCheckSpec(
        "notifications_miss_nothing",
        asset="order_sweeps",
        description="Sweeps of the last day found nothing that no notification had announced.",
    ),
    dg.AssetCheckSpec(
        "notifications_are_not_silent",
        asset="order_sweeps",
        description="Orders do not change for hours without a notification coming.",
    ),
]


def queue_results(tx: AccountTransaction) -> Iterator[dg.AssetCheckResult]:
    """Results of QUEUE_CHECKS."""
    yield _none("no_cancelled_order_is_pushed", "orders", checks.cancelled_yet_shipping(tx))
    yield _none("every_eligible_order_is_queued", "orders", checks.eligible_not_queued(tx))


def wms_orders_results(tx: AccountTransaction) -> Iterator[dg.AssetCheckResult]:
    """Results of WMS_ORDERS_CHECKS."""
    yield _none("pushed_once", "orders", checks.pushed_with_two_contents(tx))


def orders_results(tx: AccountTransaction) -> Iterator[dg.AssetCheckResult]:
    """Results of ORDERS_CHECKS."""
    seconds = checks.oldest_pending_event_seconds(tx)
    yield dg.AssetCheckResult(
        check_name="events_are_applied",
        asset_key="orders",
        passed=seconds < EVENT_PATIENCE_SECONDS,
        metadata={"oldest_seconds": seconds, "at_most": EVENT_PATIENCE_SECONDS},
    )
    parked = len(parked_work(tx))
    yield _none("nothing_is_parked", "parked", parked, asset="orders", severity=dg.AssetCheckSeverity.WARN)


def confirmation_results(tx: AccountTransaction) -> Iterator[dg.AssetCheckResult]:
    """Results of CONFIRMATION_CHECKS."""
    near = checks.unconfirmed_near_deadline(tx, DEADLINE_HOURS)
    yield _none("confirmed_in_time", "packages", near)
    yield _none("shipped_in_time", "orders", checks.unshipped_past_deadline(tx))


def sweep_results(tx: AccountTransaction) -> Iterator[dg.AssetCheckResult]:
    """Results of SWEEP_CHECKS."""
    silence = checks.silence(tx)
    warn = dg.AssetCheckSeverity.WARN
    yield _none("notifications_miss_nothing", "missed_in_a_day", silence.missed_last_day, severity=warn)
    quiet = silence.newest_notification is None or silence.newest_notification > SILENCE_SECONDS
    found_meanwhile = silence.newest_missed is not None and silence.newest_missed < SILENCE_SECONDS
    yield dg.AssetCheckResult(
        check_name="notifications_are_not_silent",
        passed=not (quiet and found_meanwhile),
        metadata={
            "seconds_since_notification": silence.newest_notification
            if silence.newest_notification is not None
            else -1,
            "seconds_since_sweep_found_one": silence.newest_missed if silence.newest_missed is not None else -1,
        },
        description="Run `orders-pipeline doctor`: subscription and queue policy."
        if quiet and found_meanwhile
        else None,
    )


def _none(
    name: str,
    unit: str,
    count: int,
    *,
    asset: str | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name, asset_key=asset, passed=count == 0, severity=severity, metadata={unit: count}
    )
