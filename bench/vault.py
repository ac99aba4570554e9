"""What the vault costs: against bare AES-GCM, and against a bare DELETE."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, text

from bench.table import Row, row
from bench.workload import Workload
from orders_pipeline.audit.log import AuditEntry, AuditLog
from orders_pipeline.audit.rows import links
from orders_pipeline.database.embedded import start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline.vault.access import SHRED_BATCH, Vault
from orders_pipeline.vault.envelope import open_sealed, record_context, seal
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import complete_shreds

TITLE = "The vault"
SELLER = "A3TH9S8BH6GOGM"
KIND = "shipping_details"
# Shipping details as they are sealed: some 400 bytes.
PLAINTEXT = os.urandom(400)


def run(workload: Workload) -> list[Row]:
    """All figures of the vault; takes about half a minute."""
    orders = workload.shredded_orders
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as folder:
        server = start_embedded(Path(folder))
        try:
            url = server.url("bench")
            ensure_database_exists(url)
            database = Database(url)
            upgrade(database)
            keys = LocalKeyring(Path(folder) / "keyring.json")
            measured = [
                *_cryptography(keys, workload.records),
                *_shredding(database, keys, orders),
                _verifying(database, orders),
            ]
            database.close()
            return measured
        finally:
            server.stop()


def _cryptography(keys: LocalKeyring, records: int) -> list[Row]:
    context = record_context(account_id=SELLER, kind=KIND, subject_id="902-3159896-1390916")
    authenticated = b"902-3159896-1390916"
    key, nonce = AESGCM.generate_key(256), os.urandom(12)
    sealed, encrypted = seal(keys, PLAINTEXT, context), AESGCM(key).encrypt(nonce, PLAINTEXT, authenticated)
    encrypt = _seconds(lambda: seal(keys, PLAINTEXT, context), records)
    # A key for each record in the reference too: that much is the promise, whoever keeps it.
    encrypt_bare = _seconds(
        lambda: AESGCM(AESGCM.generate_key(256)).encrypt(os.urandom(12), PLAINTEXT, authenticated), records
    )
    decrypt = _seconds(lambda: open_sealed(keys, sealed, context), records)
    decrypt_bare = _seconds(lambda: AESGCM(key).decrypt(nonce, encrypted, authenticated), records)
    # Ours seals twice (the record, and its key), looks whether the keyring was rotated, and spells out both contexts.
    return [
        row(
            "vault: records sealed a second, against bare AESGCM, a key each",
            1 / encrypt,
            1 / encrypt_bare,
            ">= 0.12",
        ),
        row(
            "vault: records opened a second, against bare AESGCM, a key each",
            1 / decrypt,
            1 / decrypt_bare,
            ">= 0.08",
        ),
    ]


def _shredding(database: Database, keys: LocalKeyring, orders: int) -> list[Row]:
    vault = Vault(database, keys, AuditLog(database))
    order_ids = [f"902-{number:07d}-0000000" for number in range(orders)]

    def delete_all() -> None:
        for start in range(0, orders, SHRED_BATCH):
            with database.begin() as connection:
                connection.execute(
                    text(
                        "with gone as (delete from vault.records where subject_id = any(:ids) and account_id = :seller "
                        "and kind = :kind returning key_reference) delete from vault_keys.data_keys k using gone "
                        "where k.key_reference = gone.key_reference"
                    ),
                    {"ids": order_ids[start : start + SHRED_BATCH], "seller": SELLER, "kind": KIND},
                )

    def update_all() -> None:
        with database.begin() as connection:
            connection.execute(text("update vault_keys.data_keys set wrapped_key = wrapped_key || ''::bytea"))

    def shred(chosen: list[str]) -> None:
        for start in range(0, len(chosen), SHRED_BATCH):
            with database.transaction(SELLER) as tx:
                batch = chosen[start : start + SHRED_BATCH]
                vault.shred_many(tx, kind=KIND, subject_ids=batch, reason="delivered")

    with database.begin() as connection:
        _fill(connection, keys, order_ids)
    bare = _once(delete_all)
    with database.begin() as connection:
        _fill(connection, keys, order_ids)
    half = orders // 2
    shredded = _once(lambda: shred(order_ids[:half]))
    settled = _once(lambda: complete_shreds(database, keys, AuditLog(database)))
    updated = _once(update_all)
    shredded += _once(lambda: shred(order_ids[half:]))
    return [
        row(f"vault: seconds to shred {orders:,} orders, audited each, against a bare DELETE", shredded, bare, "<= 8"),
        row(
            f"vault: seconds to settle beside {half:,} living records, against a bare UPDATE", settled, updated, "<= 15"
        ),
    ]


def _verifying(database: Database, orders: int) -> Row:
    audit = AuditLog(database)
    entry = AuditEntry(action="push", account_id=SELLER, purpose="push to the warehouse", outcome="accepted")
    with database.begin() as connection:
        audit.record_for_each(connection, entry, [f"902-{number:07d}-0000000" for number in range(orders)])
    entries = 0

    def verify() -> None:
        nonlocal entries
        verification = audit.verify()
        assert verification.ok
        entries = verification.entries

    def read() -> None:
        with database.begin() as connection:
            for _ in links(connection):
                pass

    seconds, read_only = _once(verify), _once(read)
    return row(
        "audit: entries verified a second, against only reading them", entries / seconds, entries / read_only, ">= 0.4"
    )


def _fill(connection: Connection, keys: LocalKeyring, order_ids: list[str]) -> None:
    """Sealed records, as `Vault.store` leaves them, but in one statement: the filling is not what is measured."""
    sealed = [
        seal(keys, PLAINTEXT, record_context(account_id=SELLER, kind=KIND, subject_id=order_id))
        for order_id in order_ids
    ]
    connection.execute(
        text(
            "with given as (select gen_random_uuid() as reference, g.* from unnest(cast(:subjects as text[]), "
            "cast(:nonces as bytea[]), cast(:ciphertexts as bytea[]), cast(:key_ids as text[]), "
            "cast(:blobs as bytea[])) as g(subject, nonce, ciphertext, key_id, blob)), "
            "keys as (insert into vault_keys.data_keys (key_reference, account_id, key_id, wrapped_key) "
            "select reference, :seller, key_id, blob from given) "
            "insert into vault.records (account_id, kind, subject_id, key_reference, aad_version, nonce, ciphertext) "
            "select :seller, :kind, subject, reference, 1, nonce, ciphertext from given"
        ),
        {
            "seller": SELLER,
            "kind": KIND,
            "subjects": order_ids,
            "nonces": [record.nonce for record in sealed],
            "ciphertexts": [record.ciphertext for record in sealed],
            "key_ids": [record.key_id for record in sealed],
            "blobs": [record.wrapped_key for record in sealed],
        },
    )


def _seconds(work: Callable[[], object], times: int) -> float:
    """Of one call: the best of three rounds, which is the one that was disturbed least."""
    rounds: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append((time.perf_counter() - started) / times)
    return min(rounds)


def _once(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
