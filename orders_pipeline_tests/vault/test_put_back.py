"""An older sealed record that is put back in its place is found out; records from before that was so still open."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.alerts.rows import open_alerts
from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database import migrate
from orders_pipeline.database.engine import Database
from orders_pipeline.model.personal import PersonalText
from orders_pipeline.model.shipping_details import Address, ShippingDetails
from orders_pipeline.privacy.checks.checks import every_record_opens
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.alerts import REFUSED
from orders_pipeline.vault.envelope import record_context, seal
from orders_pipeline.vault.errors import VaultIntegrityError
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import finish_rotation
from orders_pipeline.vault.shipping_details import shipping_details_to_bytes
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.vault.conftest import CANARY, KIND, Put

TABLES = ("vault.records", "vault_keys.data_keys")


def run(database: Database, *statements: str, **values: Any) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), values)


def back_up(database: Database) -> None:
    run(database, *(f"create table {table}_old as table {table}" for table in TABLES))


def put_back(database: Database) -> None:
    """What somebody with all rights on the vault does: the old rows, whole, where the new ones are."""
    run(database, *(f"delete from {table}" for table in TABLES))
    run(database, *(f"insert into {table} select * from {table}_old" for table in TABLES))


def reveal(vault: Vault, order_id: str = "111-1") -> bytes:
    return vault.reveal(account_id=SELLER, kind=KIND, subject_id=order_id, purpose="test")


def test_an_older_record_that_is_put_back_is_refused_and_red(database: Database, vault: Vault, put: Put):
    put("111-1", "111-2")
    back_up(database)
    put("111-1", suffix=b", moved to 9 Nightingale Row")
    assert every_record_opens(vault).passed
    put_back(database)
    with pytest.raises(VaultIntegrityError, match="not the newest"):
        reveal(vault)
    assert reveal(vault, "111-2") == CANARY + b"111-2"
    outcome = every_record_opens(vault)
    assert (outcome.passed, outcome.severity, outcome.numbers["refused"]) == (False, "ERROR", 1)
    evaluate(database, NOBODY, [REFUSED])
    with database.transaction(NOBODY) as tx:
        assert [alert.key for alert in open_alerts(tx)] == [f"vault.refused:{KIND}:111-1"]
    # Nor does it help to give it the newest number: the number is authenticated with the content.
    run(database, "update vault.records r set seal_number = s.seal_number from pipeline.seals s "
        "where (s.account_id, s.kind, s.subject_id) = (r.account_id, r.kind, r.subject_id)")  # fmt: skip
    with pytest.raises(VaultIntegrityError):
        reveal(vault)


def test_a_shredded_record_that_is_put_back_is_refused(database: Database, vault: Vault, put: Put):
    put("111-1")
    back_up(database)
    with database.transaction(SELLER) as tx:
        assert vault.shred(tx, kind=KIND, subject_id="111-1", reason="test")
    put_back(database)
    with pytest.raises(VaultIntegrityError, match="not the newest"):
        reveal(vault)
    put("111-1")
    assert reveal(vault) == CANARY + b"111-1"
    put_back(database)
    with pytest.raises(VaultIntegrityError, match="not the newest"):
        reveal(vault)


def as_before(database: Database, keyring: LocalKeyring, order_id: str, content: bytes | None = None) -> None:
    """A record as the release before migration 0008 sealed it, and as the migration leaves it."""
    context = record_context(account_id=SELLER, kind=KIND, subject_id=order_id)
    sealed = seal(keyring, content or CANARY + order_id.encode(), context)
    assert sealed.version == 1
    run(
        database,
        "update vault.records set aad_version = 1, nonce = :nonce, ciphertext = :ciphertext, stored_at = "
        "clock_timestamp() - interval '3 days' where subject_id = :order_id",
        "update vault_keys.data_keys k set key_id = :key_id, wrapped_key = :wrapped_key from vault.records r "
        "where r.key_reference = k.key_reference and r.subject_id = :order_id",
        "update pipeline.seals set aad_version = 1 where subject_id = :order_id",
        order_id=order_id, nonce=sealed.nonce, ciphertext=sealed.ciphertext, key_id=sealed.key_id,
        wrapped_key=sealed.wrapped_key,
    )  # fmt: skip


def test_records_from_before_open_and_the_next_rotation_seals_them_anew(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put
):
    put("111-1", "111-2")
    as_before(database, keyring, "111-1")
    assert reveal(vault) == CANARY + b"111-1"
    assert every_record_opens(vault).numbers["older_format"] == 1
    back_up(database)
    # Not rotate_keys, which ends with this: it would destroy the key of the old form as well.
    finish_rotation(database, keyring, audit, purpose="test")
    outcome = every_record_opens(vault)
    assert (outcome.passed, outcome.numbers["older_format"]) == (True, 0)
    assert reveal(vault) == CANARY + b"111-1"
    with database.begin() as connection:
        # It is the same content: when it was stored has not changed.
        assert connection.execute(text(
            "select stored_at < clock_timestamp() - interval '2 days' from vault.records where subject_id = '111-1'"
        )).scalar_one()  # fmt: skip
        actions = "select count(*) from audit.entries where action = 'reseal'"
        assert connection.execute(text(actions)).scalar_one() == 1
    # The old form of it is refused from then on, whatever number it is given.
    put_back(database)
    run(database, "update vault.records r set seal_number = s.seal_number from pipeline.seals s "
        "where (s.account_id, s.kind, s.subject_id) = (r.account_id, r.kind, r.subject_id)")  # fmt: skip
    with pytest.raises(VaultIntegrityError, match="not the newest"):
        reveal(vault)


def test_details_from_before_their_words_were_hashed_get_their_hashes_with_the_new_seal(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put
):
    put("111-1")
    details = ShippingDetails(Address(name=PersonalText("Canary Quillfeather")))
    as_before(database, keyring, "111-1", shipping_details_to_bytes(details))
    said = "left with Canary Quillfeather"

    def masked() -> str:
        return vault.buyer_mask(account_id=SELLER, kind=KIND, subject_ids=["111-1"]).text("111-1", said) or ""

    assert masked() == said
    finish_rotation(database, keyring, audit, purpose="test")
    assert "Quillfeather" not in masked()


def test_records_of_the_release_before_open_after_the_migration(
    database: Database, vault: Vault, keyring: LocalKeyring, put: Put
):
    put("111-1", "111-2")
    for order_id in ("111-1", "111-2"):
        as_before(database, keyring, order_id)
    with database.begin() as connection:
        configuration = migrate._configuration()  # pyright: ignore[reportPrivateUsage]
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "0005")
    migrate.upgrade(database)
    assert reveal(vault) == CANARY + b"111-1"
    outcome = every_record_opens(vault)
    assert (outcome.passed, outcome.numbers["older_format"]) == (True, 2)
    with database.begin() as connection:
        kept = "select bool_and(first_stored_at = stored_at) from vault.records where kind = 'shipping_details'"
        assert connection.execute(text(kept)).scalar_one()


def test_what_does_not_open_is_not_sealed_anew_and_stops_no_rotation(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog, put: Put
):
    put("111-1", "111-2", "111-3")
    for order_id in ("111-1", "111-2"):
        as_before(database, keyring, order_id)
    run(database, "update vault.records set ciphertext = decode('00', 'hex') where subject_id = '111-1'")
    finish_rotation(database, keyring, audit, purpose="test")
    assert reveal(vault, "111-2") == CANARY + b"111-2"
    outcome = every_record_opens(vault)
    assert (outcome.numbers["refused"], outcome.numbers["older_format"]) == (1, 1)
