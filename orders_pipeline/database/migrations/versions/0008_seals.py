"""The newest seal of each record, so that an older one put back in its place is found.

Records of before have no number in what is authenticated; they open, and the next rotation seals them anew. Stop the
release of before first: what it stores after this is not the newest seal of anything, and is refused.
"""

from importlib.resources import files

from alembic import op

revision = "0008"
down_revision = "0007"
phase = "stopped"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table pipeline.seals (
         seller_id text not null, kind text not null, subject_id text not null,
         seal_number bigint not null generated always as identity, aad_version integer not null,
         constraint pk_seals primary key (seller_id, kind, subject_id))""",
    "comment on column pipeline.seals.seal_number is 'no two seals have the same'",
    """create index ix_seals_older_format on pipeline.seals (seller_id, kind, subject_id) where aad_version < 2""",
    "alter table vault.records add column seal_number bigint not null default 0",
    """insert into pipeline.seals (seller_id, kind, subject_id, aad_version)
         select seller_id, kind, subject_id, aad_version from vault.records""",
    """update vault.records r set seal_number = s.seal_number from pipeline.seals s
         where s.seller_id = r.seller_id and s.kind = r.kind and s.subject_id = r.subject_id""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    op.get_bind().exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        "do $$ begin if exists (select from vault.records where aad_version > 1) then raise exception "
        "'the release before cannot open records of format 2: restore a dump of before instead'; end if; end $$"
    )
    for statement in ("alter table vault.records drop column seal_number", "drop table pipeline.seals"):
        op.get_bind().exec_driver_sql(statement)
