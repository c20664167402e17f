"""Searches have owners, and names of private devices are their owners' own."""

import sqlalchemy as sa
from alembic import op

revision = "0005_owners"
down_revision = "0003_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the devices' table anew: its primary key grows, which SQLite does not alter."""
    op.execute("CREATE TABLE moved AS SELECT * FROM device_tables")
    op.drop_table("device_tables")
    op.create_table(
        "device_tables",
        sa.Column("private_to", sa.String(64), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("space", sa.String(64), nullable=False),
        sa.Column("precision", sa.String(8), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("measurements", sa.JSON()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.PrimaryKeyConstraint(
            *("private_to", "device", "space", "precision", "revision"),
            name=op.f("pk_device_tables"),
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["profiles.sha256"], name=op.f("fk_device_tables_sha256")
        ),
        sa.CheckConstraint("revision >= 1", name=op.f("ck_device_tables_revision")),
        sa.CheckConstraint(
            "private_to = '' OR (owner IS NOT NULL AND private_to = owner)",
            name=op.f("ck_device_tables_private_to"),
        ),
    )
    op.create_index(op.f("ix_device_tables_sha256"), "device_tables", ["sha256"])
    kept = "device, space, precision, revision, sha256, measurements, created_at, owner"
    op.execute(
        f"INSERT INTO device_tables (private_to, {kept}) "
        f"SELECT CASE WHEN shared THEN '' ELSE owner END, {kept} FROM moved"
    )
    op.drop_table("moved")
    op.create_table(
        "search_owners",
        sa.Column("search_id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("search_id", name=op.f("pk_search_owners")),
        sa.ForeignKeyConstraint(
            ["search_id"], ["searches.id"], name=op.f("fk_search_owners_search_id")
        ),
    )
    op.create_index(op.f("ix_search_owners_owner"), "search_owners", ["owner"])
    op.create_index(op.f("ix_search_owners_shared"), "search_owners", ["shared"])
