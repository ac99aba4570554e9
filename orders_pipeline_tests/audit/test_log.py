"""The audit log grows at its end only, and shows it when anybody did otherwise."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from orders_pipeline.audit.errors import AuditRefused
from orders_pipeline.audit.log import PURGE_STEP, AuditEntry, AuditLog, acting_as, current_actor
from orders_pipeline.audit.rows import CANONICAL, ChainEnd
from orders_pipeline.database.engine import Database
from orders_pipeline.model.personal import PersonalText
from orders_pipeline_tests.audit.tampering import ENTRY, as_superuser, execute, recompute_everything, write
from orders_pipeline_tests.conftest import SELLER


def test_an_empty_log_is_intact_and_so_is_one_with_entries(audit: AuditLog) -> None:
    assert audit.verify().ok
    assert audit.head() is None
    write(audit, "111-1", "111-2")
    number = audit.record(None, action="erase", account_id=SELLER, purpose="request", outcome="done")
    verification = audit.verify()
    assert (number, verification.ok, verification.entries, verification.head) == (3, True, 3, audit.head())


def test_eight_writers_at_once_leave_no_gap_and_one_chain(database: Database, audit: AuditLog) -> None:
    def work(worker: int) -> None:
        for number in range(25):
            if number % 5 == 0:
                # A rolled-back entry leaves nothing, not even its number.
                with pytest.raises(RuntimeError), database.begin() as connection:
                    audit.record(connection, action="push", account_id=SELLER, purpose="lost", outcome="lost")
                    raise RuntimeError
            write(audit, f"{worker}-{number}", f"{worker}-{number}b")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    verification = audit.verify()
    assert (verification.ok, verification.entries) == (True, 400)
    assert verification.head is not None
    assert verification.head.entry_id == 400


@pytest.mark.parametrize(
    "statement",
    [
        "update audit.entries set outcome = 'done'",
        "delete from audit.entries",
        "truncate audit.entries",
        "truncate audit.anchors",
        # with the switch that makes ordinary triggers stand aside
        "set local session_replication_role = replica; delete from audit.entries",
        "set local session_replication_role = replica; update audit.entries set purpose = 'x'",
        # a forged anchor would make a young head look purged
        (
            "insert into audit.anchors (entry_id, entry_hash, newest_at, purged_by) "
            "select entry_id, entry_hash, at, 'x' from audit.entries where entry_id = 1"
        ),
        (
            "insert into audit.anchors (entry_id, entry_hash, newest_at, purged_by) "
            "values (1, 'x', now() - interval '2 years', 'x')"
        ),
    ],
)
def test_the_database_refuses_every_change_but_an_append(database: Database, audit: AuditLog, statement: str) -> None:
    write(audit, "111-1", "111-2")
    with (
        pytest.raises(SQLAlchemyError, match=r"append-only|older than 12 months"),
        database.begin() as connection,
    ):
        connection.exec_driver_sql(statement)
    assert audit.verify().entries == 2


def test_what_a_writer_says_about_number_time_and_hash_counts_for_nothing(database: Database, audit: AuditLog) -> None:
    execute(
        database,
        "insert into audit.entries "
        "(entry_id, at, actor, action, seller_id, purpose, outcome, previous_hash, entry_hash) "
        "values (77, '2001-01-01', 'user:x', 'push', 'A', 'x', 'done', 'x', 'x')",
    )
    verification = audit.verify()
    assert verification.ok
    assert verification.head is not None
    assert verification.head.entry_id == 1
    assert audit.verify().entries == 1
    assert len(list(audit.export(database.now().date()))) == 1


COPY = "select 4, at, actor, action, seller_id, 'other', purpose, outcome, detail, previous_hash, entry_hash "


@pytest.mark.parametrize(
    ("tampering", "first_bad"),
    [
        ("update audit.entries set purpose = 'another reason' where entry_id = 3", 3),
        ("update audit.entries set actor = 'user:somebody' where entry_id = 3", 3),
        ("update audit.entries set order_id = null where entry_id = 3", 3),
        ("update audit.entries set detail = '{\"a\": 1}' where entry_id = 3", 3),
        ("update audit.entries set at = at + interval '1 microsecond' where entry_id = 3", 3),
        # a character moved from one field to the next: each length is part of what is hashed
        ("update audit.entries set action = action || 'A', seller_id = substr(seller_id, 2) where entry_id = 3", 3),
        ("update audit.entries set entry_hash = sha256('x') where entry_id = 3", 3),
        ("update audit.entries set previous_hash = sha256('x') where entry_id = 3", 3),
        ("delete from audit.entries where entry_id = 3", 3),
        ("delete from audit.entries where entry_id <= 3", 1),
        # two entries in each other's place
        (("update audit.entries set entry_id = 103 - entry_id where entry_id in (3, 4); "
         "update audit.entries set entry_id = entry_id - 96 where entry_id > 90"), 3),
        # one more in between
        (("update audit.entries set entry_id = entry_id + 100 where entry_id > 3; "
         "update audit.entries set entry_id = entry_id - 99 where entry_id > 100; "
         f"insert into audit.entries {COPY} from audit.entries where entry_id = 3"), 4),
        # its own hash made to fit: then the next one does not follow
        ((f"update audit.entries set purpose = 'x' where entry_id = 3; update audit.entries set entry_hash = "
         f"sha256(previous_hash || convert_to({CANONICAL}, 'UTF8')) where entry_id = 3"), 4),
        # the head cut off behind a forged anchor that does not fit
        (("insert into audit.anchors values (2, sha256('x'), now() - interval '2 years', now(), 'x'); "
         "delete from audit.entries where entry_id <= 2"), 3),
    ],
)  # fmt: skip
def test_every_tampering_with_all_rights_is_found_where_it_was_done(
    database: Database, audit: AuditLog, tampering: str, first_bad: int
) -> None:
    write(audit, *(f"111-{number}" for number in range(1, 7)))
    assert audit.verify().ok
    as_superuser(database, tampering)
    verification = audit.verify()
    assert (verification.ok, verification.first_bad) == (False, first_bad)
    assert verification.why


def test_a_cut_end_and_a_recomputed_chain_are_shown_by_a_witness_only(database: Database, audit: AuditLog) -> None:
    write(audit, *(f"111-{number}" for number in range(1, 7)))
    witness = audit.head()
    assert witness is not None
    write(audit, "111-8")
    assert audit.verify(witnesses=[witness]).ok

    as_superuser(database, "delete from audit.entries where entry_id >= 6")
    assert audit.verify().ok
    cut = audit.verify(witnesses=[witness])
    assert (cut.ok, cut.first_bad) == (False, 6)

    write(audit, "111-9", "111-10")
    assert audit.verify().ok
    assert audit.verify(witnesses=[witness]).first_bad == 6


def test_a_chain_recomputed_from_a_changed_entry_on_is_shown_by_a_witness(database: Database, audit: AuditLog) -> None:
    write(audit, "111-1", "111-2", "111-3")
    witness = audit.head()
    assert witness is not None
    as_superuser(database, "update audit.entries set order_id = null where entry_id = 1")
    recompute_everything(database)
    assert audit.verify().ok
    assert audit.verify(witnesses=[witness]).first_bad == 3


def test_an_entry_taken_out_leaves_a_gap_even_if_the_chain_is_recomputed(database: Database, audit: AuditLog) -> None:
    write(audit, "111-1", "111-2", "111-3")
    as_superuser(database, "delete from audit.entries where entry_id = 2")
    recompute_everything(database)
    assert audit.verify().first_bad == 2


def test_a_young_entry_stays_even_behind_a_forged_anchor(database: Database, audit: AuditLog) -> None:
    write(audit, "111-1", "111-2")
    as_superuser(database, "insert into audit.anchors values (1, 'x', now() - interval '2 years', now(), 'x')")
    with pytest.raises(SQLAlchemyError, match="append-only"):
        execute(database, "delete from audit.entries where entry_id = 1")


def test_a_replaced_trigger_cannot_vouch_for_itself(database: Database, audit: AuditLog) -> None:
    write(audit, "111-1")
    execute(
        database,
        "create or replace function audit.chain() returns trigger language plpgsql as $$ begin "
        "new.entry_id := 2; new.at := now(); new.previous_hash := 'x'; new.entry_hash := 'x'; return new; end $$",
    )
    write(audit, "111-2")
    assert audit.verify().first_bad == 2


def test_the_head_is_purged_after_12_months_and_the_rest_still_verifies(database: Database, audit: AuditLog) -> None:
    write(audit, *(f"111-{number}" for number in range(1, 6)))
    as_superuser(database, "update audit.entries set at = at - interval '400 days' where entry_id <= 3")
    recompute_everything(database)
    now = datetime.now(UTC)
    with pytest.raises(SQLAlchemyError, match="at least 12 months"):
        audit.purge_before(now - timedelta(days=300))
    # Not by hand either, old as they are: without an anchor the chain would have no beginning.
    with pytest.raises(SQLAlchemyError, match="append-only"):
        execute(database, "delete from audit.entries where entry_id <= 3")

    assert audit.purge_before(now - timedelta(days=366), actor="job:pii_retention") == 3
    assert audit.purge_before(now - timedelta(days=366), actor="job:pii_retention") == 0

    verification = audit.verify()
    assert (verification.ok, verification.entries) == (True, 3)  # 4, 5, and the entry about the purge
    *_, last = (json.loads(line) for line in audit.export(database.now().date()))
    assert (last["action"], last["actor"], last["detail"]) == (
        "purge_audit", "job:pii_retention", {"entries": 3, "through_entry": 3},
    )  # fmt: skip
    assert audit.verify(witnesses=[ChainEnd(2, b"purged since")]).ok
    as_superuser(database, "delete from audit.entries where entry_id = 4")
    assert audit.verify().first_bad == 4


def test_a_log_purged_to_its_last_entry_goes_on_from_there(database: Database, audit: AuditLog) -> None:
    write(audit, "111-1", "111-2")
    as_superuser(database, "update audit.entries set at = at - interval '400 days'")
    recompute_everything(database)
    assert audit.purge_before(datetime.now(UTC) - timedelta(days=366)) == 2
    write(audit, "111-3")
    verification = audit.verify()
    assert (verification.ok, verification.entries) == (True, 2)
    assert verification.head is not None
    assert verification.head.entry_id == 4


def test_a_purge_goes_in_steps_so_that_writers_do_not_wait_for_long(
    database: Database, audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders_pipeline.audit.log.PURGE_STEP", 4)
    write(audit, *(f"111-{number}" for number in range(10)))
    as_superuser(database, "update audit.entries set at = at - interval '400 days'")
    recompute_everything(database)
    assert audit.purge_before(datetime.now(UTC) - timedelta(days=366)) == 10
    with database.begin() as connection:
        assert connection.execute(text("select count(*) from audit.anchors")).scalar_one() == 3
    assert audit.verify().ok
    assert PURGE_STEP > 4


@given(
    purpose=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=60),
    seller=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
    order=st.none() | st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True),
    detail=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True),
        st.none()
        | st.booleans()
        | st.integers(-(2**62), 2**62)
        | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
        max_size=4,
    ),
)
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_verifies(
    audit: AuditLog, purpose: str, seller: str, order: str | None, detail: dict[str, int | str | bool | None]
) -> None:
    if not purpose.strip():
        return
    entry = AuditEntry(action="push", account_id=seller, purpose=purpose, outcome="done", order_id=order, detail=detail)
    audit.record_many(None, [entry, entry])
    audit.record(None, action="push", account_id=seller, purpose=purpose, outcome="done", order_id=order, detail=detail)
    verification = audit.verify()
    assert verification.ok, verification


@pytest.mark.parametrize(
    "detail",
    [
        {"name": PersonalText("Canary Quillfeather")},
        {"name": "x" * 200},
        {"name": ["Canary Quillfeather"]},
        {"name": {"street": "7 Nightingale Row"}},
        {"Name of the buyer": 1},
        {"amount": 1.5},
        {f"field_{number}": number for number in range(20)},
    ],
)
def test_an_entrys_detail_takes_small_plain_values_only(audit: AuditLog, detail: dict[str, object]) -> None:
    with pytest.raises(AuditRefused) as caught:
        audit.record(None, action="push", account_id=SELLER, purpose="x", outcome="done", detail=detail)  # type: ignore[arg-type]
    assert "Quillfeather" not in str(caught.value)
    assert audit.head() is None


def test_an_address_or_token_in_a_persons_own_words_is_masked(audit: AuditLog, database: Database) -> None:
    audit.record(
        None, action="reveal", account_id=SELLER, purpose="asked by jane@example.com with Atza|secret-token",
        outcome="allowed", detail={"code": "Atzr|other-token"},
    )  # fmt: skip
    (line,) = audit.export(database.now().date())
    assert "example.com" not in line
    assert "secret-token" not in line
    assert "other-token" not in line
    assert "asked by" in line


def test_who_acts_is_known_without_being_passed_on(audit: AuditLog, database: Database) -> None:
    assert current_actor().startswith("user:")
    with acting_as("run:8a4f"), acting_as("job:pii_retention"):
        write(audit, "111-1")
    assert json.loads(next(audit.export(database.now().date())))["actor"] == "job:pii_retention"
    assert current_actor().startswith("user:")
    with pytest.raises(AuditRefused), acting_as("somebody"):
        pass


def test_a_days_export_is_that_utc_day_only_and_chains_by_itself(audit: AuditLog, database: Database) -> None:
    write(audit, *(f"111-{number}" for number in range(1, 5)))
    as_superuser(database, "update audit.entries set at = '2026-03-01 23:59:59.999999+00' where entry_id <= 1")
    as_superuser(database, "update audit.entries set at = '2026-03-02 00:00:00+00' where entry_id = 2")
    as_superuser(database, "update audit.entries set at = '2026-03-02 23:59:59.999999+00' where entry_id = 3")
    as_superuser(database, "update audit.entries set at = '2026-03-03 00:00:00+00' where entry_id = 4")
    recompute_everything(database)
    lines = [json.loads(line) for line in audit.export(date(2026, 3, 2))]
    assert [line["order_id"] for line in lines] == ["111-2", "111-3"]
    assert lines[1]["previous_hash"] == lines[0]["entry_hash"]


def test_the_same_entry_for_many_orders_is_one_entry_each(audit: AuditLog, database: Database) -> None:
    with database.begin() as connection:
        assert audit.record_for_each(connection, ENTRY, ["111-1", "111-2"]) == 2
        assert audit.record_for_each(connection, ENTRY, ["parked"], are_orders=False) == 1
        assert audit.record_for_each(connection, ENTRY, []) == 0
    lines = [json.loads(line) for line in audit.export(database.now().date())]
    assert [(line["order_id"], line["detail"]) for line in lines] == [
        ("111-1", {}), ("111-2", {}), (None, {"subject": "parked"}),
    ]  # fmt: skip
    assert audit.verify().ok
