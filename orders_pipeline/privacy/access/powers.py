"""Queries of what gives power over buyers' data beside a grant: roles, owners, and objects that read past the grants.

All of it is in PostgreSQL's own catalog, readable by every login. `database_rights.py` says what is meant to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

# Predefined roles that only watch: they read no table, and stop nobody. Any other counts, also one that is yet to come.
WATCHING = ("pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables", "pg_checkpoint",
            "pg_use_reserved_connections", "pg_database_owner")  # fmt: skip

# Roles whose rights are power: ours, the owners of what is ours, predefined ones, and those that no grant binds.
POWERFUL = """
  select oid from pg_roles where rolname = any(:roles)
    or (rolname like 'pg\\_%' and not rolname = any(:watching))
    or rolsuper or rolcreaterole or rolbypassrls or rolreplication
    or oid in (select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = any(:schemas))
    or oid in (select datdba from pg_database where datname = current_database())
"""

_MEMBERSHIPS = f"""
with recursive reach (member, target, via, may_give) as (
  select member, roleid, roleid, admin_option from pg_auth_members
  union
  select r.member, m.roleid, r.via, m.admin_option from reach r join pg_auth_members m on m.member = r.target
)
select pg_get_userbyid(member) as who, pg_get_userbyid(target) as role,
  min(pg_get_userbyid(via)::text) filter (where via <> target) as through, bool_or(may_give) as may_give,
  bool_or(via = target) as direct
from reach where target in ({POWERFUL}) group by 1, 2 order by 1, 2
"""  # noqa: S608  # our own constant

_UNBOUND = """
select rolname as who, concat_ws(', ', case when rolsuper then 'is a superuser' end,
  case when rolcreaterole then 'creates roles (CREATEROLE)' end,
  case when rolbypassrls then 'bypasses row security (BYPASSRLS)' end,
  case when rolreplication then 'may copy the whole server (REPLICATION)' end) as powers
from pg_roles where rolsuper or rolcreaterole or rolbypassrls or rolreplication order by 1
"""

_OWNERS = """
select pg_get_userbyid(owner) as who, min(object) as object, count(*) as objects from (
  select c.relowner as owner, n.nspname || '.' || c.relname as object
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where (n.nspname = any(:schemas) and c.relkind not in ('i', 'I', 't'))
    or c.oid = to_regclass('public.alembic_version')
  union all
  select p.proowner, n.nspname || '.' || p.proname || '()' from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = any(:schemas)
  union all
  select nspowner, 'schema ' || nspname from pg_namespace where nspname = any(:schemas)
  union all
  select datdba, 'database ' || datname from pg_database where datname = current_database()
) as owned group by owner order by 1
"""

# (what it is, its name, who could be behind it): each must be declared, or not be there.
_OBJECTS = """
with ours as (
  select c.oid, n.nspname as schema, n.nspname || '.' || c.relname as name, c.relkind, c.relrowsecurity
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any(:schemas)
), secret as (
  select oid from ours where schema in ('vault', 'vault_keys', 'audit') and relkind in ('r', 'p', 'v', 'm')
), elsewhere as (
  select oid, nspname from pg_namespace where nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
)
select distinct case v.relkind when 'm' then 'materialized view' when 'v' then 'view' else 'rule' end as kind,
  n.nspname || '.' || v.relname || case when v.relkind in ('v', 'm') then '' else '.' || r.rulename end as name,
  'reads or writes ' || t.name as what, pg_get_userbyid(v.relowner) as who
from pg_rewrite r join pg_class v on v.oid = r.ev_class join pg_namespace n on n.oid = v.relnamespace
join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
join ours t on t.oid = d.refobjid
where d.refobjid in (select oid from secret) and (v.relkind in ('v', 'm') or v.oid <> d.refobjid)
  and not (v.relkind in ('v', 'm') and v.oid = d.refobjid)
union
select 'rule', t.name || '.' || r.rulename, 'rewrites what is done to it', null
from pg_rewrite r join ours t on t.oid = r.ev_class where t.relkind in ('r', 'p')
union
select 'function', n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
  'runs with its owner''s rights (SECURITY DEFINER)', pg_get_userbyid(p.proowner)
