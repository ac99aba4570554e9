"""Every table of the first release."""

from importlib.resources import files

from alembic import op
from sqlalchemy import text

from orders_pipeline.store.schema import SCHEMAS, metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(text(f"create schema if not exists {schema}"))
    metadata.create_all(op.get_bind())
    # roles.sql last: it grants on what is there. A later migration that adds a table runs it again.
    for name in ("audit.sql", "roles.sql"):
        op.get_bind().exec_driver_sql((files("orders_pipeline.store.migrations") / "sql" / name).read_text("utf-8"))


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
    for schema in reversed(SCHEMAS):
        op.execute(text(f"drop schema if exists {schema} cascade"))
