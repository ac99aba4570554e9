"""The whole pipeline in one process, for tests: real PostgreSQL, the sandbox's servers, the real sensors and jobs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from orders_pipeline.definitions import build_defs, default_resources
from orders_pipeline.defs import intake
from orders_pipeline.defs.resources import AwakeResource
from orders_pipeline.operations import watch
from orders_pipeline.operations.accounts import Watches
from orders_pipeline.sandbox.sandbox import Sandbox

# A tick at an empty queue waits so long for a message, in a deployment for ten seconds.
POLL_SECONDS = 2


class Pipeline:
    """Sensors and jobs of the real definitions, driven by hand against a sandbox.

    `before_tick` is called at the beginning of each.
    """

    def __init__(self, instance: dg.DagsterInstance, *, before_tick: Callable[[], None] = lambda: None) -> None:
        self.instance = instance
        self._before_tick = before_tick
        # A run ends once nothing is due: a test waits for no idle time.
        self.repository = build_defs(awake=AwakeResource(idle_seconds=0)).get_repository_def()
        self.failed_runs: list[str] = []
        self._cursors: dict[str, str | None] = {}

    def tick(self, sensor_name: str) -> dg.SensorExecutionData:
        """Evaluate one sensor once, and execute every run that it asks for."""
        self._before_tick()
        sensor = self.repository.get_sensor_def(sensor_name)
        needed = {name: default_resources()[name] for name in sensor.required_resource_keys}
        with dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            sensor_name=sensor_name,
            cursor=self._cursors.get(sensor_name),
            resources=needed,
        ) as context:
            data = sensor.evaluate_tick(context)
        self._cursors[sensor_name] = data.cursor
        for request in data.run_requests or []:
            self.run(request.job_name or "", tags=request.tags)
        return data

    def run(self, job_name: str, *, tags: Mapping[str, str] | None = None, partition: str | None = None) -> bool:
        """Execute one job; whether it succeeded."""
        job = self.repository.get_job(job_name)
        result = job.execute_in_process(
            instance=self.instance, tags=dict(tags or {}), partition_key=partition, raise_on_error=False
        )
        if not result.success:
            self.failed_runs.append(job_name)
        return result.success

    def run_until_idle(self) -> None:
        """One round of everything that the daemon would do."""
        self.tick("drain_notifications_sensor")
        self.tick("poll_warehouse_sensor")


@contextmanager
def pipeline_for(
    sandbox: Sandbox, database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Pipeline]:
    """A pipeline of this sandbox alone, on an instance of its own.

    A tick begins when what Amazon has told is on the queue, and waits for no message that nobody sends.
    """
    point_environment_at(sandbox, database_url, data_dir, monkeypatch)
    monkeypatch.setattr(watch, "LONGEST_POLL_SECONDS", 0)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Pipeline(instance, before_tick=sandbox.queue.await_sent)


def point_environment_at(
    sandbox: Sandbox, database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch, **more: str
) -> None:
    """Set the settings that a deployment would have, for this sandbox and this database."""
    values = {**sandbox.environment(), "ORDERS_DATABASE_URL": database_url, "ORDERS_DATA_DIR": str(data_dir), **more}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(watch, "LONGEST_POLL_SECONDS", POLL_SECONDS)
    # A test before may have left one that still waits at another queue of the same account.
    monkeypatch.setattr(intake, "_watches", Watches())
