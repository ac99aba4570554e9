"""A database's schema as facts, one by one, so that two schemas can be compared by sets."""

from __future__ import annotations

from sqlalchemy import Connection, text

# (kind, table, name, what PostgreSQL says of it)
Fact = tuple[str, str, str, str]

_OURS = "n.nspname in ('pipeline', 'vault', 'vault_keys', 'audit')"
_FACTS = f"""
select 'table', c.oid::regclass::text, '', coalesce(obj_description(c.oid), '')
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'v') and {_OURS}
union all
select 'column', c.oid::regclass::text, a.attname,
       format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
       || case a.attidentity when 'a' then ' identity' when 'd' then ' identity by default' else '' end
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and a.attnum > 0 and not a.attisdropped and {_OURS}
union all
select 'default', c.oid::regclass::text, a.attname, pg_get_expr(d.adbin, d.adrelid)
  from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace where {_OURS}
union all
select 'comment', c.oid::regclass::text, a.attname, col_description(c.oid, a.attnum)
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
 where a.attnum > 0 and col_description(c.oid, a.attnum) is not null and {_OURS}
union all
select 'index', i.indrelid::regclass::text, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
  from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace where {_OURS}
union all
select 'constraint', k.conrelid::regclass::text, k.conname, pg_get_constraintdef(k.oid)
  from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
 where k.contype <> 'n' and {_OURS}
union all
select 'trigger', t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid)
  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
 where not t.tgisinternal and {_OURS}
union all
select 'function', '', p.oid::regprocedure::text, pg_get_functiondef(p.oid)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {_OURS}
"""


def schema_facts(connection: Connection) -> set[Fact]:
    """Tables, columns, defaults, comments, indexes, constraints, triggers and functions of our schemas."""
    return {(row[0], row[1], row[2], row[3]) for row in connection.execute(text(_FACTS))}
