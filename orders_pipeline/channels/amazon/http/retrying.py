"""When a retry is no longer worth its wait."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryCallState

from orders_pipeline.channels.amazon.timing import Deadline


def stop_at(deadline: Deadline, *, attempts: int) -> Callable[[RetryCallState], bool]:
    """Stop after so many attempts, or when the next wait would end after the deadline."""

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number >= attempts or state.upcoming_sleep >= deadline.remaining

    return stop
