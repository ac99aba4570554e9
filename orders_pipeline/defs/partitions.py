"""Partitions: one UTC day.

Never one an order: keys are shown and stored everywhere.
"""

from __future__ import annotations

import dagster as dg

from orders_pipeline.orders.event_rows import EARLIEST_PARTITION_DAY

# `end_offset=1` makes today a partition: events arrive all day.
daily = dg.DailyPartitionsDefinition(start_date=EARLIEST_PARTITION_DAY.isoformat(), timezone="UTC", end_offset=1)

# Days that are over: what is written of them is written once.
ended_days = dg.DailyPartitionsDefinition(start_date=EARLIEST_PARTITION_DAY.isoformat(), timezone="UTC")
