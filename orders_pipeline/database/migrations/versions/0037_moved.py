"""Nothing: what it did is done by 0038, for what comes after the new code started is the last of a release.

Databases that had it are at this revision.
"""

revision = "0037"
down_revision = "0032"
phase = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
