"""Executors: what the last heartbeat was signed with, so that two of one name notice each other."""

import sqlalchemy as sa
from alembic import op

revision = "0008_executor_tokens"
down_revision = "0007_searches_of_a_device"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("executors", sa.Column("token", sa.String(32), nullable=False, server_default=""))
