"""Partitions: one UTC day that is over, so that what is shown of it as made is all of it.

Never one an order: keys are shown and stored everywhere.
"""

from __future__ import annotations

import dagster as dg

from orders_pipeline.orders.event_rows import EARLIEST_PARTITION_DAY

ended_days = dg.DailyPartitionsDefinition(start_date=EARLIEST_PARTITION_DAY.isoformat(), timezone="UTC")
