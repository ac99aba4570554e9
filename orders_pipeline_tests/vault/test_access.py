"""Plaintext leaves by one door, and the audit log knows of it first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.alerts.kinds import NOBODY
from orders_pipeline.alerts.reconcile import evaluate
from orders_pipeline.audit.log import AuditLog, acting_as
from orders_pipeline.database.engine import Database
from orders_pipeline.vault import access
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.alerts import REFUSED
from orders_pipeline.vault.errors import VaultIntegrityError, VaultKeyMissing, VaultRecordMissing
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline.vault.rotation import pending_shreds, rotate_keys
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.vault.conftest import CANARY, KIND, Put

Entry = tuple[str, str, str | None, str, str]


def reveal(vault: Vault, order_id: str, purpose: str = "push to the warehouse") -> bytes:
    return vault.reveal(account_id=SELLER, kind=KIND, subject_id=order_id, purpose=purpose)


def entries(database: Database) -> list[Entry]:
    with database.begin() as connection:
        rows = connection.execute(
            text("select actor, action, order_id, purpose, outcome from audit.entries order by entry_id")
        )
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def execute(database: Database, statement: str) -> int:
    with database.begin() as connection:
        return connection.execute(text(statement)).rowcount


def test_a_reveal_says_who_and_why_before_it_returns_anything(database: Database, vault: Vault, put: Put) -> None:
    put("111-1")
    with acting_as("run:4f"):
        batch = vault.reveal_many(account_id=SELLER, kind=KIND, subject_ids=["111-1"], purpose="push to the warehouse")
    # Nothing was taken out yet, and the entry is committed.
    assert entries(database) == [("run:4f", "reveal", "111-1", "push to the warehouse", "allowed")]
    assert dict(batch) == {"111-1": CANARY + b"111-1"}


def test_without_an_audit_entry_there_is_no_plaintext(database: Database, vault: Vault, put: Put) -> None:
    put("111-1")
    execute(database, "alter table audit.entries add constraint disk_full check (action <> 'reveal')")
    with pytest.raises(SQLAlchemyError) as caught:
        reveal(vault, "111-1")
    assert "Quillfeather" not in str(caught.value)


def test_asking_for_what_is_not_there_is_an_error_and_in_the_log(database: Database, vault: Vault) -> None:
    with pytest.raises(VaultRecordMissing, match="111-9"):
        reveal(vault, "111-9")
    assert [(entry[2], entry[4]) for entry in entries(database)] == [("111-9", "missing")]


def test_a_batch_gives_each_its_own_answer_in_the_order_asked_for(database: Database, vault: Vault, put: Put) -> None:
    put("111-1", "111-2", "111-3")
    execute(database, "update vault.records set nonce = repeat('x', 12)::bytea where subject_id = '111-2'")
    asked = ["111-3", "111-9", "111-2", "111-1"]
    answers = list(vault.reveal_many(account_id=SELLER, kind=KIND, subject_ids=asked, purpose="push"))
    assert [subject for subject, _ in answers] == asked
    assert [type(answer) for _, answer in answers] == [bytes, VaultRecordMissing, VaultIntegrityError, bytes]
    outcomes = {(entry[2], entry[4]) for entry in entries(database)}
    assert ("111-2", "refused_integrity") in outcomes
    assert ("111-9", "missing") in outcomes


@pytest.mark.parametrize(
    "swap",
    [
        # ciphertext and nonce of one order in the row of another
        ("update vault.records r set ciphertext = o.ciphertext, nonce = o.nonce from vault.records o "
        "where r.subject_id = '111-1' and o.subject_id = '111-2'"),
        # the whole record, and its key with it: only the order id is another
        "update vault.records set subject_id = '111-' || (3 - right(subject_id, 1)::int + 10)",
        # the same, to another seller
        "update vault.records set account_id = 'A2', subject_id = '111-11'",
        # wrapped keys exchanged
        ("update vault_keys.data_keys k set wrapped_key = o.wrapped_key from vault_keys.data_keys o "
        "where k.key_reference <> o.key_reference"),
    ],
)  # fmt: skip
def test_a_record_that_was_swapped_in_the_database_is_refused(
    database: Database, vault: Vault, put: Put, swap: str
) -> None:
    put("111-1", "111-2") if "A2" not in swap else put("111-1")
    assert execute(database, swap) > 0
    with database.begin() as connection:
        account_id, order_id = connection.execute(
            text("select account_id, subject_id from vault.records order by subject_id limit 1")
        ).one()
    with pytest.raises(VaultIntegrityError) as caught:
        vault.reveal(account_id=account_id, kind=KIND, subject_id=order_id, purpose="push")
    assert "Quillfeather" not in str(caught.value)
    assert entries(database)[-1][4] == "refused_integrity"
    evaluate(database, NOBODY, [REFUSED])
    with database.begin() as connection:
        alert = connection.execute(text("select severity, key, message from pipeline.alerts")).one()
    assert tuple(alert[:2]) == ("error", f"vault.refused:{KIND}:{order_id}")
    assert "does not authenticate" in alert[2]


def test_storing_anew_replaces_the_content_and_its_key(database: Database, vault: Vault, put: Put) -> None:
    keys = "select wrapped_key from vault_keys.data_keys"
    put("111-1")
    with database.begin() as connection:
        before = bytes(connection.execute(text(keys)).scalar_one())
    put("111-1", suffix=b" moved")
    with database.begin() as connection:
        assert bytes(connection.execute(text(keys)).scalar_one()) != before
    assert reveal(vault, "111-1") == CANARY + b"111-1 moved"


def test_a_record_is_stored_with_the_callers_transaction_or_not_at_all(database: Database, vault: Vault) -> None:
    class Crash(Exception):
        pass

    with pytest.raises(Crash), database.transaction(SELLER) as tx:
        vault.store(tx, kind=KIND, subject_id="1", plaintext=CANARY, expires_at=None)
        raise Crash
    with pytest.raises(VaultRecordMissing):
        reveal(vault, "1")


def test_the_same_order_stored_by_many_at_once_ends_as_one_record_with_one_key(
    database: Database, vault: Vault, put: Put
) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put("111-1", suffix=b" %d" % number), range(40)))
    assert reveal(vault, "111-1").startswith(CANARY)
    with database.begin() as connection:
        assert connection.execute(text("select count(*) from vault_keys.data_keys")).scalar_one() == 1


def test_shredding_deletes_ciphertext_and_key_and_accounts_for_each_order(
    database: Database, vault: Vault, put: Put
) -> None:
    put("111-1", "111-2", "111-3")
    with database.transaction(SELLER) as tx:
        gone = vault.shred_many(
            tx, kind=KIND, subject_ids=["111-3", "111-1", "111-9"], reason="30 days",
            actor="job:pii_retention")  # fmt: skip
        again = vault.shred(tx, kind=KIND, subject_id="111-1", reason="30 days")
    assert (gone, again) == (["111-1", "111-3"], False)
    assert entries(database) == [
        ("job:pii_retention", "shred", "111-1", "30 days", "done"),
        ("job:pii_retention", "shred", "111-3", "30 days", "done"),
    ]
    assert pending_shreds(database).records == 2
    assert reveal(vault, "111-2")
    with database.begin() as connection:
        left = "select (select count(*) from vault.records), (select count(*) from vault_keys.data_keys)"
        assert tuple(connection.execute(text(left)).one()) == (1, 1)


def test_a_record_of_another_seller_or_kind_is_neither_shown_nor_shredded(
    database: Database, vault: Vault, put: Put
) -> None:
    put("111-1")
    with pytest.raises(VaultRecordMissing):
        vault.reveal(account_id="A2", kind=KIND, subject_id="111-1", purpose="push")
    with database.transaction("A2") as tx:
        assert not vault.shred(tx, kind=KIND, subject_id="111-1", reason="x")
    with database.transaction(SELLER) as tx:
        assert not vault.shred(tx, kind="parked_message", subject_id="111-1", reason="x")
    assert reveal(vault, "111-1")


def test_a_pass_over_all_records_names_those_that_do_not_open_and_is_one_entry(
    database: Database, vault: Vault, put: Put
) -> None:
    put(*(f"111-{number}" for number in range(7)))
    execute(database, "update vault.records set ciphertext = ciphertext || 'x'::bytea where subject_id = '111-3'")
    execute(
        database,
        "delete from vault_keys.data_keys k using vault.records r "
        "where r.key_reference = k.key_reference and r.subject_id = '111-5'",
    )
    batches = [vault.verify_batch(None, 3)]
    while batches[-1].last is not None:
        batches.append(vault.verify_batch(batches[-1].last, 3))
    assert [batch.checked for batch in batches] == [3, 3, 1]
    refused = [record_id for batch in batches for record_id in batch.refused]
    assert refused == [(SELLER, KIND, "111-3"), (SELLER, KIND, "111-5")]
    assert [entry[1] for entry in entries(database)] == ["verify_vault"]


def test_a_fingerprint_is_the_same_in_every_process_and_after_a_rotation(
    database: Database, keyring: LocalKeyring, audit: AuditLog
) -> None:
    vaults = [Vault(database, LocalKeyring(keyring.path), audit) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(lambda each: each.fingerprint(CANARY), vaults))
    assert len(made) == 1
    assert rotate_keys(database, keyring, audit, purpose="test").complete
    assert {Vault(database, keyring, audit).fingerprint(CANARY)} == made
    assert vaults[0].fingerprint(CANARY + b"x") not in made
    assert [entry[1] for entry in entries(database)].count("make_fingerprint_key") == 1


def test_after_a_restore_without_its_keys_a_fingerprint_fails_until_it_is_replaced(
    database: Database, vault: Vault, keyring: LocalKeyring, audit: AuditLog
) -> None:
    before = vault.fingerprint(CANARY)
    keyring.path.unlink()
    restored = Vault(database, LocalKeyring(keyring.path), audit)
    with pytest.raises(VaultKeyMissing):
        restored.fingerprint(CANARY)
    restored.replace_fingerprint_key(reason="restored without its keyring")
    assert restored.fingerprint(CANARY) != before


def test_sealed_records_are_opened_behind_one_door_only() -> None:
    package = Path(access.__file__).resolve().parents[1]
    opening = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "open_sealed" in path.read_text("utf-8")
    }
    # The envelope itself, the door, and Amazon's tokens, which are no buyer's.
    tokens = {f"channels/amazon/auth/{name}.py" for name in ("tokens", "sealed")}
    assert opening == {"vault/envelope.py", "vault/access.py", *tokens}
