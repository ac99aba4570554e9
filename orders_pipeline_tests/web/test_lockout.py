"""Ten wrong passwords lock a name, and a new line in the users file opens it again, to its new password."""

from __future__ import annotations

from pathlib import Path

from argon2 import PasswordHasher

from orders_pipeline.web.lockout import FAILURES_AT_MOST
from orders_pipeline_tests.web.door import Door, MemoryJournal, write_users


def test_a_new_line_ends_the_lock_and_begins_a_count_of_its_own(
    door: Door, users_file: Path, line: str, journal: MemoryJournal
):
    for _ in range(FAILURES_AT_MOST):
        assert door.log_in("a guess") == 401
    assert door.log_in() == 401
    new = PasswordHasher(time_cost=1, memory_cost=19_456, parallelism=1).hash("Another-Horse-9")
    write_users(users_file, f"maria:operator:{new}")
    assert door.log_in("Another-Horse-9") == 303
    for _ in range(FAILURES_AT_MOST):
        assert door.log_in("a guess") == 401
    assert journal.entries[-1] == ("locked", "maria")
    assert door.log_in("Another-Horse-9") == 401
    # The same line written again, or another role, is no new password: the lock stays.
    write_users(users_file, f"maria:viewer:{new}")
    assert door.log_in("Another-Horse-9") == 401
