"""Each database role can do its work and no more; and a server that gives no right to make roles still migrates."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.database.embedded import EmbeddedPostgres, start_embedded
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.doctor import examine
from orders_pipeline.privacy.access.roles import APP, READER, RETENTION
from orders_pipeline.privacy.checks.checks import roles_are_as_declared
from orders_pipeline.privacy.shred_expired import apply_retention
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.audit.tampering import write_days_ago
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.pipeline import Pipeline, point_environment_at

PURGE = "select audit.purge_before(clock_timestamp() - interval '24 months')"


class AsRole(Database):
    """The database as a member of one role sees it."""

    def __init__(self, url: str, role: str) -> None:
        super().__init__(url)
        self._role = role

    @contextmanager
    def begin(self) -> Generator[Connection]:
        with super().begin() as connection:
            connection.execute(text(f"set local role {self._role}"))
            yield connection

    @contextmanager
    def transaction(self, account_id: str) -> Generator[AccountTransaction]:
        with self.begin() as connection:
            yield AccountTransaction(connection, account_id)


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Vault:
    vault = Vault(database, LocalKeyring(tmp_path / "keyring.json"), AuditLog(database))
    vault.prepare()
    return vault


def may(url: str, role: str, statement: str) -> bool:
    """Whether the role may run it; nothing of it stays."""
    as_role = AsRole(url, role)
    try:
        with as_role.begin() as connection:
            connection.execute(text(statement))
            connection.rollback()
    except ProgrammingError as error:
        assert "permission denied" in str(error.orig) or "must be owner" in str(error.orig), error.orig
        return False
    finally:
        as_role.close()
    return True


def test_the_pipeline_role_only_appends_to_the_audit_log(database_url: str, vault: Vault, tmp_path: Path):
    app = AsRole(database_url, APP)
    own = Vault(app, LocalKeyring(tmp_path / "keyring.json"), AuditLog(app))
    with app.transaction(SELLER) as tx:
        own.store(tx, kind="shipping_details", subject_id="1", plaintext=b"x", expires_at=None)
    assert own.reveal(account_id=SELLER, kind="shipping_details", subject_id="1", purpose="test") == b"x"
    with app.transaction(SELLER) as tx:
        own.shred(tx, kind="shipping_details", subject_id="1", reason="test")
    assert AuditLog(app).verify().ok
    app.close()
    for statement in (
        "update audit.entries set purpose = 'x'",
        "delete from audit.entries",
        "truncate audit.entries",
        "insert into audit.anchors (entry_id, entry_hash, newest_at, purged_by) values (1, '', now(), 'x')",
        "alter table audit.entries disable trigger all",
        PURGE,
        "create table pipeline.mine (id int)",
    ):
        assert not may(database_url, APP, statement), statement


def test_the_reader_role_sees_orders_but_no_vault_and_no_keys(database_url: str):
    for statement in (
        "select * from pipeline.orders",
        "select * from pipeline.wms_shipments",
        "select entry_id, at, actor, action, seller_id, order_id, outcome from audit.entries",
    ):
        assert may(database_url, READER, statement), statement
    for statement in (
        "select * from vault.records",
        "select * from vault.amazon_tokens",
        "select * from vault_keys.data_keys",
        "select purpose from audit.entries",
        "select detail from audit.entries",
        "update pipeline.orders set status = 'x'",
        "delete from pipeline.order_events",
        "insert into audit.entries (actor) values ('x')",
        PURGE,
    ):
        assert not may(database_url, READER, statement), statement


def test_the_retention_role_runs_the_whole_retention_and_stores_nothing(
    database: Database, database_url: str, vault: Vault, tmp_path: Path
):
    with database.transaction(SELLER) as tx:
        tx.execute(
            text(
                "insert into pipeline.orders (account_id, order_id, status, fulfilled_by, purchased_at) values "
                "(:seller, 'gone', 'CANCELLED', 'MERCHANT', now()), "
                "(:seller, 'old', 'SHIPPED', 'MERCHANT', now() - interval '600 days'), "
                "(:seller, 'late', 'UNSHIPPED', 'MERCHANT', now() - interval '60 days')"
            ),
            {"seller": SELLER},
        )
        tx.execute(
            text("insert into pipeline.wms_orders (account_id, order_id, answer) values (:seller, 'gone', 'accepted')"),
            {"seller": SELLER},
        )
        for order_id in ("gone", "late", "stays"):
            tx.execute(
                text(
                    "insert into pipeline.orders (account_id, order_id, status, fulfilled_by, deliver_by) "
                    "values (:seller, :id, 'UNSHIPPED', 'MERCHANT', now() + interval '5 days') on conflict do nothing"
                ),
                {"seller": SELLER, "id": order_id},
            )
            vault.store(
                tx, kind="shipping_details", subject_id=order_id, plaintext=b"x",
                expires_at=None)  # fmt: skip
    retention = AsRole(database_url, RETENTION)
    own = Vault(retention, LocalKeyring(tmp_path / "keyring.json"), AuditLog(retention))
    totals = apply_retention(retention, own, None, account_id=SELLER)
    assert (sum(totals.shredded.values()), totals.purged["orders"], totals.shreds_completed) == (2, 1, 2)
    retention.close()
    for statement in (
        "insert into vault.records values ('x', 'x', 'x', gen_random_uuid(), 1, '', '')",
        "update vault.records set ciphertext = ''",
        "insert into vault_keys.data_keys values (gen_random_uuid(), 'x', 'x', '')",
        "delete from audit.entries",
        "insert into pipeline.orders (account_id, order_id, status, fulfilled_by) values ('x', 'x', 'x', 'x')",
    ):
        assert not may(database_url, RETENTION, statement), statement
    assert may(database_url, RETENTION, PURGE)


def test_the_check_finds_one_grant_too_many_one_too_few_and_one_to_everybody(database: Database):
    assert roles_are_as_declared(database).passed
    for statement, undo in (
        (f"grant select on vault.records to {READER}", f"revoke select on vault.records from {READER}"),
        (f"revoke insert on audit.entries from {APP}", f"grant insert on audit.entries to {APP}"),
        (
            f"grant select (purpose) on audit.entries to {READER}",
            f"revoke select (purpose) on audit.entries from {READER}",
        ),
        ("grant select on vault_keys.data_keys to public", "revoke select on vault_keys.data_keys from public"),
        (
            f"grant select (ciphertext) on vault.records to {READER}",
            f"revoke select (ciphertext) on vault.records from {READER}",
        ),
        (f"grant usage on schema vault to {READER}", f"revoke usage on schema vault from {READER}"),
        (
            f"grant update (outcome) on audit.entries to {APP}",
            f"revoke update (outcome) on audit.entries from {APP}",
        ),
        (f"revoke usage on schema vault from {APP}", f"grant usage on schema vault to {APP}"),
        (
            f"grant execute on function audit.purge_before to {APP}",
            f"revoke execute on function audit.purge_before from {APP}",
        ),
    ):
        with database.begin() as connection:
            connection.execute(text(statement))
        outcome = roles_are_as_declared(database)
        assert (outcome.passed, outcome.severity) == (False, "ERROR"), statement
        assert outcome.numbers["grants_wrong"] >= 1, statement
        with database.begin() as connection:
            connection.execute(text(undo))
    assert roles_are_as_declared(database).passed


@pytest.mark.parametrize(
    ("roles", "purges"),
    [((APP, RETENTION), True), ((RETENTION,), True), ((APP,), False)],
    ids=["both", "nightly", "app"],
)
def test_the_nightly_job_and_doctor_work_under_each_documented_login(
    database: Database,
    database_url: str,
    postgres_admin: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    roles: tuple[str, ...],
    purges: bool,
):
    login = f"shop_{'_'.join(role.rsplit('_', 1)[1] for role in roles)}"
    with postgres_admin.connect() as connection:
        connection.execute(text(f"create role {login} login in role {', '.join(roles)}"))
    as_login = database_url.replace("//postgres:@", f"//{login}:@")
    try:
        with Sandbox(time_scale=100) as sandbox, dg.DagsterInstance.ephemeral() as instance:
            point_environment_at(sandbox, database_url, tmp_path, monkeypatch, DAGSTER_POSTGRES_URL=database_url)
            for _ in range(2):
                sandbox.add_order(status="UNSHIPPED")
            pipeline = Pipeline(instance)
            pipeline.tick("drain_notifications_sensor")
            with database.begin() as connection:
                connection.execute(text("update pipeline.orders set status = 'CANCELLED'"))
                connection.execute(text("update pipeline.fulfillment_orders set state = 'cancelled'"))
            write_days_ago(database, AuditLog(database), 800, "111-1")
            point_environment_at(sandbox, as_login, tmp_path, monkeypatch, DAGSTER_POSTGRES_URL=database_url)
            nightly = Pipeline(instance)
            assert nightly.run("shred_expired_pii"), nightly.failed_runs
            assert nightly.run("erase_at_warehouse")
            event = instance.get_latest_materialization_event(dg.AssetKey("pii_retention"))
            assert event is not None
            assert event.asset_materialization is not None
            totals = {name: value.value for name, value in event.asset_materialization.metadata.items()}
            assert (totals["shredded"], totals["shreds_pending"], totals["warehouse_erased"]) == (2, 0, 2)
            assert totals["audit_purge_refused"] is not purges
            results = {finding.subject: finding for finding in examine(StoreResource().deployment())}
            assert results["database"].ok
            if APP in roles:
                # The pipeline's own work, too.
                sandbox.add_order(status="UNSHIPPED")
                nightly.run_until_idle()
                assert nightly.failed_runs == []
                assert len(sandbox.warehouse.orders) == 3
    finally:
        with postgres_admin.connect() as connection:
            connection.execute(
                text("select pg_terminate_backend(pid) from pg_stat_activity where usename = :login"), {"login": login}
            )
            connection.execute(text(f"drop role {login}"))


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of its own: roles belong to the server, and here there are none yet. It may be replicated by rows."""
    folder = tmp_path_factory.mktemp("bare")
    server = start_embedded(folder)
    engine = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("alter system set wal_level = logical"))
    engine.dispose()
    server.stop()
    server = start_embedded(folder)
    yield server
    server.stop()


