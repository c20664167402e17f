"""API keys with their token buckets, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0004_access"
down_revision = "0002_devices"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_keys",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(6), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("tokens_at_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_api_keys")),
        sa.CheckConstraint("scope IN ('read', 'search', 'admin')", name=op.f("ck_api_keys_scope")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("key_id", sa.String(12)),
        sa.Column("action", sa.String(300), nullable=False),
        sa.Column("target", sa.String(300)),
        sa.Column("status", sa.Integer()),
        sa.Column("request_id", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_owner_id"), "audit", ["owner", "id"])
