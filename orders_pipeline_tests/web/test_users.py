"""The users file is judged as every secret's file is, at the start and at each look while the UI runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orders_pipeline.web.users import UsersFile, UsersFileError
from orders_pipeline_tests.web.door import Door, MemoryJournal, login_access, write_users


@pytest.fixture
def open_file(line: str) -> Iterator[Path]:
    """A users file whose folders everybody may enter; pytest's own are closed to others, and shared by its workers."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o711)
        if any(not one.stat().st_mode & 0o011 for one in folder.parents):
            pytest.skip("the folder for temporary files is closed to others")
        yield write_users(folder / "users", line)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602])
def test_an_exposed_users_file_lets_nobody_in(
    open_file: Path, tmp_path: Path, journal: MemoryJournal, mode: int, caplog: pytest.LogCaptureFixture
):
    door = Door(login_access(open_file, tmp_path), journal)
    assert door.log_in() == 303
    assert door.comes_in()
    open_file.chmod(mode)
    assert door.client.get("/runs").status_code == 503
    assert f"chmod 600 {open_file.resolve()}" in caplog.text
    with pytest.raises(UsersFileError, match="chmod 600"):
        UsersFile(open_file).check()
    open_file.chmod(0o600)
    assert door.comes_in()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_lets_nobody_in_also_while_the_ui_runs(
    open_file: Path, tmp_path: Path, journal: MemoryJournal, caplog: pytest.LogCaptureFixture
):
    door = Door(login_access(open_file, tmp_path), journal)
    assert door.log_in() == 303
    os.chown(open_file, 65534, 65534)
    assert door.client.get("/runs").status_code == 503
    assert "belongs to another user" in caplog.text
    with pytest.raises(UsersFileError, match="belongs to another user"):
        UsersFile(open_file).check()


def test_a_folder_that_is_opened_later_opens_what_it_kept_closed(open_file: Path):
    open_file.chmod(0o644)
    open_file.parent.chmod(0o700)
    users = UsersFile(open_file)
    assert users.find("maria") is not None
    open_file.parent.chmod(0o711)
    with pytest.raises(UsersFileError, match="can be read by others"):
        users.find("maria")


def test_a_containers_file_that_is_mounted_read_only_is_used_with_one_warning(
    open_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    open_file.chmod(0o444)
    status = os.statvfs(open_file)
    read_only = os.statvfs_result((*status[:8], status.f_flag | os.ST_RDONLY, status.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _: read_only)
    users = UsersFile(open_file)
    assert users.find("maria") is not None
    assert users.find("maria") is not None
    assert caplog.text.count("can be read by every user") == 1
