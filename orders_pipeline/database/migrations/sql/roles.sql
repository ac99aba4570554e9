-- Who may touch what: three roles without a login, for the logins of a deployment to be members of. The login that runs
-- Dagster is a member of the first and the last: the nightly retention runs there too.
--
--   orders_pipeline_app        all of the pipeline's work; the audit log it can only append to and read
--   orders_pipeline_reader     analysis: no vault, no keys, and of the audit log neither the reasons nor the details
--   orders_pipeline_retention  shredding, purging, settling; the one role that may purge the audit log (by age)
--
-- Roles belong to the server, grants to each database: run by every database, as often as one likes. Where the server
-- gives no right to make roles and they are not there, it says so and goes on; the compliance check "roles" says so too.
-- orders_pipeline/privacy/access/roles.py declares the same as facts: change neither without the other.

do $$
declare
  wanted text;
  may_create boolean;
begin
  select rolsuper or rolcreaterole into may_create from pg_roles where rolname = current_user;
  foreach wanted in array array['orders_pipeline_app', 'orders_pipeline_reader', 'orders_pipeline_retention'] loop
    if exists (select from pg_roles where rolname = wanted) then
      continue;
    end if;
    if not may_create then
      raise notice using message = 'the role ' || wanted || ' was not made: ' || current_user
        || ' may not create roles. Have an administrator run roles.sql; nothing else depends on it.';
      continue;
    end if;
    begin
      execute 'create role ' || quote_ident(wanted) || ' nologin';
    exception when duplicate_object or unique_violation then
      -- Another database of this server made it at this moment.
      null;
    end;
  end loop;

  -- A new function is everybody's to execute. A trigger fires all the same: it asks for no right.
  revoke execute on all functions in schema pipeline, vault, vault_keys, audit from public;
  -- Everybody's until PostgreSQL 14: what is made there is found before ours where a name is not qualified.
  if exists (select from pg_namespace where nspname = 'public' and pg_has_role(current_user, nspowner, 'usage')) then
    revoke create on schema public from public;
  end if;

  if exists (select from pg_roles where rolname = 'orders_pipeline_app') then
    grant usage on schema pipeline, vault, vault_keys, audit to orders_pipeline_app;
    revoke all on all tables in schema pipeline, vault, vault_keys, audit from orders_pipeline_app;
    grant select, insert, update, delete on all tables in schema pipeline, vault, vault_keys to orders_pipeline_app;
    grant select, insert on audit.entries to orders_pipeline_app;
    grant select on audit.anchors to orders_pipeline_app;
    if to_regclass('audit.chain_lock') is not null then
      grant select, insert on audit.chain_lock to orders_pipeline_app;
    end if;
    if to_regclass('public.alembic_version') is not null then
      grant select on public.alembic_version to orders_pipeline_app;
    end if;
  end if;

  if exists (select from pg_roles where rolname = 'orders_pipeline_reader') then
    grant usage on schema pipeline, audit to orders_pipeline_reader;
    revoke all on all tables in schema pipeline, vault, vault_keys, audit from orders_pipeline_reader;
    grant select on all tables in schema pipeline to orders_pipeline_reader;
    grant select (entry_id, at, actor, action, seller_id, order_id, outcome) on audit.entries to orders_pipeline_reader;
    grant select on audit.anchors to orders_pipeline_reader;
    if to_regclass('public.alembic_version') is not null then
      grant select on public.alembic_version to orders_pipeline_reader;
    end if;
  end if;

  if exists (select from pg_roles where rolname = 'orders_pipeline_retention') then
    grant usage on schema pipeline, vault, vault_keys, audit to orders_pipeline_retention;
    revoke all on all tables in schema pipeline, vault, vault_keys, audit from orders_pipeline_retention;
    grant select, delete on all tables in schema pipeline to orders_pipeline_retention;
    grant update on pipeline.orders, pipeline.wms_orders, pipeline.alerts, pipeline.erasures, pipeline.parked_messages,
      pipeline.amazon_rate_limits, pipeline.client_secrets to orders_pipeline_retention;
    grant insert on pipeline.alerts, pipeline.erasures, pipeline.amazon_rate_limits, pipeline.client_secrets
      to orders_pipeline_retention;
    -- Not there yet when the first migration runs this.
    if to_regclass('pipeline.database_grants') is not null then
      grant insert on pipeline.database_grants to orders_pipeline_retention;
    elsif to_regclass('pipeline.database_privileges') is not null then
      grant insert on pipeline.database_privileges to orders_pipeline_retention;
    end if;
    -- Who may write a lock's table may take the lock (database/locks.py); who may only read may not.
    if to_regclass('pipeline.locks') is not null then
      grant select, insert, update, delete on pipeline.erasures_lock, pipeline.locks, pipeline.run_workers,
        vault_keys.keys_lock, vault_keys.fingerprint_lock to orders_pipeline_retention;
      grant select, insert on audit.chain_lock to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.clock_readings') is not null then
      grant insert, update on pipeline.clock_readings, pipeline.work_done to orders_pipeline_retention;
      -- A stored time that is still to come is put in its place.
      grant update (stored_at, first_stored_at) on vault.records to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.seals') is not null then
      -- Locked, in their order, before they go with what was shredded.
      grant update on pipeline.seals to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.jobs') is not null then
      -- It enqueues and does the erasures at the warehouse and the questions after deliveries.
      grant insert, update on pipeline.jobs, pipeline.paused_dependencies to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.refused_records') is not null then
      grant insert, update on pipeline.refused_records to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.check_results') is not null then
      grant insert, update on pipeline.check_results to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.amazon_authorizations') is not null then
      -- And notes whether its refresh token works.
      grant insert, update on pipeline.amazon_authorizations to orders_pipeline_retention;
    end if;
    if to_regclass('pipeline.counter_increments') is not null then
      -- It calls Amazon too, and counts the answers.
      grant insert, update on pipeline.counter_increments to orders_pipeline_retention;
    end if;
    -- It re-wraps keys to complete its shreds, and never stores a buyer's data.
    grant select, delete on vault.records to orders_pipeline_retention;
    grant select, update, delete on vault_keys.data_keys to orders_pipeline_retention;
    -- It asks Amazon whether parcels have arrived, and keeps the token that it does so with.
    grant select, insert, update, delete on vault.amazon_tokens to orders_pipeline_retention;
    if to_regclass('vault_keys.unsettled_shreds') is not null then
      grant select, insert, delete on vault_keys.unsettled_shreds to orders_pipeline_retention;
    else
      grant select, insert, update, delete on vault_keys.pending_shreds to orders_pipeline_retention;
    end if;
    grant select, insert on audit.entries to orders_pipeline_retention;
    grant select on audit.anchors to orders_pipeline_retention;
    grant execute on function audit.purge_before(timestamptz, text, bigint) to orders_pipeline_retention;
    if to_regclass('public.alembic_version') is not null then
      grant select on public.alembic_version to orders_pipeline_retention;
    end if;
  end if;
end $$;
