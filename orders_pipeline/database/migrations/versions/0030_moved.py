"""Nothing: what it did is done by 0035, for what comes after the new code started is the last of a release.

Databases that had it are at this revision.
"""

revision = "0030"
down_revision = "0029"
phase = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
