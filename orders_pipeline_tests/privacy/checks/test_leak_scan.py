"""A buyer's value that lies where it must not is found, by its place; and the finding does not repeat it."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from orders_pipeline.audit.log import PERSON_TAG, AuditLog, person_actor
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.access.roles import APP
from orders_pipeline.privacy.checks.checks import every_reading_is_audited
from orders_pipeline.privacy.checks.leak_files import dagster_folders, secret_files
from orders_pipeline.privacy.checks.leak_scan import no_copies_in_clear, scan_for_leaks
from orders_pipeline.privacy.checks.leak_scanner import HELD_VALUE, MAY_NOT_BE_READ, LeakScan
from orders_pipeline.privacy.checks.leak_shapes import identifying_words, shapes_in
from orders_pipeline.privacy.checks.stored_values import StoredValues, hash_stored_values
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.rows import StoredRecord
from orders_pipeline_tests.alerts.opened import set_alert
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.privacy.access.test_database_privileges import AsRole
from orders_pipeline_tests.privacy.conftest import NAME, PHONE, STREET, PutOrder

SCANNED = ("places", "times")


@pytest.fixture
def dagster_url(postgres: EmbeddedPostgres, postgres_admin: Engine) -> Iterator[str]:
    """A database with the tables of Dagster's in which a value can end up (facts/dagster.md §5)."""
    name = "test_dagster_tables"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create database {name} template template0"))
    database = Database(postgres.url(name))
    with database.begin() as connection:
        connection.execute(text("create table event_logs (id bigserial primary key, event text)"))
        connection.execute(text("create table asset_keys (id bigserial primary key, last_materialization text)"))
        connection.execute(text("create table runs (id bigserial primary key, run_body text, tags varchar(100)[])"))
        connection.execute(
            text("insert into event_logs (event) values (:event)"),
            {"event": json.dumps({"message": "2026-11-20 10:31:57 +0000 - STEP_SUCCESS in 1.25s", "pid": 19531})},
        )
    database.close()
    yield postgres.url(name)
    with postgres_admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


def held(database: Database, vault: Vault) -> StoredValues:
    return hash_stored_values(database, vault, account_id=SELLER, since=database.now().replace(year=2025))


def found(scan: LeakScan) -> set[tuple[str, str]]:
    return {(place.where, place.kind) for place in scan.places}


def test_a_store_of_many_orders_in_which_nothing_leaked_is_clean(
    database: Database, vault: Vault, put_order: PutOrder, dagster_url: str, tmp_path: Path
):
    for number in range(20):
        put_order(f"902-3159896-13909{number:02d}", sent=True, package="accepted", left=1, stored=0)
    with database.begin() as connection:
        connection.execute(
            text("update pipeline.shipment_confirmations set tracking_number = '1Z999AA10123456784', carrier = 'UPS'")
        )
        connection.execute(
            text(
                "insert into pipeline.order_items (account_id, order_id, order_item_id, position, title, "
                "quantity_ordered, quantity_fulfilled) select account_id, order_id, '05015851154158', 1, "
                "'Nightingale lamp, 7 W (pack of 2), made in New York', 1, 0 from pipeline.orders"
            )
        )
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run.err").write_text("2026-11-20 10:31:57 +0000 - dagster - INFO - 20 orders pushed\n")
    outcome, scan = no_copies_in_clear(
        database, vault, account_id=SELLER, dagster_url=dagster_url, dagster_home=tmp_path / "logs"
    )
    assert scan.places == []
    assert outcome.passed
    assert scan.complete
    assert (scan.hashed_records, scan.files) == (20, 1)
    assert scan.rows > 100


