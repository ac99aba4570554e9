"""Whoever is given power over buyers' data in the database, in whatever way, turns the check red with a sentence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text

from orders_pipeline.database.engine import Database
from orders_pipeline.privacy.access.roles import APP, READER, RETENTION
from orders_pipeline.privacy.checks.checks import roles_are_as_declared
from orders_pipeline.settings import DatabaseRight, SettingsError, load_settings


@pytest.fixture
def mallory(database: Database, postgres_admin: Engine) -> Iterator[str]:
    """A login, and a group without one: roles belong to the server, so they are taken away again."""
    with postgres_admin.connect() as connection:
        connection.execute(text("create role mallory login"))
        connection.execute(text("create role team"))
    yield "mallory"
    with database.begin() as connection:
        connection.exec_driver_sql("reassign owned by mallory, team to postgres; drop owned by mallory, team")
    with postgres_admin.connect() as connection:
        connection.execute(text("drop role mallory"))
        connection.execute(text("drop role team"))


def execute(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(statement)


def declared(text: str) -> tuple[DatabaseRight, ...]:
    return load_settings({"ORDERS_DATABASE_RIGHTS": text}).database_rights


DEFINER = (
    "create function public.peek() returns bigint language sql security definer as 'select count(*) from vault.records'"
)
FOREIGN = "create foreign data wrapper far; create server far foreign data wrapper far"
COPYING = (
    "create table public.copy (id int); "
    "create rule copy as on insert to public.copy do also select * from vault.records"
)
SWALLOW = "create function public.swallow() returns trigger language plpgsql as 'begin return null; end'"


@pytest.mark.parametrize(
    ("statement", "undo", "says"),
    [
        # memberships
        (f"grant {APP} to mallory", f"revoke {APP} from mallory", f"mallory is a member of {APP}"),
        (f"grant {READER} to mallory", f"revoke {READER} from mallory", f"mallory is a member of {READER}"),
        (f"grant {RETENTION} to mallory", f"revoke {RETENTION} from mallory", f"mallory is a member of {RETENTION}"),
        (
            f"grant {APP} to team; grant team to mallory",
            f"revoke {APP} from team; revoke team from mallory",
            f"mallory is a member of {APP} through team",
        ),
        (f"grant {APP} to {READER}", f"revoke {APP} from {READER}", f"{READER} is a member of {APP}"),
        (
            f"grant {APP} to mallory with inherit false, set true",
            f"revoke {APP} from mallory",
            f"mallory is a member of {APP}",
        ),
        (
            f"grant {APP} to mallory with admin option",
            f"revoke {APP} from mallory",
            f"mallory is a member of {APP} and may give it to others",
        ),
        ("grant postgres to mallory", "revoke postgres from mallory", "mallory is a member of postgres"),
        *(
            (f"grant {role} to mallory", f"revoke {role} from mallory", f"mallory is a member of {role}")
            for role in (
                "pg_read_all_data", "pg_write_all_data", "pg_execute_server_program", "pg_read_server_files",
                "pg_write_server_files", "pg_signal_backend", "pg_maintain", "pg_create_subscription",
            )
        ),
        # what no grant binds
        ("alter role mallory superuser", "alter role mallory nosuperuser", "mallory is a superuser"),
        ("alter role mallory createrole", "alter role mallory nocreaterole", "mallory creates roles"),
        ("alter role mallory bypassrls", "alter role mallory nobypassrls", "mallory bypasses row security"),
        ("alter role mallory replication", "alter role mallory noreplication", "mallory may copy the whole server"),
        (f"alter role {READER} superuser", f"alter role {READER} nosuperuser", f"{READER} is a superuser"),
        (
            "alter role team superuser; grant team to mallory",
            "alter role team nosuperuser; revoke team from mallory",
            "mallory is a member of team",
        ),
        # owners
        ("alter table vault.records owner to mallory", "alter table vault.records owner to postgres",
         "mallory owns vault.records"),
        ("alter schema vault_keys owner to mallory", "alter schema vault_keys owner to postgres",
         "mallory owns schema vault_keys"),
        ("alter function audit.chain() owner to mallory", "alter function audit.chain() owner to postgres",
         "mallory owns audit.chain()"),
        (
            "do $$ begin execute format('alter database %%I owner to mallory', current_database()); end $$",
            "do $$ begin execute format('alter database %%I owner to postgres', current_database()); end $$",
            "mallory owns database",
        ),
        ("alter table public.alembic_version owner to mallory", "alter table public.alembic_version owner to postgres",
         "mallory owns public.alembic_version"),
        # grants
        ("grant select on vault.records to mallory", "revoke select on vault.records from mallory",
         "mallory on vault.records: has SELECT"),
        ("grant maintain on vault.records to mallory", "revoke maintain on vault.records from mallory",
         "mallory on vault.records: has MAINTAIN"),
        ("grant select (wrapped_key) on vault_keys.data_keys to mallory",
         "revoke select (wrapped_key) on vault_keys.data_keys from mallory",
         "mallory on vault_keys.data_keys.wrapped_key: has SELECT"),
        ("grant select on vault.records to public", "revoke select on vault.records from public",
         "public on vault.records: has SELECT"),
        (f"grant select on pipeline.orders to {READER} with grant option",
         f"revoke grant option for select on pipeline.orders from {READER}",
         f"{READER} on pipeline.orders: has SELECT and may give it on"),
        ("grant create on schema pipeline to mallory", "revoke create on schema pipeline from mallory",
         "mallory on schema pipeline: has CREATE"),
        ("grant create on schema public to public", "revoke create on schema public from public",
         "public on schema public: has CREATE"),
        (
            "do $$ begin execute format('grant create on database %%I to mallory', current_database()); end $$",
            "do $$ begin execute format('revoke create on database %%I from mallory', current_database()); end $$",
            "has CREATE",
        ),
        ("grant execute on function audit.purge_before to mallory",
         "revoke execute on function audit.purge_before from mallory", "mallory on audit.purge_before(): has EXECUTE"),
        ("grant execute on function audit.chain to public", "revoke execute on function audit.chain from public",
         "public on audit.chain(): has EXECUTE"),
        ("grant execute on function pg_read_file(text) to mallory",
         "revoke execute on function pg_read_file(text) from mallory",
         "mallory on pg_catalog.pg_read_file(): has EXECUTE"),
        ("grant select on pg_authid to mallory", "revoke select on pg_authid from mallory",
         "mallory on pg_catalog.pg_authid: has SELECT"),
        ("grant set on parameter session_replication_role to mallory",
         "revoke set on parameter session_replication_role from mallory",
         "setting session_replication_role may be changed by mallory"),
        ("alter default privileges in schema vault grant select on tables to mallory",
         "alter default privileges in schema vault revoke select on tables from mallory",
         "default privileges of postgres give SELECT on what is made to mallory"),
        ("alter default privileges grant all on tables to public",
         "alter default privileges revoke all on tables from public", "default privileges of postgres give"),
        ("alter role mallory set session_replication_role = replica", "alter role mallory reset all",
         "setting of mallory is session_replication_role at each login"),
        # what reads, hides, sends or changes past the grants
        ("create view public.peek as select * from vault.records", "drop view public.peek",
         "view public.peek reads or writes vault.records"),
        ("create materialized view public.peek as select * from vault_keys.data_keys",
         "drop materialized view public.peek",
         "materialized view public.peek reads or writes vault_keys.data_keys"),
        ("create view pipeline.peek as select purpose from audit.entries", "drop view pipeline.peek",
         "view pipeline.peek reads or writes audit.entries"),
        (DEFINER, "drop function public.peek()", "function public.peek() runs with its owner's rights"),
        (DEFINER.replace("public.", "vault."), "drop function vault.peek()", "function vault.peek() runs with"),
        (
            f"{SWALLOW}; create trigger quiet before insert on pipeline.alerts for each row execute function swallow()",
            "drop trigger quiet on pipeline.alerts; drop function public.swallow()",
            "trigger pipeline.alerts.quiet calls swallow",
        ),
        ("create rule quiet as on delete to vault.records do instead nothing", "drop rule quiet on vault.records",
         "rule vault.records.quiet rewrites what is done to it"),
        (
            COPYING,
            "drop table public.copy",
            "rule public.copy.copy reads or writes vault.records",
        ),
        ("alter table vault.records enable row level security", "alter table vault.records disable row level security",
         "row security vault.records hides rows"),
        ("create table public.more () inherits (vault.records)", "drop table public.more",
         "inheritance more is a child of vault.records"),
        ("create publication leak for all tables", "drop publication leak", "publication leak sends audit.anchors and"),
        ("create publication leak for table vault_keys.data_keys", "drop publication leak",
         "publication leak sends vault_keys.data_keys elsewhere"),
        ("create subscription inlet connection 'dbname=nowhere' publication x with (connect = false)",
         "alter subscription inlet set (slot_name = none); drop subscription inlet",
         "subscription inlet writes here"),
        (FOREIGN,
         "drop foreign data wrapper far cascade", "foreign server far connects"),
        (
            FOREIGN + "; create foreign table public.far (a int) server far",
            "drop foreign data wrapper far cascade",
            "foreign table far is kept elsewhere",
        ),
        ("create extension vector", "drop extension vector", "extension vector is none that PostgreSQL trusts"),
        ("select lo_from_bytea(77, 'x')", "select lo_unlink(77)", "large objects 1 are kept where no check looks"),
        (
            "do $$ begin execute format('alter database %%I is_template true', current_database()); end $$",
            "do $$ begin execute format('alter database %%I is_template false', current_database()); end $$",
            "is a template",
        ),
    ],
)  # fmt: skip
def test_every_way_to_power_over_buyers_data_is_named(
    database: Database, mallory: str, statement: str, undo: str, says: str
):
    outcome = roles_are_as_declared(database)
    assert outcome.passed, outcome.description
    execute(database, statement)
    try:
        outcome = roles_are_as_declared(database)
        assert (outcome.passed, outcome.severity) == (False, "ERROR")
        assert says in outcome.description
    finally:
        execute(database, undo)
    outcome = roles_are_as_declared(database)
    assert outcome.passed, outcome.description


@pytest.mark.parametrize(
    ("statement", "rights", "undo"),
    [
        (f"grant {READER} to mallory", "mallory:reader", ""),
        (f"grant {APP} to team; grant team to mallory", "team:app, mallory:app", "revoke team from mallory"),
        ("alter role mallory superuser", "mallory:administrator", "alter role mallory nosuperuser"),
        ("alter role team createrole; grant team to mallory; grant pg_monitor to team",
         "team:administrator,mallory:administrator", "revoke team from mallory"),
        ("alter table vault.records owner to mallory", "mallory:owner", ""),
        ("create extension vector", "vector:extension", "drop extension vector"),
    ],
)  # fmt: skip
def test_what_a_deployment_declares_is_green_and_no_more_than_that(
    database: Database, mallory: str, statement: str, rights: str, undo: str
):
    execute(database, statement)
    try:
        assert not roles_are_as_declared(database).passed
        outcome = roles_are_as_declared(database, declared(rights))
        assert outcome.passed, outcome.description
        execute(database, "alter role mallory bypassrls; create role more superuser")
        found = roles_are_as_declared(database, declared(rights))
        assert "more is a superuser" in found.description
    finally:
        execute(database, f"drop role if exists more; alter role mallory nobypassrls nosuperuser; {undo}")


def test_a_reader_who_is_declared_is_shown_and_may_be_nothing_else(database: Database, mallory: str):
    execute(database, f"grant {READER}, {APP} to mallory")
    outcome = roles_are_as_declared(database, declared("mallory:reader"))
    assert f"mallory is a member of {APP}" in outcome.description
    execute(database, f"revoke {APP} from mallory")
    outcome = roles_are_as_declared(database, declared("mallory:reader"))
    assert outcome.passed
    assert "Members: mallory: reader." in outcome.description


def test_the_configured_login_is_declared_unless_it_is_a_superuser(database: Database, database_url: str, mallory: str):
    execute(database, f"grant {APP}, {RETENTION} to mallory")
    own = Database(database_url.replace("//postgres:@", "//mallory:@"))
    try:
        outcome = roles_are_as_declared(own)
        assert outcome.passed, outcome.description
        assert outcome.numbers["owns_the_tables"] is False
        execute(database, "alter role mallory superuser")
        assert "mallory is a superuser" in roles_are_as_declared(own).description
    finally:
        execute(database, "alter role mallory nosuperuser")
        own.close()


@pytest.mark.parametrize("text", ["mallory", "mallory:king", ":app", "mallory:app, team"])
def test_a_right_that_cannot_be_read_is_a_problem_of_the_settings(text: str):
    with pytest.raises(SettingsError, match="ORDERS_DATABASE_RIGHTS"):
        load_settings({"ORDERS_DATABASE_RIGHTS": text}).require_complete()


@pytest.mark.parametrize(
    "statement",
    [
        "truncate audit.entries",
        "alter table audit.entries disable trigger chain",
        "drop trigger chain on audit.entries",
        "create trigger mine before insert on audit.entries for each row execute function audit.refuse()",
        "alter table audit.entries add column mine int",
        "alter table audit.entries owner to orders_pipeline_app",
        "create or replace function audit.chain() returns trigger language plpgsql as 'begin return null; end'",
        "insert into audit.anchors (entry_id, entry_hash, newest_at, purged_by) values (1, '', now(), 'x')",
        "set session_replication_role = replica",
        "create view pipeline.peek as select 1",
        "create publication leak for table vault.records",
        "create extension vector",
        "create schema mine",
        "drop table vault.records",
        "create function public.mine() returns int language sql as 'select 1'",
        "copy (select 1) to program 'true'",
        "select audit.chain()",
    ],
)
def test_the_pipelines_own_role_can_switch_nothing_off_and_owns_nothing(
    database_url: str, mallory: str, postgres_admin: Engine, statement: str
):
    with postgres_admin.connect() as connection:
        connection.execute(text(f"grant {APP}, {RETENTION} to mallory"))
    engine = create_engine(database_url.replace("//postgres:@", "//mallory:@"))
    try:
        with (
            pytest.raises(Exception, match=r"permission denied|must be (owner|able)|InsufficientPrivilege"),
            engine.begin() as connection,
        ):
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
