"""A secret that others can read is not used; the message says what to run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orders_pipeline.secret_files import exposure
from orders_pipeline.settings import SettingsError, load_settings


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file whose folders everybody may enter; pytest's own are closed to others."""
    opened = [folder for folder in tmp_path.parents if not folder.stat().st_mode & 0o011]
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    file = folder / "secret"
    file.write_text("the-secret\n")
    modes = {folder: folder.stat().st_mode for folder in [tmp_path, *opened]}
    for folder in modes:
        folder.chmod(0o711)
    yield file
    for folder, mode in modes.items():
        folder.chmod(mode)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o600, None),
        (0o400, None),
        (0o640, "can be read by others"),
        (0o604, "can be read by others"),
        (0o644, "can be read by others"),
        (0o620, "can be changed by others"),
        (0o602, "can be changed by others"),
    ],
)
def test_a_secret_that_others_can_read_or_change_is_refused_with_what_to_run(secret: Path, mode: int, said: str | None):
    secret.chmod(mode)
    found = exposure("WMS_TOKEN_FILE", secret)
    assert (found is None) is (said is None)
    if found is not None:
        assert found.refused
        assert said
        assert said in found.sentence
        assert f"chmod 600 {secret.resolve()}" in found.sentence
    for setting in ("WMS_TOKEN_FILE", "ORDERS_WEB_USERS_FILE"):
        settings = load_settings({setting: str(secret)})
        assert (settings.refusals == ()) is (said is None)
        if said:
            with pytest.raises(SettingsError, match=setting):
                settings.require_usable()


def test_a_folder_that_nobody_else_may_enter_keeps_what_is_in_it_closed(secret: Path):
    secret.chmod(0o644)
    secret.parent.chmod(0o700)
    assert exposure("WMS_TOKEN_FILE", secret) is None


def test_a_link_is_judged_by_the_file_that_it_leads_to(secret: Path):
    secret.chmod(0o644)
    link = secret.with_name("link")
    link.symlink_to(secret)
    found = exposure("WMS_TOKEN_FILE", link)
    assert found is not None
    assert str(secret.resolve()) in found.sentence


def test_a_containers_read_only_secret_is_used_with_a_warning(secret: Path, monkeypatch: pytest.MonkeyPatch):
    secret.chmod(0o444)
    status = os.statvfs(secret)
    read_only = os.statvfs_result((*status[:8], status.f_flag | os.ST_RDONLY, status.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _: read_only)
    settings = load_settings({"WMS_TOKEN_FILE": str(secret)})
    assert settings.refusals == ()
    assert "WMS_TOKEN_FILE" in settings.warnings[0]
    # Docker's: root's, and the process is somebody else.
    monkeypatch.setattr(os, "statvfs", lambda _: status)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    os.chown(secret, 0, 0) if os.getuid() == 0 else pytest.skip("only root can give a file to root")
    found = exposure("WMS_TOKEN_FILE", secret)
    assert found is not None
    assert not found.refused


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_secret_that_belongs_to_another_user_is_refused(secret: Path):
    secret.chmod(0o600)
    os.chown(secret, 65534, 65534)
    found = exposure("WMS_TOKEN_FILE", secret)
    assert found is not None
    assert found.refused
    assert "belongs to another user" in found.sentence


def test_an_env_file_that_others_can_read_is_warned_of(secret: Path, monkeypatch: pytest.MonkeyPatch):
    folder = secret.parent
    (folder / "workspace.yaml").touch()
    (folder / ".env").write_text("WMS_TOKEN=x\n")
    (folder / ".env").chmod(0o644)
    monkeypatch.chdir(folder)
    settings = load_settings()
    assert settings.refusals == ()
    assert f"chmod 600 {folder.resolve() / '.env'}" in settings.warnings[0]
    (folder / ".env").chmod(0o600)
    assert load_settings().warnings == ()
