"""Commands of `orders-pipeline` that need the store alone: the schema, the keys, and what was set aside."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.cli.main import main
from orders_pipeline.database import migrate
from orders_pipeline.database.embedded import EmbeddedPostgres
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import Phase
from orders_pipeline.sandbox.sandbox import Sandbox
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.pipeline import point_environment_at


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(subscribed=False) as running:
        yield running


def test_migrate_brings_an_empty_server_up_to_date_and_may_be_repeated(
    sandbox: Sandbox, postgres: EmbeddedPostgres, postgres_admin: Engine, dagster_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    name = f"test_migrate_{uuid.uuid4().hex[:8]}"
    point_environment_at(sandbox, postgres.url(name), tmp_path, monkeypatch, DAGSTER_POSTGRES_URL=dagster_url)
    try:
        for _ in range(2):
            done = CliRunner().invoke(main, ["migrate"])
            assert (done.exit_code, "up to date" in done.output) == (0, True), done.output
        database = Database(postgres.url(name))
        with database.begin() as connection:
            assert connection.execute(text("select count(*) from pipeline.orders")).scalar_one() == 0
        database.close()
    finally:
        with postgres_admin.connect() as connection:
            connection.execute(text(f"drop database if exists {name} with (force)"))


def test_a_schema_of_another_release_is_met_with_what_to_run(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    phases = migrate.revision_phases()
    *_, before_head, head = phases
    # What is run after the earlier release has stopped is not needed.
    *_, needed = (revision for revision, phase in phases.items() if phase is not Phase.AFTER)

    def run(*arguments: str, revision: str) -> str:
        with database.begin() as connection:
            connection.execute(text("update alembic_version set version_num = :revision"), {"revision": revision})
        return CliRunner().invoke(main, [*arguments]).output

    # Older: the half that leaves the earlier release running is refused where it cannot live with a revision.
    assert f"which needs revision {needed}" in run("doctor", revision="0003")
    assert "Stop every process" in run("migrate", "--only", "before", revision="0003")
    assert "migrate --only before" in run("migrate", "--only", "after", revision="0003")
    # Newer.
    for command in ("doctor", "migrate"):
        assert "Install that release" in run(command, revision="from_the_future")
    # Between the halves this release works, and the doctor reminds of the second.
    monkeypatch.setattr(
        migrate, "revision_phases", lambda: {"0001": Phase.BEFORE, before_head: Phase.BEFORE, head: Phase.AFTER}
    )
    assert "finish the upgrade: `orders-pipeline migrate --only after`" in run("doctor", revision=before_head)
    assert "migrate --only after" in run("migrate", "--only", "before", revision=before_head)
    # A process that runs on a schema that has gone on without it.
    with database.begin() as connection:
        connection.execute(text("alter table pipeline.fulfillment_orders rename to renamed"))
    assert "`orders-pipeline doctor` says what to run" in run("replay", revision=before_head)


def test_a_parked_order_is_given_another_chance_by_name_and_by_reason(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    ids = [f"111-0000000-000000{number}" for number in range(3)]
    for order_id in ids:
        assert CliRunner().invoke(main, ["recover", order_id]).exit_code == 0

    def park() -> None:
        with database.begin() as connection:
            for order_id, reason in zip(ids, ("AmazonNotFound", "a defect", "a defect"), strict=True):
                connection.execute(
                    text(
                        "update pipeline.jobs set parked_at = now(), last_error = :reason "
                        "where subject = :id and queue = 'fetch'"
                    ),
                    {"reason": reason, "id": order_id},
                )

    def parked() -> set[str]:
        with database.begin() as connection:
            found = connection.execute(text("select subject from pipeline.jobs where parked_at is not null"))
            return set(found.scalars())

    for arguments, left in (([ids[1]], {ids[0], ids[2]}), (["--reason", "notfound"], {*ids[1:]}), ([], set[str]())):
        park()
        done = CliRunner().invoke(main, ["replay", *arguments])
        assert done.exit_code == 0, done.output
        assert f"{3 - len(left)} orders and 0 packages are due again." in done.output
        assert parked() == left


def test_the_keys_are_listed_with_how_much_each_still_opens(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    point_environment_at(sandbox, database_url, tmp_path, monkeypatch)
    vault = Vault(database, LocalKeyring(tmp_path / "keyring.json"), AuditLog(database))
    with database.transaction(SELLER) as tx:
        vault.store(tx, kind="shipping_details", subject_id="111-1", plaintext=b"{}", expires_at=None)
    listed = CliRunner().invoke(main, ["keys", "list"])
    assert (listed.exit_code, listed.output) == (0, f"{vault.keys.current_key_id()}: 1 records\n")