def test_a_planted_value_is_reported_by_place_and_never_repeated(
    database: Database, vault: Vault, put_order: PutOrder, dagster_url: str, tmp_path: Path
):
    put_order("111-1", name="José Dvořák", stored=0)
    with database.transaction(SELLER) as tx:
        set_alert(tx, "x", message=f"cannot deliver to {STREET.upper()}, ok")
        tx.execute(
            text(
                "insert into pipeline.order_events (account_id, order_id, source, deduplication_key, published_at, "
                "partition_day, details) values (:s, '1', 'x', 'x', now(), now(), cast(:details as jsonb))"
            ),
            {"s": SELLER, "details": json.dumps({"Summary": {"DestinationPostalCode": "48104"}})},
        )
    dagster = Database(dagster_url)
    with dagster.begin() as connection:
        # As Dagster stores it: JSON in JSON, not a letter of it plain.
        event = json.dumps({"error": json.dumps({"message": "KeyError\nJosé Dvořák"})})
        assert "José" not in event
        connection.execute(text("insert into event_logs (event) values (:event)"), {"event": event})
        connection.execute(text("insert into runs (tags) values (array['x', :tag])"), {"tag": f"phone {PHONE}"})
    dagster.close()
    home = tmp_path / "home"
    (home / "storage" / "run").mkdir(parents=True)
    # Across the border of two pieces of the file.
    padding = b"." * ((1 << 20) - len(b" ship to 7 Nigh"))
    (home / "storage" / "run" / "step.pickle").write_bytes(padding + b" ship to " + STREET.encode() + b"\n")
    (home / "storage" / "run" / "x.err").write_text("mail somebody@nowhere.test, token Atza|IwEBIABCDEF\n")

    outcome, scan = no_copies_in_clear(database, vault, account_id=SELLER, dagster_url=dagster_url, dagster_home=home)
    assert found(scan) == {
        ("table pipeline.alerts.message", HELD_VALUE),
        ("table pipeline.order_events.details", "personal field"),
        ("dagster public.event_logs.event", HELD_VALUE),
        ("dagster public.runs.tags", HELD_VALUE),
        ("dagster public.runs.tags", "phone"),
        ("file storage/run/step.pickle", HELD_VALUE),
        ("file storage/run/x.err", "e-mail"),
        ("file storage/run/x.err", "amazon token"),
    }
    assert not outcome.passed
    told = f"{outcome} {scan} {outcome.as_metadata()} {held(database, vault)}".casefold()
    for value in ("José", "Dvořák", "Nightingale", "0142", "nowhere.test", "Atza", "48104"):
        assert value.casefold() not in told


def test_looking_is_in_the_audit_log_for_each_order_before_its_record_is_opened(
    database: Database, vault: Vault, audit: AuditLog, put_order: PutOrder, monkeypatch: pytest.MonkeyPatch
):
    for number in range(30):
        put_order(f"111-{number}", audited=False, stored=0)
    vault.prepare()
    before = audit.verify().entries
    seen: list[int] = []
    really = Vault._open

    def opened(self: Vault, record: StoredRecord) -> bytes:
        seen.append(audit.verify().entries)
        return really(self, record)

    monkeypatch.setattr(Vault, "_open", opened)
    values = held(database, vault)
    assert (values.records, values.unreadable) == (30, 0)
    assert seen == [before + 30] * 30
    with database.begin() as connection:
        written = connection.execute(
            text("select order_id, outcome, purpose from audit.entries where action = 'hash_values'")
        ).all()
    assert {row.order_id for row in written} == {f"111-{number}" for number in range(30)}
    assert {(row.outcome, row.purpose) for row in written} == {("allowed", "scan for copies in clear")}
    assert not every_reading_is_audited(database, account_id=SELLER).passed, "it stands in for no other reading"


def test_a_record_that_does_not_open_is_counted_and_the_check_is_red(
    database: Database, vault: Vault, put_order: PutOrder
):
    put_order("111-1", stored=0)
    with database.begin() as connection:
        connection.execute(text("update vault.records set nonce = '123456789012' where kind = 'shipping_details'"))
    outcome, scan = no_copies_in_clear(database, vault, account_id=SELLER)
    assert (scan.unreadable, outcome.passed) == (1, False)


