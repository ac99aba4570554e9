"""docs/failures.md: what each queue does about each failure of the other side, written from the tables that decide."""

from __future__ import annotations

from orders_pipeline.channels.amazon.failures import READ_FAILURES
from orders_pipeline.reports.failures import REPORT_FAILURES
from orders_pipeline.shipments.failures import CONFIRM_FAILURES
from orders_pipeline.wms.failures import WAREHOUSE_FAILURES
from orders_pipeline.work.failures import FailureTable

# A port's table, in the order of the page.
TABLES: tuple[FailureTable, ...] = (READ_FAILURES, WAREHOUSE_FAILURES, CONFIRM_FAILURES, REPORT_FAILURES)

_TOP = """# Failures

What the work queue does when the other side refuses, fails or is away. This page is generated from the tables that the
program itself asks (`make docs`); the first row that fits counts.

"Everything waits" is a pause of the whole dependency: five seconds at first, twice as long each time, five minutes at
most. Then one job at a time tries, each time another; the first success lets everything go on. No job counts an attempt
while everything waits.

Erasing at the warehouse and asking Amazon about deliveries are not on this page: their jobs are never parked for a
refusal, and a refusal pauses these jobs alone.
"""


def as_markdown() -> str:
    """The page."""
    return "\n".join([_TOP, *(table.as_markdown() for table in TABLES)])
