"""Every table of the first release.

The SQL beside this is what was then: it is never changed, while the domains' tables.py go on changing.
"""

from importlib.resources import files

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
phase = "before"
branch_labels = None
depends_on = None

SCHEMAS = ("pipeline", "vault", "vault_keys", "audit")


def upgrade() -> None:
    # roles.sql last: it grants on what is there. A later migration that adds a table runs it again.
    for name in ("tables.sql", "audit.sql", "roles.sql"):
        op.get_bind().exec_driver_sql((files("orders_pipeline.database.migrations") / "sql" / name).read_text("utf-8"))


def downgrade() -> None:
    for schema in reversed(SCHEMAS):
        op.execute(text(f"drop schema if exists {schema} cascade"))
