"""`GET /metrics` for Prometheus, in its text format or as OpenMetrics, whichever was asked for.

However many ask at once, the databases are read once, and what was read is shown for a few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orders_pipeline.operations.metrics.family import Family, Sample
from orders_pipeline.settings import SettingsError
from orders_pipeline.work.workers import error_location

METRICS_PATH = "/metrics"
# Two Prometheus servers that scrape every fifteen seconds, and a person who looks, cost one reading each.
SHOWN_SECONDS = 5.0
# A scrape has ten seconds if nobody said otherwise; a reading that takes longer is shown to the next one.
ANSWER_SECONDS = 8.0
_logger = logging.getLogger("orders_pipeline.web")

Read = Callable[[], Sequence[Sample]]


class Metrics:
    """The route, and the reading that its calls share."""

    def __init__(
        self,
        read: Read,
        *,
        shown_seconds: float = SHOWN_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._shown_seconds = shown_seconds
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._limiter = CapacityLimiter(1)
        self._reading: asyncio.Task[Sequence[Sample]] | None = None
        self._shown: tuple[Sequence[Sample], float] | None = None

    def routes(self) -> list[Route]:
        return [Route(METRICS_PATH, self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        try:
            samples = await asyncio.wait_for(asyncio.shield(self._shared()), self._answer_seconds)
        except (TimeoutError, SettingsError) as error:
            why = str(error) if isinstance(error, SettingsError) else "The metrics could not be read in time."
            return PlainTextResponse(f"{why}\n", status_code=503, headers={"Retry-After": "15"})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        registry = CollectorRegistry()
        registry.register(_Rendered(samples))
        body = await to_thread.run_sync(encode, registry)
        return Response(body, headers={"Content-Type": content_type})

    def _shared(self) -> asyncio.Task[Sequence[Sample]]:
        """The reading that is under way; or a new one, unless the last is fresh."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._samples())
            self._reading.add_done_callback(self._over)
        return self._reading

    def _over(self, task: asyncio.Task[Sequence[Sample]]) -> None:
        self._reading = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever waited was told; where nobody waited any more, the log says it.
            _logger.warning(
                "Metrics could not be read: %s", error_location(error) if isinstance(error, Exception) else ""
            )

    async def _samples(self) -> Sequence[Sample]:
        if self._shown is not None and self._clock() - self._shown[1] < self._shown_seconds:
            return self._shown[0]
        samples = await to_thread.run_sync(self._read, limiter=self._limiter)
        self._shown = samples, self._clock()
        return samples


class _Rendered(Collector):
    """What was read, as prometheus_client writes it."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        families: dict[Family, Metric] = {}
        for sample in self._samples:
            if sample.family not in families:
                families[sample.family] = _metric(sample.family)
            _add(families[sample.family], sample)
        yield from families.values()


def _metric(family: Family) -> Metric:
    kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}
    return kinds[family.kind](family.name, family.help, labels=family.labels)


def _add(metric: Metric, sample: Sample) -> None:
    if isinstance(metric, HistogramMetricFamily):
        metric.add_metric(sample.labels, sample.buckets, sample.value)
    elif isinstance(metric, (GaugeMetricFamily, CounterMetricFamily)):
        metric.add_metric(sample.labels, sample.value)
