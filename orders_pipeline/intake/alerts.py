"""The alerts about what comes from the queue and from searches, as queries over their state."""

from __future__ import annotations

from orders_pipeline.alerts.kinds import AlertKind

ALERTS: tuple[AlertKind, ...] = ()
