"""Queries of who may do what in the database: as it is now, and as it was when last looked at.

Every grantee is looked at, not only our roles: a grant on the vault to somebody's login is what an auditor asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.database.engine import AnyRow
from orders_pipeline.privacy.access.powers import POWERFUL, WATCHING

# One grant a row: to whom, on what, which privileges. Owners are left out: what is theirs is not granted. A function
# without a list of grants may be executed by everybody.
_PRIVILEGES = """
select grantee, object, string_agg(distinct privilege, ', ' order by privilege) as privileges from (
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee, g.object,
    a.privilege_type || case when a.is_grantable then ' and may give it on' else '' end as privilege
  from (
    select n.nspname || '.' || c.relname as object, c.relacl as acl, c.relowner as owner
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any(:schemas) and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    union all
    select n.nspname || '.' || c.relname || '.' || t.attname, t.attacl, c.relowner
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any(:schemas) and not t.attisdropped
    union all
    select n.nspname || '.' || p.proname || '()', coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = any(:schemas)
    union all
    select 'schema ' || n.nspname, n.nspacl, n.nspowner from pg_namespace n where n.nspname = any(:schemas)
  ) as g, aclexplode(g.acl) as a
  where a.grantee <> g.owner
  union all
  -- Who can make objects in a schema that is searched can have ours call theirs.
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end, 'schema ' || n.nspname,
    a.privilege_type
  from pg_namespace n, aclexplode(n.nspacl) a
  where n.nspname = 'public' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
  union all
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end, 'database ' || d.datname,
    a.privilege_type
  from pg_database d, aclexplode(d.datacl) a
  where d.datname = current_database() and a.privilege_type = 'CREATE' and a.grantee <> d.datdba
  union all
  -- PostgreSQL's own functions and tables, as far as somebody was given more than it gives itself.
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end, g.object, a.privilege_type
  from (
    select 'pg_proc'::regclass as class, p.oid, 'pg_catalog.' || p.proname || '()' as object, p.proacl as acl,
      p.proowner as owner
    from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proacl is not null
    union all
    select 'pg_class'::regclass, c.oid, 'pg_catalog.' || c.relname, c.relacl, c.relowner
    from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relacl is not null
  ) as g left join pg_init_privs i on i.objoid = g.oid and i.classoid = g.class and i.objsubid = 0,
    aclexplode(g.acl) as a
  where a.grantee <> g.owner and not exists (
    select from aclexplode(i.initprivs) as b where b.grantee = a.grantee and b.privilege_type = a.privilege_type)
) as every_grant group by grantee, object order by grantee, object
"""

# Who is a member of whom, as far as it leads to a role with power over what is ours.
_MEMBERSHIPS = f"""
with recursive powerful as (
  select oid from ({POWERFUL}) as named
  union
  select m.member from pg_auth_members m join powerful p on p.oid = m.roleid
)
select distinct pg_get_userbyid(m.member) as member, pg_get_userbyid(m.roleid) as role
from pg_auth_members m join powerful p on p.oid = m.roleid
where not pg_get_userbyid(m.member)::text like 'pg\\_%' order by 1, 2
"""  # noqa: S608  # our own constant

_POWERS = """
select rolname as role, concat_ws(', ', case when rolsuper then 'superuser' end,
  case when rolcreaterole then 'creates roles' end, case when rolbypassrls then 'bypasses row security' end,
  case when rolreplication then 'copies the server' end) as powers
from pg_roles where rolsuper or rolcreaterole or rolbypassrls or rolreplication order by 1
"""


def existing_roles(connection: Connection, roles: Sequence[str]) -> list[str]:
    """Those of the roles that this server has, in the order given."""
    found = set(
        connection.execute(text("select rolname from pg_roles where rolname = any(:roles)"), {"roles": list(roles)})
        .scalars()
        .all()
    )
    return [role for role in roles if role in found]


def tables(connection: Connection, schemas: Sequence[str]) -> list[str]:
    """Every table and view of these schemas, as schema.name: "all tables" of a grant means views too."""
    return list(
        connection.execute(
            text("""
                select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = any(:schemas) and c.relkind in ('r', 'p', 'v', 'm') order by 1
            """),
            {"schemas": list(schemas)},
        ).scalars()
    )


def granted_privileges(connection: Connection, schemas: Sequence[str]) -> Sequence[AnyRow]:
    """(grantee, object, privileges) of every grant in these schemas to anybody but the owner; `public` is everybody."""
    return list(connection.execute(text(_PRIVILEGES), {"schemas": list(schemas)}))


def memberships(connection: Connection, roles: Sequence[str], schemas: Sequence[str]) -> Sequence[AnyRow]:
    """(member, role) of every membership by which somebody has the rights of these roles, or of the tables' owner."""
    values = {"roles": list(roles), "schemas": list(schemas), "watching": list(WATCHING)}
    return list(connection.execute(text(_MEMBERSHIPS), values))


def powers(connection: Connection) -> Sequence[AnyRow]:
    """(role, powers) of every role that is bound by no grant, or that can make others."""
    return list(connection.execute(text(_POWERS)))


def lock_recorded_privileges(connection: Connection) -> None:
    """Who looks next waits until this transaction ends."""
    connection.execute(text("lock table pipeline.database_privileges in share row exclusive mode"))


def recorded_privileges(connection: Connection) -> dict[tuple[str, str], bool]:
    """(who, what) as it was when last looked at, and whether an audit entry told of it.

    The list is a table that the pipeline's own login writes: a row counts as far as the audit log has told of it, so
    that nobody hides a right by noting it beforehand.
    """
    rows = connection.execute(
        text("""
            select g.who, g.what, exists (select from audit.entries e where e.entry_id = g.entry_id
            and e.action = 'role_change' and e.outcome in ('granted', 'first_look')
            and e.detail->>'who' = g.who and e.detail->>'what' = g.what) as told from pipeline.database_privileges g
        """)
    )
    return {(row.who, row.what): row.told for row in rows}


def were_recorded(connection: Connection) -> bool:
    """Whether the audit log has any entry about rights: then an empty list was emptied by somebody."""
    return connection.execute(
        text("select exists (select from audit.entries where action = 'role_change')")
    ).scalar_one()


def delete_privileges(connection: Connection, gone: Iterable[tuple[str, str]]) -> None:
    values = [{"who": who, "what": what} for who, what in gone]
    if values:
        connection.execute(text("delete from pipeline.database_privileges where who = :who and what = :what"), values)


def record_privileges(connection: Connection, entries: int) -> None:
    """Remember every right that the newest audit entries told of: so many were written in this transaction."""
    connection.execute(
        text("""
            insert into pipeline.database_privileges (who, what, entry_id)
            select detail->>'who', detail->>'what', max(entry_id) from audit.entries
            where entry_id > (select max(entry_id) from audit.entries) - :entries
            and action = 'role_change' and outcome in ('granted', 'first_look') group by 1, 2
        """),
        {"entries": entries},
    )
