"""The days of several sellers, played side by side, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orders_pipeline.sandbox.day.player import Day
from orders_pipeline.sandbox.day.scenarios import PlannedOrder


class Days:
    """What one `Day` tells, of all of them together."""

    def __init__(self, days: Sequence[Day]) -> None:
        self._days = days

    @property
    def planned(self) -> dict[str, PlannedOrder]:
        return {order_id: one for day in self._days for order_id, one in list(day.planned.items())}

    def start(self) -> None:
        for day in self._days:
            day.start()

    def stop(self) -> None:
        for day in self._days:
            day.stop()

    def as_json(self) -> dict[str, Any]:
        told = [day.as_json() for day in self._days]
        states = {one["state"] for one in told}
        return {
            "state": "playing" if "playing" in states else states.pop(),
            "orders_total": sum(one["orders_total"] for one in told),
            "played": sum(one["played"] for one in told),
            "finished": all(one["finished"] for one in told),
        }