def test_a_budget_that_is_spent_is_said_and_the_newest_rows_came_first(
    database: Database, vault: Vault, put_order: PutOrder
):
    put_order("111-1", stored=0)
    with database.begin() as connection:
        connection.execute(
            text(
                "insert into pipeline.alerts (account_id, key, severity, message, what_to_do) "
                "select :s, 'k' || n, 'info', 'message ' || n, 'x' from generate_series(1, 5000) n"
            ),
            {"s": SELLER},
        )
        connection.execute(text("update pipeline.alerts set message = :m where key = 'k5000'"), {"m": STREET})
        connection.execute(text("update pipeline.alerts set message = :m where key = 'k1'"), {"m": NAME})
    scan = scan_for_leaks(database, held(database, vault), budget_seconds=-1)
    assert not scan.complete
    assert scan.found == {("table pipeline.alerts.message", HELD_VALUE): 1}
    whole = scan_for_leaks(database, held(database, vault), budget_seconds=60)
    assert whole.complete
    assert whole.found == {("table pipeline.alerts.message", HELD_VALUE): 2}


def test_in_a_repository_only_dagsters_own_folders_are_scanned(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text("")
    for name in ("storage", "orders_pipeline", ".git", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "dev.log").write_text("")
    assert {path.name for path in dagster_folders(tmp_path)} == {"storage", "logs", "dev.log"}


@pytest.mark.parametrize(
    "innocent",
    [
        "902-3159896-1390916", "1Z999AA10123456784", "2026-11-20 10:31:57.123456+00:00", "2026-11-20T10:31:57Z",
        "team:compliance", "git@github.com:acme/orders.git", "security@amazon.com", "dagster==1.13.27",
        "10.0.0.1:5432", "9400111899223197428490", '{"phone": null}', '{"name": "phone", "type": "string"}',
        "amzn1.application-oa2-client.test", "pool 3-3-4", "sha256:0c8f+1234567890==", "-1 555 0142 311",
    ],
)  # fmt: skip
def test_what_only_looks_like_somebody_is_left_alone(innocent: str):
    assert list(shapes_in(innocent)) == []


@pytest.mark.parametrize(
    ("leak", "kind"),
    [
        ("call +1 555-0142-311 now", "phone"), ("+491701234567", "phone"), ("(206) 555-0142", "phone"),
        ("to ada@marketplace.amazon.com", "e-mail"), ("Authorization: Bearer abcdefghijklmnop", "bearer token"),
        ('{"DestinationPostalCode": "48104"}', "personal field"), (r'"{\"address_line1\": \"x\"}"', "personal field"),
        ("amzn1.oa2-cs.v1.0123456789abcdef", "client secret"), ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
    ],
)  # fmt: skip
def test_each_shape_is_known(leak: str, kind: str):
    assert kind in list(shapes_in(leak))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Ada", []), ("48104", []), ("Ito-O'Neil", ["ito o neil"]),
        ("+1 555-0142-311", ["15550142311", "1 555 0142 311"]),
        ("canary-x7f3", ["canary x7f3"]), ("CANARYX7F3", ["canaryx7f3"]),
        ("Happy birthday! See you on Sunday", [
            "happy birthday see you", "birthday see you on", "see you on sunday",
        ]),
    ],
)  # fmt: skip
def test_a_value_is_told_by_what_is_rare_in_it(value: str, told: list[str]):
    assert list(identifying_words(value)) == told


def test_looking_through_a_large_file_takes_little_time(database: Database, vault: Vault, tmp_path: Path):
    (tmp_path / "big.log").write_text(
        "2026-11-20 10:31:57 +0000 - dagster - INFO - 20 orders pushed in 1.25 s\n" * 40_000
    )
    started = time.perf_counter()
    scan = scan_for_leaks(database, held(database, vault), folders=[tmp_path])
    assert (scan.places, scan.bytes > 2_500_000) == ([], True)
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    "text_with_one",
    [
        '{"postal_code": "48104"}', '{"postal_code": 48104}', "{'postal_code': '48104', 'name': 'x'}",
        "ShipTo(postal_code='48104', name='x')", "name=x&postalCode=48104", '{\\"addressLine1\\": \\"7 Elm St\\"}',
        "phone=+1480555", "{'gift_message': 'For you'}",
    ],
)  # fmt: skip
def test_a_personal_field_with_a_value_is_found_however_it_is_written(text_with_one: str):
    assert "personal field" in list(shapes_in(text_with_one))


