"""The keyring file: made once, seen by nobody else, never half-written."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orders_pipeline.settings import load_settings
from orders_pipeline.vault.errors import KeyInUse, KeyProviderUnavailable, KeyringUnsafe, VaultKeyMissing
from orders_pipeline.vault.providers.choice import open_key_provider
from orders_pipeline.vault.providers.keyring import LocalKeyring

CONTEXT = {"seller_id": "A1"}
DATA_KEY = bytes(range(32))


def test_the_default_keyring_is_in_the_data_folder_and_says_that_it_is_local(tmp_path: Path) -> None:
    keys = open_key_provider(load_settings({"ORDERS_DATA_DIR": str(tmp_path / "data")}))
    assert keys.is_local
    keys.current_key_id()
    path = tmp_path / "data" / "keyring.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_settings_choose_another_keyring_file(tmp_path: Path) -> None:
    keys = open_key_provider(load_settings({"ORDERS_KEYRING_FILE": str(tmp_path / "elsewhere")}))
    keys.current_key_id()
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_keyring_that_others_can_read_is_refused_with_the_command_that_mends_it(
    keyring: LocalKeyring, mode: int
) -> None:
    keyring.current_key_id()
    keyring.path.chmod(mode)
    with pytest.raises(KeyringUnsafe, match=f"chmod 600 {keyring.path}"):
        LocalKeyring(keyring.path).wrap(DATA_KEY, CONTEXT)


def test_processes_that_make_it_at_the_same_moment_end_with_one_keyring(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(6), context.Queue()
    path = tmp_path / "deep" / "keyring.json"
    processes = [context.Process(target=_make_keyring, args=(path, barrier, answers)) for _ in range(6)]
    for process in processes:
        process.start()
    wrapped = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=30)
    keys = LocalKeyring(path)
    assert [keys.unwrap(each, CONTEXT) for each in wrapped] == [DATA_KEY] * 6
    assert len(keys.key_ids()) == 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["keyring.json", "keyring.json.lock"]


def _make_keyring(path: Path, barrier, answers) -> None:  # type: ignore[no-untyped-def]
    barrier.wait(timeout=60)
    answers.put(LocalKeyring(path).wrap(DATA_KEY, CONTEXT))


def test_a_rotation_by_another_process_is_noticed(keyring: LocalKeyring) -> None:
    before = keyring.wrap(DATA_KEY, CONTEXT)
    other = LocalKeyring(keyring.path)
    added = other.add_key()
    assert keyring.current_key_id() == added
    assert keyring.key_ids() == (added, before.key_id)
    assert keyring.unwrap(before, CONTEXT) == DATA_KEY
    other.destroy_key(before.key_id)
    with pytest.raises(VaultKeyMissing, match="was destroyed at 20"):
        keyring.unwrap(before, CONTEXT)


def test_a_destroyed_key_leaves_no_trace_of_itself_in_the_file(keyring: LocalKeyring) -> None:
    keyring.current_key_id()
    (old,) = json.loads(keyring.path.read_text())["keys"]
    keyring.add_key()
    keyring.destroy_key(old["key_id"])
    keyring.destroy_key(old["key_id"])  # again, as after a crash
    assert old["key"] not in keyring.path.read_text()
    assert old["key_id"] in json.loads(keyring.path.read_text())["destroyed"]


def test_the_current_key_is_never_destroyed(keyring: LocalKeyring) -> None:
    with pytest.raises(KeyInUse, match="rotate first"):
        keyring.destroy_key(keyring.current_key_id())


def test_a_write_that_fails_leaves_the_keyring_as_it_was(
    keyring: LocalKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = keyring.wrap(DATA_KEY, CONTEXT)

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(KeyProviderUnavailable, match="No space left on device"):
        keyring.add_key()
    assert LocalKeyring(keyring.path).unwrap(wrapped, CONTEXT) == DATA_KEY
    assert sorted(entry.name for entry in keyring.path.parent.iterdir()) == ["keyring.json", "keyring.json.lock"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda content: content.replace('"current": true', '"current": false'),
        lambda content: content.replace('"version": 1', '"version": 9'),
        lambda content: "[]",
    ],
)
def test_a_damaged_keyring_is_named_and_not_shown(keyring: LocalKeyring, damage) -> None:  # type: ignore[no-untyped-def]
    keyring.current_key_id()
    content = keyring.path.read_text()
    secret = json.loads(content)["keys"][0]["key"]
    keyring.path.write_text(damage(content))
    with pytest.raises(KeyProviderUnavailable, match="is damaged: restore it") as caught:
        LocalKeyring(keyring.path).current_key_id()
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_key_is_in_the_representation_of_anything(keyring: LocalKeyring) -> None:
    wrapped = keyring.wrap(DATA_KEY, CONTEXT)
    secret = base64.b64decode(json.loads(keyring.path.read_text())["keys"][0]["key"])
    shown = repr(vars(keyring)) + repr(wrapped)
    assert repr(secret) not in shown
    assert repr(wrapped.blob) not in shown


def test_a_process_killed_while_writing_leaves_no_old_key_behind(keyring: LocalKeyring, tmp_path: Path) -> None:
    keyring.current_key_id()
    program = (
        "import os; from pathlib import Path; from orders_pipeline.vault.providers.keyring import LocalKeyring; "
        f"Path.replace = lambda self, target: os._exit(9); LocalKeyring(Path({str(keyring.path)!r})).add_key()"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    (tmp_path / ".keyring.json.0a1b2c3d").write_text("of an older release")
    strays = set(tmp_path.glob(".keyring.json.*"))
    assert len(strays) == 2
    keyring.add_key()
    assert not any(stray.exists() for stray in strays)


def test_a_mode_that_is_loosened_while_the_process_runs_is_noticed(keyring: LocalKeyring) -> None:
    keyring.current_key_id()
    keyring.path.chmod(0o644)
    with pytest.raises(KeyringUnsafe):
        keyring.current_key_id()


def test_no_keyring_is_made_where_one_must_be_lost(tmp_path: Path) -> None:
    keyring = LocalKeyring(tmp_path / "keyring.json", may_be_made=lambda: False)
    for use in (keyring.current_key_id, keyring.add_key, keyring.key_ids):
        with pytest.raises(KeyProviderUnavailable, match="replace-lost"):
            use()
    assert not keyring.path.exists()
    key_id = keyring.replace_lost(["local-lost"])
    assert keyring.current_key_id() == key_id
    assert keyring.is_destroyed("local-lost")
    assert not keyring.is_destroyed("local-other")
    with pytest.raises(KeyInUse):
        keyring.replace_lost([])
    assert keyring.key_ids() == (key_id,)
