"""The bare Dagster floor: a sensor that long-polls an SQS queue asks for a run of one asset that does nothing.

Loaded by Dagster's daemon in a process of its own, beside the pipeline's, with the same `dagster.yaml`.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from orders_pipeline.intake.queue import LONGEST_POLL_SECONDS, NotificationQueue

QUEUE_URL, DONE = "BENCH_FLOOR_QUEUE_URL", "BENCH_FLOOR_DONE"


@dg.asset
def nothing() -> None:
    """Says that it ran."""
    Path(os.environ[DONE]).touch()


@dg.sensor(target=[nothing], minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def floor_sensor() -> dg.RunRequest | dg.SkipReason:
    queue = NotificationQueue(os.environ[QUEUE_URL])
    messages = queue.receive(wait_seconds=LONGEST_POLL_SECONDS)
    queue.delete(messages)
    return dg.RunRequest() if messages else dg.SkipReason("Nothing came.")


defs = dg.Definitions(assets=[nothing], sensors=[floor_sensor], executor=dg.in_process_executor)
