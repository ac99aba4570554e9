"""What a running Dagster leaves in its storage: a heartbeat, and a sensor with a tick that failed."""

from __future__ import annotations

import time

from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo


def leave_traces(instance: DagsterInstance, *, sensor: str, failed_ticks: int) -> None:
    """A daemon that lives, a run that was asked for, and a sensor some of whose ticks failed, and one did not."""
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "one", []))
    create_run_for_test(instance, job_name="sync_orders")
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    origin = RemoteInstigatorOrigin(repository, sensor)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    instance.add_instigator_state(state)
    error = SerializableErrorInfo("it failed", [], None)
    ticks = [(TickStatus.FAILURE, error, None)] * failed_ticks
    for status, why, skipped in (*ticks, (TickStatus.SKIPPED, None, "Nothing new.")):
        instance.create_tick(
            TickData(
                instigator_origin_id=origin.get_id(),
                instigator_name=sensor,
                instigator_type=InstigatorType.SENSOR,
                status=status,
                timestamp=time.time(),
                selector_id=state.selector_id,
                error=why,
                skip_reason=skipped,
            )
        )
