"""How a test makes what a kind of alert is about, and ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline_tests.world import World


@dataclass(frozen=True)
class Case:
    """`begin` brings about what opens the alert of this kind, `end` what closes it; both change state, never alerts.

    A kind without a query is reconciled by `begin` and `end` themselves, as its own caller does.
    """

    kind: AlertKind
    begin: Callable[[World], object]
    end: Callable[[World], object]
