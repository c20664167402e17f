"""Users' latency tables, with their revisions."""

import sqlalchemy as sa
from alembic import op

revision = "0002_devices"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "device_tables",
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("space", sa.String(64), nullable=False),
        sa.Column("precision", sa.String(8), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("measurements", sa.JSON()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "device", "space", "precision", "revision", name=op.f("pk_device_tables")
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["profiles.sha256"], name=op.f("fk_device_tables_sha256")
        ),
        sa.CheckConstraint("revision >= 1", name=op.f("ck_device_tables_revision")),
        sa.CheckConstraint("shared OR owner IS NOT NULL", name=op.f("ck_device_tables_shared")),
    )
    op.create_index(op.f("ix_device_tables_sha256"), "device_tables", ["sha256"])
