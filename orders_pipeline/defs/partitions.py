"""Partitions: one UTC day of order events.

Never one an order: keys are shown and stored everywhere. `end_offset=1` makes today a partition: events arrive all day.
"""

from __future__ import annotations

import dagster as dg

from orders_pipeline.store.order_events import EARLIEST_PARTITION_DAY

daily = dg.DailyPartitionsDefinition(start_date=EARLIEST_PARTITION_DAY.isoformat(), timezone="UTC", end_offset=1)
