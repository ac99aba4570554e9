"""PostgreSQL's disk, or ours, is full: work stops with a sentence, and goes on by itself once there is room."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg2.errors import DiskFull
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.embedded_process import server_user
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.audit_export.export import export_day
from orders_pipeline.privacy.audit_export.targets import ExportUnavailable, FolderTarget
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyProviderUnavailable
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import rotate_keys
from orders_pipeline_tests.audit.tampering import write_days_ago
from orders_pipeline_tests.world import World, open_world

DISK_MEGABYTES = 48
NAME = "small_disk"


class SmallDisk:
    """A file system of its own, which can be filled and emptied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 12))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    folder.chmod(0o711)
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        shutil.rmtree(folder)
        pytest.skip("a small file system can only be mounted by root, and not in every container")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def world(disk: SmallDisk, postgres: EmbeddedPostgres, postgres_admin: Engine, tmp_path: Path) -> Iterator[World]:
    """A world whose database lies on the small disk; the server's log does not, as where it is full it stops itself."""
    space = disk.folder / "tablespace"
    space.mkdir(mode=0o700)
    if (user := server_user()) is not None:
        os.chown(space, user.pw_uid, user.pw_gid)
    with postgres_admin.connect() as admin:
        admin.execute(text(f"create tablespace {NAME} location '{space}'"))
        admin.execute(text(f"create database {NAME} template template tablespace {NAME} strategy file_copy"))
    database = Database(postgres.url(NAME))
    try:
        yield open_world(database, tmp_path)
    finally:
        database.close()
        with postgres_admin.connect() as admin:
            admin.execute(text(f"drop database {NAME} with (force)"))
            admin.execute(text(f"drop tablespace {NAME}"))


def _stopped_by(stages: Sequence[Callable[[], object]]) -> list[str]:
    """Each once, as runs would do it; what stopped them."""
    stopped: list[str] = []
    for stage in stages:
        try:
            stage()
        except OperationalError as error:
            assert isinstance(error.orig, DiskFull)
            stopped.append(str(error.orig).splitlines()[0])
    return stopped


def test_a_full_disk_of_postgresql_stops_the_work_with_its_sentence_and_nothing_is_lost_or_done_twice(
    world: World, disk: SmallDisk
):
    orders = [world.order(quantities=(1, 1)) for _ in range(20)]
    for stage in (world.drain, world.absorb, world.fetch, world.decide):
        stage()
    # It is full while those are being pushed: the warehouse has them, and its answers need room. These come then.
    world.wms.meanwhile = lambda call, _: disk.fill() if call == "push" else None
    orders += [world.order(quantities=(1, 1)) for _ in range(40)]
    stopped = _stopped_by([world.push, world.drain, world.absorb, world.fetch, world.decide, world.push])
    assert any("could not extend file" in sentence and "No space left on device" in sentence for sentence in stopped)
    done = len(world.warehouse.orders)
    world.wms.meanwhile = None
    disk.make_room()
    world.queue.reappear()
    world.run_until_idle()
    assert {world.state(order) for order in orders} == {"accepted"}
    assert Counter(one.outcome for one in world.warehouse.ledger if one.call == "put_order") == {"created": len(orders)}
    assert not world.queue.waiting
    assert world.vault.audit.verify().ok
    print(f"{done} of {len(orders)} orders were at the warehouse before there was room; stopped {len(stopped)} times")


def test_a_full_data_folder_changes_no_keyring_and_leaves_no_half_copy_of_the_audit_log(
    database: Database, disk: SmallDisk
):
    audit, keyring = AuditLog(database), LocalKeyring(disk.folder / "keyring.json")
    vault, target = Vault(database, keyring, audit), FolderTarget(disk.folder / "copies")
    before = vault.fingerprint(b"content")
    write_days_ago(database, audit, 1, *(f"111-{number}" for number in range(200)))
    yesterday = (database.now() - timedelta(days=1)).date()
    disk.fill()
    with pytest.raises(KeyProviderUnavailable, match=r"No space left on device.*nothing was changed"):
        rotate_keys(database, keyring, audit, purpose="test")
    with pytest.raises(ExportUnavailable, match="No space left on device"):
        export_day(database, audit, target, yesterday)
    assert Vault(database, LocalKeyring(keyring.path), audit).fingerprint(b"content") == before
    assert target.names() == set()
    disk.make_room()
    assert rotate_keys(database, keyring, audit, purpose="test").complete
    assert export_day(database, audit, target, yesterday).entries
    assert Vault(database, LocalKeyring(keyring.path), audit).fingerprint(b"content") == before
