"""What opens and closes each alert of `orders_pipeline/intake/alerts.py`."""

from __future__ import annotations

from orders_pipeline_tests.alerts.case import Case

CASES: tuple[Case, ...] = ()
