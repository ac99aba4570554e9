"""The table of fulfillment orders is called so; a cancellation that a message announced is called announced."""

from alembic import op

revision = "0019"
down_revision = "0018"
phase = "stopped"
branch_labels = None
depends_on = None


def _rename(old: str, new: str) -> tuple[str, ...]:
    return (
        f"alter table pipeline.{old} rename to {new}",
        f"alter table pipeline.{new} rename constraint pk_{old} to pk_{new}",
        f"alter index pipeline.ix_{old}_state rename to ix_{new}_state",
        f"alter index pipeline.ix_{old}_no_marketplace rename to ix_{new}_no_marketplace",
    )


def _reword(old: str, new: str, table: str, column: str) -> str:
    return (
        f"update pipeline.{table} set {column} = array_replace({column}, '{old}', '{new}') "  # noqa: S608
        f"where '{old}' = any({column})"
    )


def upgrade() -> None:
    for statement in (
        *_rename("fulfillment_queue", "fulfillment_orders"),
        _reword("cancellation_told", "cancellation_announced", "fulfillment_orders", "hold_reasons"),
        _reword("cancellation_told", "cancellation_announced", "orders", "waived_holds"),
    ):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        _reword("cancellation_announced", "cancellation_told", "orders", "waived_holds"),
        _reword("cancellation_announced", "cancellation_told", "fulfillment_orders", "hold_reasons"),
        *_rename("fulfillment_orders", "fulfillment_queue"),
    ):
        op.get_bind().exec_driver_sql(statement)
