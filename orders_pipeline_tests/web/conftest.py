"""People, their file, and the door that they come in by."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from orders_pipeline_tests.web.door import PASSWORD, Door, MemoryJournal, login_access, write_users


@pytest.fixture(scope="session")
def line() -> str:
    # As strong as is accepted, and no stronger: a test logs in often.
    return f"maria:operator:{PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1).hash(PASSWORD)}"


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def users_file(tmp_path: Path, line: str) -> Path:
    return write_users(tmp_path / "users", line, line.replace("maria:operator", "victor:viewer"))


@pytest.fixture
def door(users_file: Path, tmp_path: Path, journal: MemoryJournal) -> Door:
    return Door(login_access(users_file, tmp_path), journal)
