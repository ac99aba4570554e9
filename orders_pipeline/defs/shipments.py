"""Shipments in Dagster: what left the warehouse, and what Amazon was told and shows of it."""

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.checks import CONFIRMATION_CHECKS, confirmation_results
from orders_pipeline.defs.orders import limits_table
from orders_pipeline.defs.resources import AmazonResource, StoreResource, WarehouseResource
from orders_pipeline.defs.runs import MAX_RUNTIME_TAG, request_unless_active
from orders_pipeline.defs.tables import NOTHING, duration, table
from orders_pipeline.defs.ticks import Tick
from orders_pipeline.model.states import UNCONFIRMED
from orders_pipeline.operations.pending_work import pending_work
from orders_pipeline.settings import SettingsError
from orders_pipeline.shipments.carriers_in_use import carriers_in_use
from orders_pipeline.shipments.confirm import Confirming, confirm_due_packages
from orders_pipeline.shipments.packages import apply_shipments
from orders_pipeline.shipments.poll import poll_or_alert
from orders_pipeline.shipments.rows import confirmations_by_state, shipments_by_kind
from orders_pipeline.shipments.verify import verify_due_packages

CONFIRM_DEADLINE_SECONDS = 45.0


@dg.asset(deps=["wms_orders"])
def wms_shipments(
    context: dg.AssetExecutionContext, store: StoreResource, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Packages, items and tracking, as the warehouse reported them; voided, replaced and short ones too."""
    database, account_id = store.database(), store.account_id()
    with acting_as(actor_of(context)):
        # Without the warehouse, what it told before is taken up all the same, and told to Amazon.
        polled = poll_or_alert(warehouse.client, database, store.vault, account_id=account_id)
        applied = apply_shipments(database, store.audit(), account_id=account_id)
    if polled.unreachable:
        context.log.error(polled.unreachable)
    with database.transaction(account_id) as tx:
        kinds = shipments_by_kind(tx)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(int(row.events) for row in kinds),
            "polled": polled.events,
            "unreachable": polled.unreachable or NOTHING,
            "new": polled.new,
            "delivered_again": polled.duplicates,
            "unreadable": polled.unreadable,
            "applied": sum(applied.outcomes.values()),
            "by_kind": table(
                ["kind", "outcome", "events", "newest"], [(r.kind, r.outcome, r.events, r.newest) for r in kinds]
            ),
        }
    )


@dg.asset(
    deps=[wms_shipments],
    check_specs=CONFIRMATION_CHECKS,
)
def shipment_confirmations(
    context: dg.AssetExecutionContext, store: StoreResource, amazon: AmazonResource
) -> dg.MaterializeResult:
    """What Amazon was told of each package, and whether it shows it: a 204 is not a confirmation.

    Red? See the runbook, "Confirm".
    """
    database, account_id, client = store.database(), store.account_id(), amazon.client()
    account = amazon.settings()
    work = Confirming(
        database=database,
        audit=store.audit(),
        shipments=client.shipments,
        orders=client.orders,
        carrier_overrides=carriers_in_use(database, data_dir=store.settings().data_dir, account_id=account_id),
        account_id=account_id,
        default_marketplace_id=account.marketplace_ids[0],
    )
    with acting_as(actor_of(context)):
        sent = confirm_due_packages(work, deadline_seconds=CONFIRM_DEADLINE_SECONDS)
        read = verify_due_packages(work, deadline_seconds=CONFIRM_DEADLINE_SECONDS)
    for error in {sent.account_error, read.account_error} - {None}:
        context.log.error(str(error))
    with database.transaction(account_id) as tx:
        states = confirmations_by_state(tx)
        results = list(confirmation_results(tx))
    return dg.MaterializeResult(
        check_results=results,
        metadata={
            "dagster/row_count": sum(int(row.packages) for row in states),
            "unconfirmed": sum(int(row.packages) for row in states if row.state in UNCONFIRMED),
            **{f"now_{outcome}": count for outcome, count in sorted(sent.outcomes.items())},
            **{f"read_{outcome}": count for outcome, count in sorted(read.outcomes.items())},
            "account_error": sent.account_error or read.account_error or NOTHING,
            "by_state": table(
                ["state", "packages", "next_ship_by", "oldest"],
                [(r.state, r.packages, r.next_ship_by, duration(r.oldest_seconds)) for r in states],
            ),
            "limits": limits_table(client.limits.report()),
        },
    )


confirm_shipments = dg.define_asset_job(
    "confirm_shipments",
    selection=dg.AssetSelection.assets("wms_shipments", "shipment_confirmations"),
    tags=MAX_RUNTIME_TAG,
    description="Every package that left is told to Amazon, by ship-by time, and read back. Asked for by the sensor "
    "`poll_warehouse_sensor`; safe to start by hand at any time.",
)


@dg.sensor(
    job_name="confirm_shipments",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads the warehouse's shipment events, and asks for a run of `confirm_shipments` while any package is "
    "to be told to Amazon or read back.",
)
def poll_warehouse_sensor(
    context: dg.SensorEvaluationContext, store: StoreResource, warehouse: WarehouseResource
) -> dg.SensorResult | dg.SkipReason:
    tick = Tick()
    try:
        account_id, database = store.account_id(), store.database()
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    polled = poll_or_alert(
        warehouse.client, database, store.vault, account_id=account_id, budget_seconds=tick.left_to_begin()
    )
    with database.transaction(account_id) as tx:
        work = pending_work(tx)
    requests = request_unless_active(context.instance, database, "confirm_shipments") if work.for_confirm else []
    idle = polled.unreachable or (
        f"{work.for_confirm} packages are in the run under way." if work.for_confirm else "No package is due."
    )
    return dg.SensorResult(run_requests=requests, skip_reason=None if requests else dg.SkipReason(idle))
