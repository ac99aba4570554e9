"""The compliance checks over a million orders: how much memory, how long.

The memory is compared with the same process over a hundredth of the orders: it must not grow with their number.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Connection, text

from bench.table import Row, notify, row
from bench.vault import PLAINTEXT
from bench.workload import Workload
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline.privacy.checks.checks import every_reading_is_audited, every_record_opens, nothing_past_its_time
from orders_pipeline.privacy.checks.leak_scan import scan_for_leaks
from orders_pipeline.privacy.checks.stored_values import StoredValues
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.envelope import record_context, seal
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.work.progress import Progress

TITLE = "Compliance"
SELLER = "A3TH9S8BH6GOGM"
KIND = "shipping_details"
FILL_BATCH = 20_000
CHECKS = ("nothing_past_its_time", "every_record_opens", "every_reading_is_audited", "scan_for_leaks")


def run(workload: Workload) -> list[Row]:
    """Memory and time of each check; filling the store takes a few minutes, the checks about as long."""
    orders, few_orders = workload.checked_orders, workload.checked_orders // 100
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as folder:
        server = start_embedded(Path(folder))
        try:
            keyring = Path(folder) / "keyring.json"
            urls: dict[str, str] = {}
            for name, number in (("few", few_orders), ("many", orders)):
                urls[name] = server.url(name)
                ensure_database_exists(urls[name])
                database = Database(urls[name])
                upgrade(database)
                _fill(database, LocalKeyring(keyring), number)
                database.close()
            measured: list[Row] = []
            for check in CHECKS:
                few, many = (_in_a_process_of_its_own(check, urls[name], keyring) for name in ("few", "many"))
                label = check.replace("_", " ")
                notify(f"{label}: looked at {orders:,} orders in {many[1] / 1e6:.0f} s")
                measured += [
                    row(f"{label}: peak MB over {orders:,} orders, against 1/100", many[0], few[0], "<= 1.5"),
                    row(f"{label}: µs an order, against 1/100", many[1] / orders, few[1] / few_orders, "<= 2"),
                ]
            return measured
        finally:
            server.stop()


def _in_a_process_of_its_own(check: str, url: str, keyring: Path) -> tuple[float, float]:
    """(peak MB, microseconds) of one check."""
    command = [sys.executable, "-m", "bench.compliance", check, url, str(keyring)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    megabytes, microseconds = json.loads(told.stdout)
    return megabytes, microseconds


def _measure(check: str, url: str, keyring: str) -> None:
    database = Database(url)
    vault = Vault(database, LocalKeyring(Path(keyring)), AuditLog(database))
    started = time.perf_counter()
    if check == "nothing_past_its_time":
        outcome = nothing_past_its_time(database, account_id=SELLER)
        assert outcome.numbers["retained_in_vault"], outcome
    elif check == "every_record_opens":
        assert every_record_opens(vault).passed
    elif check == "every_reading_is_audited":
        assert every_reading_is_audited(database, account_id=SELLER).passed
    else:
        held = StoredValues(vault)
        held.add("Canary Quillfeather")
        assert not scan_for_leaks(database, held, budget_seconds=3600).places
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps([peak_megabytes(), seconds * 1_000_000]))


def peak_megabytes() -> float:
    """The most that this process has had in memory."""
    # Not getrusage: its ru_maxrss is handed down from the parent, whose memory is not what is measured.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _fill(database: Database, keys: LocalKeyring, orders: int) -> None:
    """Orders on their way to be shipped, each with its details and the entry of the call that read them."""
    progress = Progress("orders made", orders, notify)
    for start in range(0, orders, FILL_BATCH):
        order_ids = [f"902-{number:07d}-0000000" for number in range(start, min(start + FILL_BATCH, orders))]
        with database.begin() as connection:
            connection.execute(text("set local statement_timeout = 0"))
            _fill_batch(connection, keys, order_ids)
        progress.advance(len(order_ids))
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("vacuum analyze"))


def _fill_batch(connection: Connection, keys: LocalKeyring, order_ids: list[str]) -> None:
    values = {"seller": SELLER, "kind": KIND, "ids": order_ids}
    connection.execute(
        text(
            "insert into pipeline.orders (account_id, order_id, marketplace_id, status, fulfilled_by, purchased_at, "
            "deliver_by) select :seller, id, 'ATVPDKIKX0DER', 'UNSHIPPED', 'MERCHANT', clock_timestamp(), "
            "clock_timestamp() + interval '5 days' from unnest(cast(:ids as text[])) id"
        ),
        values,
    )
    # The chain is what another row of this table measures: here its entries only have to be there.
    connection.execute(text("alter table audit.entries disable trigger chain"))
    connection.execute(
        text(
            "insert into audit.entries (entry_id, at, actor, action, seller_id, order_id, purpose, outcome, "
            "previous_hash, entry_hash) select coalesce((select max(entry_id) from audit.entries), 0) + n, "
            "clock_timestamp(), 'job:bench', 'amazon_restricted_call', :seller, id, 'ship the order', 'requested', "
            "'', '' from unnest(cast(:ids as text[])) with ordinality as given(id, n)"
        ),
        values,
    )
    connection.execute(text("alter table audit.entries enable trigger chain"))
    sealed = [
        seal(keys, PLAINTEXT, record_context(account_id=SELLER, kind=KIND, subject_id=order_id))
        for order_id in order_ids
    ]
    connection.execute(
        text(
            "with given as (select gen_random_uuid() as reference, g.* from unnest(cast(:ids as text[]), "
            "cast(:nonces as bytea[]), cast(:ciphertexts as bytea[]), cast(:key_ids as text[]), "
            "cast(:blobs as bytea[])) as g(subject, nonce, ciphertext, key_id, blob)), "
            "keys as (insert into vault_keys.data_keys (key_reference, account_id, key_id, wrapped_key) "
            "select reference, :seller, key_id, blob from given) "
            "insert into vault.records (account_id, kind, subject_id, key_reference, aad_version, nonce, ciphertext) "
            "select :seller, :kind, subject, reference, 1, nonce, ciphertext from given"
        ),
        {
            **values,
            "nonces": [record.nonce for record in sealed],
            "ciphertexts": [record.ciphertext for record in sealed],
            "key_ids": [record.key_id for record in sealed],
            "blobs": [record.wrapped_key for record in sealed],
        },
    )
    # The newest seal of each, as a migration leaves records of format 1.
    connection.execute(
        text(
            "with s as (insert into pipeline.seals (account_id, kind, subject_id, aad_version) "
            "select :seller, :kind, subject, 1 from unnest(cast(:ids as text[])) as g(subject) "
            "returning subject_id, seal_number) update vault.records r set seal_number = s.seal_number from s "
            "where r.account_id = :seller and r.kind = :kind and r.subject_id = s.subject_id"
        ),
        values,
    )


if __name__ == "__main__":
    _measure(*sys.argv[1:])
