"""The alerts about buyers' data: its rules, and its red checks."""

from __future__ import annotations

from orders_pipeline.alerts.kinds import AlertKind
from orders_pipeline.privacy.checks.check_alerts import RED_CHECK

ALERTS: tuple[AlertKind, ...] = (RED_CHECK,)
