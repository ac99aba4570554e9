-- The chain lock is a table that only who may append can lock: an advisory lock could be taken by any session.
-- Run by migration 0004. Replaces two functions of audit.sql; all else in them is as it was.

create or replace function audit.chain() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
declare
  last_id bigint;
  last_hash bytea;
begin
  lock table audit.chain_lock in exclusive mode;
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

-- Forget the head of the log, at most `max_entries` a call (it holds the chain lock until the transaction ends), and
-- say so in the log. Returns how many entries went.
create or replace function audit.purge_before(cutoff timestamptz, actor text default 'job:audit_purge', max_entries bigint default 20000)
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
  lock table audit.chain_lock in exclusive mode;
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
