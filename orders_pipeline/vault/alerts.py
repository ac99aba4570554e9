"""The alerts about the keys and the sealed records, as queries over their state."""

from __future__ import annotations

from orders_pipeline.alerts.kinds import AlertKind

ALERTS: tuple[AlertKind, ...] = ()
