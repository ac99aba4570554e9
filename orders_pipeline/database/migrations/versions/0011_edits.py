"""What an edit changes of what Amazon may show; and indexes over the events and packages that are looked at again.

Of what was told before, it is not known which was an edit: quantities prove none of those that are under way.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
phase = "stopped"
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
    """create index ix_shipment_confirmations_voided on pipeline.shipment_confirmations (seller_id, order_id)
         where state = 'voided' and sends = 0""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    for statement in (
        "drop index pipeline.ix_shipment_confirmations_voided",
        "drop index pipeline.ix_wms_shipments_again",
        "alter table pipeline.shipment_confirmations drop column edited",
    ):
        op.get_bind().exec_driver_sql(statement)
