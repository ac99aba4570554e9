"""What assets show: small tables from rows of the store, and reports that fail no run.

No pandas: it costs each run a second (a run costs about three in all).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg

from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.model.durations import NOTHING, duration
from orders_pipeline.operations.accounts import serve_each
from orders_pipeline.operations.board import Report

ROWS_SHOWN = 25
Shown = int | float | str | bool | dg.TableMetadataValue


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.TableMetadataValue:
    """A metadata table of at most ROWS_SHOWN rows. Never pass a column that identifies a buyer."""
    shown = [dict(zip(columns, (_cell(value) for value in row), strict=True)) for row in list(rows)[:ROWS_SHOWN]]
    return dg.MetadataValue.table(
        records=[dg.TableRecord(record) for record in shown],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in columns]),
    )


def tables_of(context: dg.AssetExecutionContext, store: StoreResource, reports: Sequence[Report]) -> dict[str, Shown]:
    """Each report's rows, of all accounts. One that fails is logged and shown as such; the run goes on."""
    accounts = store.accounts()
    shown: dict[str, Shown] = {}
    for report in reports:
        served = serve_each(accounts, report.read)
        several = ["account"] if len(accounts) > 1 else []
        rows = [
            [*([account_id] if several else []), *row] for account_id, found in served.results.items() for row in found
        ]
        shown[report.name] = table([*several, *report.columns], rows)
        for account_id, defect in sorted(served.defects.items()):
            context.log.error("report %s of account %s: %s", report.name, account_id, defect)
            shown[f"{report.name}_could_not_be_read"] = defect
    return shown


def _cell(value: Any) -> str | int | float:
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, timedelta):
        return duration(value.total_seconds())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return float(value) if isinstance(value, Decimal) else value
