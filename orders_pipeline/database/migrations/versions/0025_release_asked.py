"""The state `release` is `release_asked`, as `hold_asked` and `cancel_asked` are: the warehouse has yet to answer."""

from alembic import op

revision = "0025"
down_revision = "0024"
phase = "stopped"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        "update pipeline.fulfillment_orders set state = 'release_asked' where state = 'release'"
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        "update pipeline.fulfillment_orders set state = 'release' where state = 'release_asked'"
    )