from pg_proc p join elsewhere n on n.oid = p.pronamespace
where p.prosecdef and exists (select from ours t where t.schema in ('vault', 'vault_keys', 'audit')
    and t.relkind in ('r', 'p') and has_table_privilege(p.proowner, t.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
union
select 'trigger', t.name || '.' || g.tgname, 'calls ' || g.tgfoid::regproc::text, null
from pg_trigger g join ours t on t.oid = g.tgrelid where not g.tgisinternal
union
select 'row security', t.name, 'hides rows', null from ours t where t.relrowsecurity
  or exists (select from pg_policy p where p.polrelid = t.oid)
union
select 'inheritance', h.inhrelid::regclass::text, 'is a child of ' || h.inhparent::regclass::text, null
from pg_inherits h join ours t on t.oid in (h.inhrelid, h.inhparent) where t.relkind in ('r', 'p', 'f')
union
select 'default privileges', 'of ' || pg_get_userbyid(d.defaclrole),
  'give ' || string_agg(a.privilege_type, ', ' order by a.privilege_type) || ' on what is made to '
    || case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end, null
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
where (d.defaclnamespace = 0 or n.nspname = any(:schemas)) and a.grantee <> d.defaclrole
  -- What PostgreSQL gives to everybody anyway, written down: functions and types.
  and not (a.grantee = 0 and d.defaclobjtype in ('f', 'T') and d.defaclnamespace = 0)
group by d.defaclrole, a.grantee
union
select 'publication', p.pubname, 'sends ' || min(p.schemaname || '.' || p.tablename)
    || case when count(*) > 1 then ' and ' || count(*) - 1 || ' more' else '' end || ' elsewhere', null
from pg_publication_tables p where p.schemaname = any(:schemas) group by p.pubname
union
select 'subscription', s.subname, 'writes here what another server sends', pg_get_userbyid(s.subowner)
from pg_subscription s join pg_database b on b.oid = s.subdbid where b.datname = current_database()
union
select 'replication slot', s.slot_name, 'keeps every change of this database for who reads it', null
from pg_replication_slots s where s.database = current_database()
union
select 'foreign server', s.srvname, 'connects this database with another', pg_get_userbyid(s.srvowner)
from pg_foreign_server s
union
select 'foreign table', c.oid::regclass::text, 'is kept elsewhere', pg_get_userbyid(c.relowner)
from pg_class c where c.relkind = 'f'
union
select 'extension', e.extname, 'is none that PostgreSQL trusts', null
from pg_extension e left join pg_available_extension_versions v on v.name = e.extname and v.version = e.extversion
where not coalesce(v.trusted, false)
union
select 'language', l.lanname, 'reads files and starts programs (it is untrusted)', null
from pg_language l where not l.lanpltrusted and l.lanname not in ('internal', 'c')
union
select 'large objects', count(*)::text, 'are kept where no check looks', null
from pg_largeobject_metadata having count(*) > 0
union
select 'database', datname, 'is a template: who may make databases may copy it', null
from pg_database where datname = current_database() and datistemplate
union
select 'setting', coalesce('of ' || pg_get_userbyid(nullif(s.setrole, 0))::text, 'of everybody'),
  'is ' || split_part(c, '=', 1) || ' at each login', null
from pg_db_role_setting s, unnest(s.setconfig) c
where (s.setdatabase = 0 or s.setdatabase = (select oid from pg_database where datname = current_database()))
  and split_part(c, '=', 1) in ('session_replication_role', 'session_preload_libraries', 'local_preload_libraries')
order by 1, 2, 3
"""

# From PostgreSQL 15 on: who may set what only a superuser sets, such as session_replication_role.
_PARAMETERS = """
select 'setting' as kind, p.parname as name, 'may be changed by '
  || case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as what,
  case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as who
from pg_parameter_acl p, aclexplode(p.paracl) a where a.grantee <> 10 order by 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Membership:
    """`who` has the rights of `role`, by itself (`direct`) or through another; `may_give` them to others."""

    who: str
    role: str
    through: str | None
    may_give: bool
    direct: bool


@dataclass(frozen=True, slots=True)
class PowerfulObject:
    """Something in the database that reads, hides, sends or changes data past the grants. `who` owns it, or may."""

    kind: str
    name: str
    what: str
    who: str | None

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.what}"


def session_login(connection: Connection) -> str:
    """The login of this connection, whatever role it has taken on since."""
    return connection.execute(text("select session_user")).scalar_one()


def server_administrator(connection: Connection) -> str:
    """The superuser that the server was made with: on a managed server it is the provider's."""
    return connection.execute(text("select rolname from pg_roles where oid = 10")).scalar_one()


def memberships(connection: Connection, roles: Sequence[str], schemas: Sequence[str]) -> list[Membership]:
    """Everybody who has the rights of a powerful role. Predefined roles' own memberships are PostgreSQL's."""
    values = {"roles": list(roles), "schemas": list(schemas), "watching": list(WATCHING)}
    rows = connection.execute(text(_MEMBERSHIPS), values)
    return [
        Membership(row.who, row.role, None if row.direct else row.through, row.may_give, row.direct)
        for row in rows
        if not row.who.startswith("pg_")
    ]


def unbound_roles(connection: Connection) -> dict[str, str]:
    """What each role can do that no grant binds, in words."""
    return {row.who: row.powers for row in connection.execute(text(_UNBOUND))}


def owners(connection: Connection, schemas: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Who owns what is ours: one object of theirs, and how many there are."""
    rows = connection.execute(text(_OWNERS), {"schemas": list(schemas)})
    return {row.who: (row.object, row.objects) for row in rows}


def powerful_objects(connection: Connection, schemas: Sequence[str]) -> list[PowerfulObject]:
    """Everything of that kind that is there, ours included."""
    rows = list(connection.execute(text(_OBJECTS), {"schemas": list(schemas)}))
    if connection.execute(text("select current_setting('server_version_num')::int")).scalar_one() >= 150_000:
        rows += connection.execute(text(_PARAMETERS))
    return [PowerfulObject(row.kind, row.name, row.what, row.who) for row in rows]
