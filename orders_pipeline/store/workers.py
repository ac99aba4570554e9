"""Run one function over many items on a bounded pool of threads.

Belongs here: the pool that the stages share the shape of, with the caller's context (who acts, for the audit log)
carried into each thread; which failures are one item's alone. Elsewhere: what is done to an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

Item = TypeVar("Item")
Result = TypeVar("Result")


def over_each(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results, in the items' order. Waits for all; then raises the first exception that one raised, if any."""

    def run(pair: tuple[Context, Item]) -> Result:
        context, item = pair
        return context.run(function, item)

    futures = [pool.submit(run, (copy_context(), item)) for item in items]
    # Every item is finished before the first failure is raised: none is left half done by another's error.
    for future in futures:
        future.exception()
    return [future.result() for future in futures]


def concerns_all(error: Exception) -> bool:
    """Whether every item would meet this error (the database is away, or busy), so that none is to blame for it."""
    return isinstance(error, (OperationalError, InterfaceError))


def where_from(error: Exception) -> str:
    """Kind and place of an error that nobody expected. Never its text, which may hold what was being read."""
    frames = extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
