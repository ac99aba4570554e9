"""What an edit changes of what Amazon may show; and the warehouse's events that are looked at again have an index.

Of what was told before, it is not known which was an edit: quantities prove none of those that are under way.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table pipeline.shipment_confirmations add column edited text",
    """comment on column pipeline.shipment_confirmations.edited
         is 'what is other than Amazon may show under the reference id: label, facts'""",
    """update pipeline.shipment_confirmations set edited = 'label'
         where sends > 1 or sends > 0 and state in ('pending', 'held')""",
    """create index ix_wms_shipments_again on pipeline.wms_shipments (seller_id, outcome)
         where outcome in ('unknown_order', 'defect')""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        "drop index pipeline.ix_wms_shipments_again",
        "alter table pipeline.shipment_confirmations drop column edited",
    ):
        op.get_bind().exec_driver_sql(statement)
