"""The key of every row is an account (one seller in one region): `seller_id` becomes `account_id`.

Stored values stay: the account of an installation from before has its seller's id. The audit log keeps the old name,
for its hashes contain it, and so do Amazon's rate limits, which Amazon counts by seller.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
phase = "stopped"
branch_labels = None
depends_on = None

# Columns, then the constraints and indexes that PostgreSQL named after them.
RENAME = """
do $$
declare found record;
begin
  for found in
    select c.oid::regclass as relation from pg_attribute a
    join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('pipeline', 'vault', 'vault_keys') and c.relkind = 'r'
      and a.attname = '{old}' and c.relname <> 'amazon_rate_limits'
  loop
    execute format('alter table %s rename column {old} to {new}', found.relation);
  end loop;
  for found in
    select k.conname as name, k.conrelid::regclass as relation from pg_constraint k
    join pg_namespace n on n.oid = k.connamespace
    where n.nspname in ('pipeline', 'vault', 'vault_keys') and k.conname like '%{pattern}%'
  loop
    execute format('alter table %s rename constraint %I to %I',
      found.relation, found.name, replace(found.name, '{old}', '{new}'));
  end loop;
  for found in
    select c.relname as name, c.oid::regclass as relation from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('pipeline', 'vault', 'vault_keys') and c.relkind = 'i' and c.relname like '%{pattern}%'
  loop
    execute format('alter index %s rename to %I', found.relation, replace(found.name, '{old}', '{new}'));
  end loop;
end $$
"""


def _rename(old: str, new: str) -> None:
    statement = RENAME.replace("{old}", old).replace("{new}", new).replace("{pattern}", old.replace("_", "\\_"))
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


# PostgreSQL's longest name cuts this one in the middle of a column's.
CUT = "uq_search_windows_seller_id_purpose_updated_after_updat_665a"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        f"alter table pipeline.search_windows rename constraint {CUT} to uq_search_windows_window"
    )
    _rename("seller_id", "account_id")


def downgrade() -> None:
    _rename("account_id", "seller_id")
    op.get_bind().exec_driver_sql(
        f"alter table pipeline.search_windows rename constraint uq_search_windows_window to {CUT}"
    )
