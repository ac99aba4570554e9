"""The one Definitions object: every asset, job, sensor and schedule, and the resources they are given.

Explicit lists, no folder scanning: a run starts sooner, it works from a wheel, and what is in is found by grep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orders_pipeline.defs import (
    audit_exports,
    authorization,
    automation,
    checks,
    dagster_history,
    fulfillment,
    intake,
    one_off_jobs,
    operations,
    privacy,
    privacy_checks,
    shipments,
)
from orders_pipeline.defs.policy import EXECUTOR, with_policy
from orders_pipeline.defs.refusing_io_manager import RefusingIOManager
from orders_pipeline.defs.resources import AuditExportResource, AwakeResource, StoreResource
from orders_pipeline.defs.source_links import with_source_links


def build_defs(**overrides: Any) -> dg.Definitions:
    """The definitions; `overrides` replace resources by name (`store`, `awake`, `audit_export`) in tests."""
    return dg.Definitions(
        assets=with_policy(
            with_source_links(
                [
                    intake.amazon_orders,
                    intake.order_notifications,
                    intake.order_events,
                    intake.order_sweeps,
                    fulfillment.orders_to_warehouse,
                    fulfillment.warehouse,
                    shipments.packages_to_amazon,
                    shipments.amazon_shipments,
                    privacy.pii_access_log,
                    privacy.pii_retention,
                    audit_exports.audit_exports,
                    dagster_history.dagster_history,
                    operations.order_board,
                    operations.fba_shipments,
                ]
            )
        ),
        executor=EXECUTOR,
        asset_checks=[checks.flow_checks, *privacy_checks.all_checks],
        jobs=[
            fulfillment.sync_orders,
            shipments.confirm_shipments,
            intake.sweep_job,
            operations.reports,
            privacy.shred_expired_pii_job,
            audit_exports.export_job,
            privacy.erase_at_warehouse_job,
            authorization.look_at_authorizations_job,
            authorization.receive_client_secrets_job,
            authorization.rotate_client_secret_job,
            dagster_history.history_job,
            *one_off_jobs.jobs,
        ],
        schedules=[
            privacy.frequent_warehouse_erasures,
            authorization.frequent_authorization_looks,
            authorization.frequent_client_secrets,
            audit_exports.nightly_audit_export,
        ],
        sensors=[
            intake.drain_notifications_sensor,
            shipments.poll_warehouse_sensor,
            operations.deliver_alerts_sensor,
            privacy.watch_roles_sensor,
            automation.hourly_assets_sensor,
            automation.nightly_assets_sensor,
        ],
        resources={**default_resources(), **overrides},
    )


def default_resources() -> Mapping[str, Any]:
    """Every resource as a deployment has it: from the environment."""
    store = StoreResource()
    return {
        "store": store,
        "awake": AwakeResource(),
        "audit_export": AuditExportResource(store=store),
        "io_manager": RefusingIOManager(),
    }


defs = build_defs()
