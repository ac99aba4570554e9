-- The audit log's own rules, kept where nobody can forget them: in the database.
--
-- An entry's number, time and hashes are set here, whatever the writer sent: gapless numbers, the database's clock, and
-- entry_hash = sha256(previous_hash || canonical text). One writer at a time (the chain lock), until its transaction ends.
-- audit/rows.py recomputes the same text with built-in functions only: change neither without the other.
-- chain() and purge_before() are as in audit_lock.sql since migration 0004.

create function audit.chain() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
declare
  last_id bigint;
  last_hash bytea;
begin
  perform pg_advisory_xact_lock(7206512449);
  select entry_id, entry_hash into last_id, last_hash from audit.entries order by entry_id desc limit 1;
  if not found then
    select entry_id, entry_hash into last_id, last_hash from audit.anchors order by entry_id desc limit 1;
  end if;
  new.entry_id := coalesce(last_id, 0) + 1;
  new.at := clock_timestamp();
  new.previous_hash := coalesce(last_hash, decode(repeat('00', 32), 'hex'));
  new.entry_hash := sha256(new.previous_hash || convert_to(
    'audit/1,' || new.entry_id
    || ',' || (extract(epoch from new.at) * 1000000)::bigint
    || ',' || char_length(new.actor) || ':' || new.actor
    || ',' || char_length(new.action) || ':' || new.action
    || ',' || char_length(new.seller_id) || ':' || new.seller_id
    || ',' || coalesce(char_length(new.order_id) || ':' || new.order_id, '-')
    || ',' || char_length(new.purpose) || ':' || new.purpose
    || ',' || char_length(new.outcome) || ':' || new.outcome
    || ',' || char_length(new.detail::text) || ':' || new.detail::text, 'UTF8'));
  return new;
end $$;

create trigger chain before insert on audit.entries for each row execute function audit.chain();

create function audit.refuse() returns trigger language plpgsql as $$
begin
  raise exception using errcode = 'insufficient_privilege',
    message = 'the audit log is append-only: ' || lower(tg_op) || ' on audit.' || tg_table_name || ' is refused',
    hint = 'Entries older than 12 months go through audit.purge_before().';
end $$;

-- "always": also for a session that set session_replication_role, which skips ordinary triggers.
create trigger no_update before update on audit.entries for each row execute function audit.refuse();
create trigger no_truncate before truncate on audit.entries for each statement execute function audit.refuse();
alter table audit.entries enable always trigger no_update;
alter table audit.entries enable always trigger no_truncate;

-- No flag opens this door: an entry may go only when it is older than 12 months and an anchor holds its place in the chain.
create function audit.refuse_young_or_unanchored() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.at < clock_timestamp() - interval '12 months'
     and old.entry_id <= (select max(entry_id) from audit.anchors) then
    return old;
  end if;
  raise exception using errcode = 'insufficient_privilege',
    message = 'the audit log is append-only: delete on audit.entries is refused',
    hint = 'Entries older than 12 months go through audit.purge_before().';
end $$;

create trigger no_delete before delete on audit.entries for each row execute function audit.refuse_young_or_unanchored();
alter table audit.entries enable always trigger no_delete;

create function audit.check_anchor() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform 1 from audit.entries
    where entry_id = new.entry_id and entry_hash = new.entry_hash and at = new.newest_at
      and at < clock_timestamp() - interval '12 months';
  if not found then
    raise exception using errcode = 'insufficient_privilege',
      message = 'an anchor stands for an entry of the audit log that is older than 12 months, and for no other';
  end if;
  return new;
end $$;

create trigger check_anchor before insert on audit.anchors for each row execute function audit.check_anchor();
create trigger no_update before update on audit.anchors for each row execute function audit.refuse();
create trigger no_delete before delete on audit.anchors for each row execute function audit.refuse();
create trigger no_truncate before truncate on audit.anchors for each statement execute function audit.refuse();
alter table audit.anchors enable always trigger check_anchor;
alter table audit.anchors enable always trigger no_update;
alter table audit.anchors enable always trigger no_delete;
alter table audit.anchors enable always trigger no_truncate;

-- Forget the head of the log, at most `max_entries` a call (it holds the chain lock until the transaction ends), and
-- say so in the log. Returns how many entries went.
create function audit.purge_before(cutoff timestamptz, actor text default 'job:audit_purge', max_entries bigint default 20000)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  first_id bigint;
  boundary bigint;
  gone bigint;
begin
  if cutoff > clock_timestamp() - interval '12 months' then
    raise exception using errcode = 'insufficient_privilege',
      message = 'the audit log is kept for at least 12 months: nothing newer is purged';
  end if;
  perform pg_advisory_xact_lock(7206512449);
  select min(entry_id) into first_id from audit.entries;
  if first_id is null then
    return 0;
  end if;
  -- The first entry that stays decides: what comes before it goes, however the clock may have stepped.
  select coalesce(min(entry_id), first_id + max_entries) - 1 into boundary from audit.entries
    where at >= cutoff and entry_id < first_id + max_entries;
  select max(entry_id) into boundary from audit.entries where entry_id <= boundary;
  if boundary is null then
    return 0;
  end if;
  insert into audit.anchors (entry_id, entry_hash, newest_at, purged_by)
    select entry_id, entry_hash, at, purge_before.actor from audit.entries where entry_id = boundary;
  delete from audit.entries where entry_id <= boundary;
  get diagnostics gone = row_count;
  insert into audit.entries (actor, action, seller_id, purpose, outcome, detail)
    values (purge_before.actor, 'purge_audit', '*', 'retention', 'done',
            jsonb_build_object('entries', gone, 'through_entry', boundary));
  return gone;
end $$;

revoke all on function audit.purge_before(timestamptz, text, bigint) from public;
