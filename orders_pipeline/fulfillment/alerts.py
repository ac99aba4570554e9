"""The alerts about orders on their way to the warehouse, as queries over their state."""

from __future__ import annotations

from orders_pipeline.alerts.kinds import AlertKind

ALERTS: tuple[AlertKind, ...] = ()