@pytest.mark.parametrize(
    "innocent",
    [
        '{"postal_code": null}', '{"postal_code": ""}', "{'postal_code': None}", "postal_code=details.postal_code,",
        'ship_to["address_line1"] = plain', '{"phone": "•••"}', "def push(phone: str) -> None:", "phone = None",
    ],
)  # fmt: skip
def test_a_personal_field_without_a_value_is_none(innocent: str):
    assert list(shapes_in(innocent)) == []


def test_not_having_looked_is_not_having_found_nothing(
    database: Database, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.log").write_text("nothing")
    assert no_copies_in_clear(database, vault, account_id=SELLER, folders=[tmp_path])[0].passed
    outcome, _ = no_copies_in_clear(database, vault, account_id=SELLER, folders=[tmp_path], budget_seconds=0)
    assert (outcome.passed, outcome.severity, outcome.numbers["complete"]) == (False, "WARN", False)
    really = Path.open

    def denied(self: Path, *arguments: Any, **named: Any) -> Any:
        if self.name == "a.log":
            raise PermissionError(13, "denied")
        return really(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", denied)
    outcome, _ = no_copies_in_clear(database, vault, account_id=SELLER, folders=[tmp_path])
    assert (outcome.passed, outcome.severity, outcome.numbers["not_readable"]) == (False, "WARN", 1)


def test_a_table_that_may_not_be_read_is_not_said_to_be_clean(database: Database, database_url: str, vault: Vault):
    with database.begin() as connection:
        connection.execute(text("create table public.somebodys (note text)"))
        connection.execute(text("insert into public.somebodys values ('a')"))
        connection.execute(text("create table public.some_rows (note text)"))
        connection.execute(text("alter table public.some_rows enable row level security"))
        connection.execute(text(f"grant select on public.some_rows to {APP}"))
        connection.execute(text("select lo_from_bytea(0, 'whatever')"))
    reader = AsRole(database_url, APP)
    try:
        with reader.engine.connect() as connection:
            connection.execute(text("select 1"))
        scan = scan_for_leaks(_as(reader), StoredValues(vault))
    finally:
        reader.close()
    assert scan.not_scanned["table public.somebodys", MAY_NOT_BE_READ] == 1
    assert scan.not_scanned["table public.some_rows", MAY_NOT_BE_READ] == 1, "a policy hides rows"
    assert scan.not_scanned["table pg_largeobject", "large objects are not looked through"] == 1


def test_it_says_what_it_did_not_look_at_and_what_it_never_looks_at(
    database: Database, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = tmp_path / "data"
    (data / "postgres" / "base").mkdir(parents=True)
    (data / "postgres" / "PG_VERSION").write_text("18")
    (data / "keyring.json").write_text('{"keys": []}')
    (data / "token").write_text("Atzr|IwEBIABCDEF")
    (data / "day.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(range(256)))
    (data / "shut").mkdir()
    (data / "elsewhere").symlink_to(tmp_path)
    # As root nothing is shut: the refusal is what is simulated.
    really = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(13, "denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    home = tmp_path / "home"
    home.mkdir()
    (home / "pyproject.toml").write_text("")
    outcome, _ = no_copies_in_clear(
        database, vault, account_id=SELLER, dagster_home=home, data_dir=data,
        secret_files=[data / "keyring.json", data / "token", data / "no such"],
    )  # fmt: skip
    assert (outcome.passed, outcome.severity) == (False, "WARN")
    assert outcome.notes["not_scanned"] == "file day.zst (zstd is not opened); folder shut (it may not be read)"
    assert outcome.notes["not_scanned"] in outcome.description
    for left_out in (
        "vault and vault_keys", "keyring.json, token", "1 symbolic link", "DAGSTER_HOME is a repository",
        "PostgreSQL's own data files", "other databases", "what the processes print",
    ):  # fmt: skip
        assert left_out in outcome.notes["left_out"]
    assert (
        "PostgreSQL's log: it is on its own server"
        in no_copies_in_clear(database, vault, account_id=SELLER, data_dir=home)[0].notes["left_out"]
    )


def test_the_embedded_servers_own_log_is_looked_at(database: Database, vault: Vault, postgres: EmbeddedPostgres):
    leaked = f"Quentin Quiverwood {uuid.uuid4().hex[:8]}"
    values = StoredValues(vault)
    values.add(leaked)
    with database.begin() as connection:
        connection.execute(text(f"do $$ begin raise log 'cannot deliver to {leaked}'; end $$"))
    scan = scan_for_leaks(database, values, folders=[postgres.data_folder.parent])
    assert found(scan) == {("file postgres/log", HELD_VALUE)}


def test_a_buyers_name_as_a_files_name_is_found_and_not_shown(database: Database, vault: Vault, tmp_path: Path):
    values = StoredValues(vault)
    values.add(NAME)
    (tmp_path / "label for Canary%20Quillfeather.pdf").write_bytes(b"")
    scan = scan_for_leaks(database, values, folders=[tmp_path])
    assert found(scan) == {("the name of a file", HELD_VALUE)}
    assert "Quillfeather" not in str(scan)


def test_one_table_that_cannot_be_looked_at_stops_no_other(database: Database, vault: Vault):
    values = StoredValues(vault)
    values.add(NAME)
    with database.begin() as connection:
        connection.execute(text("create table public.a_broken (x int, note text generated always as (x::text) stored)"))
        connection.execute(text("create table public.locked (note text)"))
        connection.execute(text("create table public.zz (note text)"))
        connection.execute(text("insert into public.zz values (:name)"), {"name": NAME})
    with database.begin() as connection:
        connection.execute(text("lock table public.locked in access exclusive mode"))
        scan = scan_for_leaks(_impatient(database), values)
    assert set(scan.not_scanned) == {("table public.locked", "LockNotAvailable")}
    assert found(scan) == {("table public.zz.note", HELD_VALUE)}


def _impatient(database: Database) -> Database:
    """On connections of its own that wait for a lock a moment only."""
    other = Database(database.engine.url.render_as_string(hide_password=False))

    @event.listens_for(other.engine, "connect")
    def set_timeout(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '50ms'")
        connection.commit()

    return other


def _as(database: AsRole) -> Database:
    """The scan streams on connections of its own: each of them is the role, too."""

    @event.listens_for(database.engine, "connect")
    def set_role(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"set role {APP}")

    database.engine.dispose()
    return database


def test_only_an_actors_own_e_mail_address_is_no_leak(
    database: Database, vault: Vault, put_order: PutOrder, dagster_url: str
):
    put_order("111-1")
    maria = person_actor("Maria@shop.de", "run-1")
    vault.audit.record(None, action="web_change", account_id="*", purpose="asked", outcome="requested", actor=maria)
    dagster = Database(dagster_url)
    with dagster.begin() as connection:
        insert = text("insert into runs (run_body) values (:body)")
        connection.execute(insert, {"body": json.dumps({PERSON_TAG: "Maria@shop.de"})})
    assert found(scan_for_leaks(database, held(database, vault), dagster_url=dagster_url)) == set()
    with dagster.begin() as connection:
        connection.execute(insert, {"body": "Maria@shop.de wrote to buyer@shop.de"})
    dagster.close()
    leaks = found(scan_for_leaks(database, held(database, vault), dagster_url=dagster_url))
    assert leaks == {("dagster public.runs.run_body", "e-mail")}


def test_files_of_secrets_are_known_also_where_another_env_file_names_them(tmp_path: Path):
    env_file = tmp_path / "shop.env"
    env_file.write_text(f"WMS_TOKEN_FILE={tmp_path / 'token'}\n")
    files = secret_files(load_settings({"ORDERS_DATA_DIR": str(tmp_path)}), {"ORDERS_ENV_FILE": str(env_file)})
    assert {env_file, tmp_path / "token", tmp_path / "keyring.json"} <= set(files)
