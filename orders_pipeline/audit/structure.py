"""The audit log's structure as the database has it, and as the migrations declare it, fact by fact.

A trigger can be recreated so that it never fires, a default can call a function, a child table can add rows. So nothing
is counted: every definition is compared in full, and whatever is there and not declared is a difference too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from sqlalchemy import Connection, text

# The SQL that declares audit's functions, oldest first: a later file replaces a function of an earlier one.
FUNCTION_FILES = ("audit.sql", "audit_lock.sql")
_SHOWN_CHARACTERS = 90

_GUARDED = " SECURITY DEFINER SET search_path TO 'pg_catalog', 'pg_temp'"
_FUNCTIONS = {
    "chain()": f"RETURNS trigger LANGUAGE plpgsql{_GUARDED}",
    "refuse()": "RETURNS trigger LANGUAGE plpgsql",
    "refuse_young_or_unanchored()": f"RETURNS trigger LANGUAGE plpgsql{_GUARDED}",
    "check_anchor()": f"RETURNS trigger LANGUAGE plpgsql{_GUARDED}",
    (
        "purge_before(cutoff timestamp with time zone, actor text DEFAULT 'job:audit_purge'::text, "
        "max_entries bigint DEFAULT 20000)"
    ): f"RETURNS bigint LANGUAGE plpgsql{_GUARDED}",
}

# (table, trigger): when it fires, what it calls, and whether a session may set it aside (O) or never (A).
_TRIGGERS = {
    ("entries", "chain"): ("BEFORE INSERT", "ROW", "chain", "O"),
    ("entries", "no_update"): ("BEFORE UPDATE", "ROW", "refuse", "A"),
    ("entries", "no_delete"): ("BEFORE DELETE", "ROW", "refuse_young_or_unanchored", "A"),
    ("entries", "no_truncate"): ("BEFORE TRUNCATE", "STATEMENT", "refuse", "A"),
    ("anchors", "check_anchor"): ("BEFORE INSERT", "ROW", "check_anchor", "A"),
    ("anchors", "no_update"): ("BEFORE UPDATE", "ROW", "refuse", "A"),
    ("anchors", "no_delete"): ("BEFORE DELETE", "ROW", "refuse", "A"),
    ("anchors", "no_truncate"): ("BEFORE TRUNCATE", "STATEMENT", "refuse", "A"),
}

_COLUMNS = {
    "entries": (
        ("entry_id", "bigint not null"),
        ("at", "timestamp with time zone not null"),
        ("actor", "text not null"),
        ("action", "text not null"),
        ("seller_id", "text not null"),
        ("order_id", "text"),
        ("purpose", "text not null"),
        ("outcome", "text not null"),
        ("detail", "jsonb not null default '{}'::jsonb"),
        ("previous_hash", "bytea not null"),
        ("entry_hash", "bytea not null"),
    ),
    "anchors": (
        ("entry_id", "bigint not null"),
        ("entry_hash", "bytea not null"),
        ("newest_at", "timestamp with time zone not null"),
        ("purged_at", "timestamp with time zone not null default clock_timestamp()"),
        ("purged_by", "text not null"),
    ),
    "chain_lock": (),
}

_INDEXES = {
    "pk_entries": "CREATE UNIQUE INDEX pk_entries ON audit.entries USING btree (entry_id)",
    "ix_entries_at": "CREATE INDEX ix_entries_at ON audit.entries USING btree (at)",
    "ix_entries_order": "CREATE INDEX ix_entries_order ON audit.entries USING btree (seller_id, order_id)",
    "ix_entries_rare_actions": "CREATE INDEX ix_entries_rare_actions ON audit.entries USING btree (action, at) WHERE "
    "(action = ANY (ARRAY['role_change'::text, 'mend_times'::text, 'export_audit'::text, 'destroy_key'::text]))",
    "pk_anchors": "CREATE UNIQUE INDEX pk_anchors ON audit.anchors USING btree (entry_id)",
}

_TABLE = "an ordinary, logged table without row security"

# One fact a row: what it is, its name, its definition. All of it is readable by every login.
_FACTS = """
select 'table' as kind, cast(c.relname as text) as name,
  case when c.relkind = 'r' and c.relpersistence = 'p' and not c.relrowsecurity and not c.relforcerowsecurity
       then :table_words else concat_ws(' ', 'kind', c.relkind, 'persistence', c.relpersistence,
         case when c.relrowsecurity or c.relforcerowsecurity then 'with row security' end) end as definition
from pg_class c where c.relnamespace = to_regnamespace('audit') and c.relkind not in ('i', 'I', 't')
union all
select 'column', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
  || case when a.attnotnull then ' not null' else '' end
  || case when a.attgenerated <> '' then ' generated' when a.attidentity <> '' then ' identity' else '' end
  || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
from pg_attribute a join pg_class c on c.oid = a.attrelid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = to_regnamespace('audit') and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
union all
select 'constraint', c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
from pg_constraint k join pg_class c on c.oid = k.conrelid
-- A column's own "not null" is a constraint from PostgreSQL 18 on; it is compared with the column.
where c.relnamespace = to_regnamespace('audit') and k.contype <> 'n'
union all
select 'index', cast(i.relname as text),
  pg_get_indexdef(i.oid) || case when x.indisvalid and x.indisready then '' else ' (off)' end
