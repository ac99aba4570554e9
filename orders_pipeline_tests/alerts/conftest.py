"""A world for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.database.engine import Database
from orders_pipeline_tests.world import World, open_world


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return open_world(database, tmp_path)
