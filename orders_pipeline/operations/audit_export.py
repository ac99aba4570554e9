"""Copy one day of the audit log to where ORDERS_AUDIT_EXPORT says."""

from __future__ import annotations

from datetime import date, timedelta

from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.overdue import AUDIT_EXPORT
from orders_pipeline.privacy.audit_export.export import content_name, export_day
from orders_pipeline.privacy.audit_export.targets import ExportTarget


def export_audit_day(deployment: Deployment, target: ExportTarget, day: date) -> dict[str, int | str | bool]:
    """What was copied, and where to. The log is the deployment's: a day has the entries of all accounts.

    Raises AuditExportRefused, ExportUnavailable.
    """
    manifest = export_day(deployment.database, deployment.audit, target, day)
    if day >= deployment.database.now().date() - timedelta(days=1):
        # An older day is a backfill's.
        deployment.note_done(AUDIT_EXPORT)
    return {
        "dagster/partition_row_count": manifest.entries,
        "dagster/uri": f"{target.where.rstrip('/')}/{content_name(day)}",
        "head": f"{manifest.head_entry}:{manifest.head_hash}" if manifest.head else "empty",
        "chain_intact": manifest.chain_intact,
        "sha256": manifest.lines_sha256,
    }