from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class c on c.oid = x.indrelid
where c.relnamespace = to_regnamespace('audit')
union all
select 'trigger', c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' (' || cast(t.tgenabled as text) || ')'
-- Also internal ones: our tables have none, and the mark is a column that a superuser can set.
from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = to_regnamespace('audit')
union all
select 'function', p.proname || '(' || pg_get_function_arguments(p.oid) || ')',
  case when p.prokind in ('f', 'p') then pg_get_functiondef(p.oid) else 'aggregate' end
from pg_proc p where p.pronamespace = to_regnamespace('audit')
union all
select 'rule', c.relname || '.' || r.rulename, pg_get_ruledef(r.oid)
from pg_rewrite r join pg_class c on c.oid = r.ev_class
where c.relnamespace = to_regnamespace('audit') and c.relkind in ('r', 'p')
union all
select 'policy', c.relname || '.' || p.polname, 'row security'
from pg_policy p join pg_class c on c.oid = p.polrelid where c.relnamespace = to_regnamespace('audit')
union all
select 'inheritance', h.inhrelid::regclass::text, 'child of ' || h.inhparent::regclass::text
from pg_inherits h join pg_class c on c.oid in (h.inhrelid, h.inhparent)
where c.relnamespace = to_regnamespace('audit') and c.relkind in ('r', 'p', 'f')
union all
-- It fires on every change of the schema, also on one that mends a trigger.
select 'event trigger', cast(e.evtname as text), 'calls ' || e.evtfoid::regproc::text
from pg_event_trigger e where e.evtenabled <> 'D'
  and not exists (select from pg_depend d where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid
    and d.deptype = 'e')
"""


@dataclass(frozen=True, slots=True)
class AuditStructure:
    """`declared` facts, of which `held` are as they were written; every difference is a sentence."""

    declared: int
    held: int
    differences: tuple[str, ...]


def audit_structure(connection: Connection) -> AuditStructure:
    """Compare all that can change or drop an audit entry with what the migrations declare."""
    rows = connection.execute(text(_FACTS), {"table_words": _TABLE})
    found = {(row.kind, row.name): _one_line(row.definition) for row in rows}
    declared = _declared()
    differences = [
        f"{kind} {name} is {_shown(found.get((kind, name)), definition)}"
        for (kind, name), definition in declared.items()
        if found.get((kind, name)) != definition
    ]
    strangers = [
        f"{kind} {name} is not ours: {_cut(found[kind, name])}" for kind, name in found.keys() - declared.keys()
    ]
    return AuditStructure(len(declared), len(declared) - len(differences), (*differences, *sorted(strangers)))


def _declared() -> dict[tuple[str, str], str]:
    bodies = _bodies_as_written()
    facts = {("table", table): _TABLE for table in _COLUMNS}
    facts |= {
        ("column", f"{table}.{name}"): definition for table, columns in _COLUMNS.items() for name, definition in columns
    }
    facts |= {("constraint", f"{table}.pk_{table}"): "PRIMARY KEY (entry_id)" for table in ("entries", "anchors")}
    facts |= {("index", name): definition for name, definition in _INDEXES.items()}
    facts |= {
        ("trigger", f"{table}.{name}"): f"CREATE TRIGGER {name} {when} ON audit.{table} FOR EACH {each} "
        f"EXECUTE FUNCTION audit.{function}() ({enabled})"
        for (table, name), (when, each, function, enabled) in _TRIGGERS.items()
    }
    facts |= {
        ("function", signature): _one_line(
            f"CREATE OR REPLACE FUNCTION audit.{signature} {head} "
            f"AS $function${bodies[signature.split('(')[0]]}$function$"
        )
        for signature, head in _FUNCTIONS.items()
    }
    return facts


def _bodies_as_written() -> dict[str, str]:
    """The bodies of audit's functions, by name: what stands in the database must be these, to the letter."""
    bodies: dict[str, str] = {}
    for name in FUNCTION_FILES:
        sql = (files("orders_pipeline.database.migrations") / "sql" / name).read_text("utf-8")
        bodies |= dict(re.findall(r"create (?:or replace )?function audit\.(\w+)\(.*?\$\$(.*?)\$\$", sql, re.DOTALL))
    return bodies


def _one_line(definition: str) -> str:
    # Only the head that the server formats: a body is compared as it is.
    head, separator, body = definition.partition("AS $function$")
    return " ".join(head.split()) + (f" {separator}{body.rstrip()}" if separator else "")


def _shown(found: str | None, declared: str) -> str:
    if found is None:
        return "not there"
    if len(found) <= _SHOWN_CHARACTERS:
        return f"{found!r}, declared {_cut(declared)!r}"
    # Where two long texts differ is what helps a person.
    place = next((n for n, (a, b) in enumerate(zip(found, declared, strict=False)) if a != b), len(declared))
    return f"other than declared, from {_cut(found[max(0, place - 10) :])!r} on"


def _cut(definition: str) -> str:
    return definition if len(definition) <= _SHOWN_CHARACTERS else f"{definition[:_SHOWN_CHARACTERS]}…"