def test_migrating_without_createrole_leaves_the_check_red(
    bare_server: EmbeddedPostgres,
):
    admin: Engine = create_engine(bare_server.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("create role plain login"))
        connection.execute(text("create database plain owner plain"))
    url = bare_server.url("plain").replace("//postgres:@", "//plain:@")
    database = Database(url)
    upgrade(database)
    outcome = roles_are_as_declared(database)
    assert (outcome.passed, outcome.severity, outcome.numbers["roles_missing"]) == (False, "WARN", 3)
    assert "roles.sql" in outcome.text()
    # An administrator's database makes them; then this user's own grants are a matter of running the file again.
    ensure_database_exists(bare_server.url("other"))
    other = Database(bare_server.url("other"))
    upgrade(other)
    assert roles_are_as_declared(other).passed
    sql = (Path(upgrade.__code__.co_filename).parent / "migrations" / "sql" / "roles.sql").read_text()
    for _ in range(2):
        with database.begin() as connection:
            connection.exec_driver_sql(sql)
    assert roles_are_as_declared(database).passed
    for opened in (database, other):
        opened.close()
    admin.dispose()


def test_a_replication_slot_that_keeps_every_change_is_found(bare_server: EmbeddedPostgres):
    ensure_database_exists(bare_server.url("replicated"))
    database = Database(bare_server.url("replicated"))
    upgrade(database)
    with database.begin() as connection:
        connection.execute(text("select pg_create_logical_replication_slot('leak', 'pgoutput')"))
    try:
        outcome = roles_are_as_declared(database)
        assert not outcome.passed
        assert "replication slot leak keeps every change" in outcome.description
    finally:
        with database.begin() as connection:
            connection.execute(text("select pg_drop_replication_slot('leak')"))
    assert roles_are_as_declared(database).passed
    database.close()
