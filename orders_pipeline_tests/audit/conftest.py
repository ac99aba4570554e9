"""An audit log on a fresh database."""

from __future__ import annotations

import pytest

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.engine import Database


@pytest.fixture
def audit(database: Database) -> AuditLog:
    return AuditLog(database)
