"""Queries of who may do what in the database: as it is now, and as it was when last looked at.

Belongs here: reading PostgreSQL's own lists of grants, memberships and powers. Elsewhere: what each role should have
(compliance.roles), noting what changed (compliance.role_changes).

Every grantee is looked at, not only our roles: a grant on the vault to somebody's login is what an auditor asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from orders_pipeline.store.database import AnyRow

# One grant a row: to whom, on what, which privileges. Owners are left out: what is theirs is not granted.
_GRANTS = """
select grantee, object, string_agg(distinct privilege, ', ' order by privilege) as privileges from (
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end as grantee,
    n.nspname || '.' || c.relname as object, a.privilege_type as privilege
  from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
  where n.nspname = any(:schemas) and c.relkind in ('r', 'p', 'v', 'm', 'S') and a.grantee <> c.relowner
  union all
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end,
    n.nspname || '.' || c.relname || '.' || t.attname, a.privilege_type
  from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace,
    aclexplode(t.attacl) a
  where n.nspname = any(:schemas) and not t.attisdropped and a.grantee <> c.relowner
  union all
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end,
    n.nspname || '.' || p.proname || '()', a.privilege_type
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a
  where n.nspname = any(:schemas) and a.grantee <> p.proowner
  union all
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end,
    'schema ' || n.nspname, a.privilege_type
  from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = any(:schemas) and a.grantee <> n.nspowner
) as every_grant group by grantee, object order by grantee, object
"""

# Who is a member of whom, as far as it leads to our roles, to an owner of our tables, or to a predefined role that
# reads or writes everything.
_MEMBERSHIPS = """
with recursive powerful as (
  select oid from pg_roles where rolname = any(:roles)
    or rolname in ('pg_read_all_data', 'pg_write_all_data')
    or oid in (select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = any(:schemas))
  union
  select m.member from pg_auth_members m join powerful p on p.oid = m.roleid
)
select distinct pg_get_userbyid(m.member) as member, pg_get_userbyid(m.roleid) as role
from pg_auth_members m join powerful p on p.oid = m.roleid order by 1, 2
"""

_POWERS = """
select rolname as role, concat_ws(', ', case when rolsuper then 'superuser' end,
  case when rolcreaterole then 'creates roles' end, case when rolbypassrls then 'bypasses row security' end) as powers
from pg_roles where rolsuper or rolcreaterole or rolbypassrls order by 1
"""


def grants(connection: Connection, schemas: Sequence[str]) -> Sequence[AnyRow]:
    """(grantee, object, privileges) of every grant in these schemas to anybody but the owner; `public` is everybody."""
    return list(connection.execute(text(_GRANTS), {"schemas": list(schemas)}))


def memberships(connection: Connection, roles: Sequence[str], schemas: Sequence[str]) -> Sequence[AnyRow]:
    """(member, role) of every membership by which somebody has the rights of these roles, or of the tables' owner."""
    return list(connection.execute(text(_MEMBERSHIPS), {"roles": list(roles), "schemas": list(schemas)}))


def powers(connection: Connection) -> Sequence[AnyRow]:
    """(role, powers) of every role that is bound by no grant, or that can make others."""
    return list(connection.execute(text(_POWERS)))


def known_grants(connection: Connection) -> set[tuple[str, str]]:
    """(who, what) as it was when last looked at. Who looks next waits until this transaction ends."""
    connection.execute(text("lock table pipeline.database_grants in share row exclusive mode"))
    return {(row[0], row[1]) for row in connection.execute(text("select who, what from pipeline.database_grants"))}


def note_grants(connection: Connection, added: Iterable[tuple[str, str]], gone: Iterable[tuple[str, str]]) -> None:
    """Remember what is new, forget what is gone."""
    for statement, rows in (
        ("insert into pipeline.database_grants (who, what) values (:who, :what)", added),
        ("delete from pipeline.database_grants where who = :who and what = :what", gone),
    ):
        values = [{"who": who, "what": what} for who, what in rows]
        if values:
            connection.execute(text(statement), values)
