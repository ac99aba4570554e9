"""All promises, and one run over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from orders_pipeline.settings import WarehouseSettings
from orders_pipeline.wms.conformance import answering, extras, pushing, reading, reporting, stopping
from orders_pipeline.wms.conformance.ends import Broken, NotPossible
from orders_pipeline.wms.conformance.promise import Promise, Result, Verdict
from orders_pipeline.wms.conformance.trial import CALL_SECONDS, OpenAdapter, Trial
from orders_pipeline.wms.conformance.worker import Worker
from orders_pipeline.wms.port import WarehouseError
from orders_pipeline.work.workers import error_location

PROMISES: tuple[Promise, ...] = (
    *pushing.PROMISES,
    *stopping.PROMISES,
    *reporting.PROMISES,
    *reading.PROMISES,
    *answering.PROMISES,
    *extras.PROMISES,
)


def try_adapter(
    open_adapter: OpenAdapter,
    settings: WarehouseSettings,
    open_worker: Callable[[], Worker],
    *,
    only: Collection[str] = (),
    call_seconds: float = CALL_SECONDS,
) -> Iterator[Result]:
    """The result of each promise, or of those named, as it is there. One that fails stops no other."""
    trial = Trial(open_adapter, settings, open_worker(), call_seconds=call_seconds)
    try:
        for promise in PROMISES:
            if not only or promise.name in only:
                yield _try(trial, promise)
    finally:
        trial.close()


def _try(trial: Trial, promise: Promise) -> Result:
    began = time.monotonic()
    verdict: Verdict = "holds"
    reason = ""
    try:
        trial.skip_to_the_end()
        promise.check(trial)
    except NotPossible as error:
        verdict, reason = "not tried", str(error)
    except Broken as error:
        verdict, reason = "fails", str(error)
    except WarehouseError as error:
        verdict, reason = "fails", f"{type(error).__name__}, where nothing was in the way: {error}"
    except Exception as error:  # noqa: BLE001 - an adapter that raises what the port does not know has broken this one
        verdict, reason = "fails", f"{type(error).__name__}, which is no error of the port's: {error_location(error)}"
    return Result(promise, verdict, reason, time.monotonic() - began)
