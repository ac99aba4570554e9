"""Authorizations by the seller's consent: what is known of each refresh token, and the consents that were asked for.

A refresh token lies sealed beside the access tokens, as of a hundred years: its end is not known.
"""

from importlib.resources import files

from alembic import op

revision = "0037"
down_revision = "0036"
phase = "before"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """create table pipeline.amazon_authorizations (
         account_id text not null, fingerprint text not null, source text not null, authorized_at timestamptz,
         authorized_by text, due_at timestamptz, due_because text,
         used_at timestamptz not null default clock_timestamp(), worked_at timestamptz, refused_since timestamptz,
         refused_at timestamptz, refusals integer not null default 0, kept_until timestamptz, ended_at timestamptz,
         erased_at timestamptz,
         constraint pk_amazon_authorizations primary key (account_id, fingerprint))""",
    "comment on column pipeline.amazon_authorizations.fingerprint is 'of the application and the refresh token'",
    "comment on column pipeline.amazon_authorizations.source is 'consent, typed or settings'",
    "comment on column pipeline.amazon_authorizations.authorized_by is 'as the audit log names people'",
    "comment on column pipeline.amazon_authorizations.due_because is 'age or roles'",
    """create table pipeline.amazon_consents (
         state_hash text not null, account_id text not null, asked_by text not null, session_id text,
         browser_hash text, redirect_uri text not null, asked_at timestamptz not null default clock_timestamp(),
         expires_at timestamptz not null, used_at timestamptz,
         constraint pk_amazon_consents primary key (state_hash))""",
    "comment on column pipeline.amazon_consents.asked_by is 'as the audit log names people'",
    "comment on column pipeline.amazon_consents.session_id is 'of the login; null where nobody logs in'",
    "comment on column pipeline.amazon_consents.browser_hash is 'null for one that was asked for at a terminal'",
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
    roles = files("orders_pipeline.database.migrations") / "sql" / "roles.sql"
    connection.exec_driver_sql(roles.read_text("utf-8"))


def downgrade() -> None:
    connection = op.get_bind()
    connection.exec_driver_sql("drop table pipeline.amazon_consents")
    connection.exec_driver_sql("drop table pipeline.amazon_authorizations")
