"""Links: one-time addresses that other devices open."""

import sqlalchemy as sa
from alembic import op

revision = "0009_links"
down_revision = "0008_executor_tokens"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table, and count of each search how often devices tried its model."""
    op.add_column("searches", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "links",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("code_sha256", sa.String(64), nullable=False),
        sa.Column("session_sha256", sa.String(64)),
        sa.Column("owner", sa.String(64)),
        sa.Column("scope", sa.String(6), nullable=False),
        sa.Column("key_id", sa.String(12)),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(9), nullable=False),
        sa.Column("progress", sa.JSON()),
        sa.Column("progress_at_s", sa.Double(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(300)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("opened_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint("code_sha256", name=op.f("uq_links_code_sha256")),
        sa.UniqueConstraint("session_sha256", name=op.f("uq_links_session_sha256")),
        sa.CheckConstraint(
            "status IN ('open', 'opened', 'running', 'succeeded', 'failed', 'expired', "
            "'cancelled')",
            name=op.f("ck_links_status"),
        ),
        sa.CheckConstraint(
            "(session_sha256 IS NULL) = (opened_at IS NULL)", name=op.f("ck_links_opened_at")
        ),
        sa.CheckConstraint("scope IN ('read', 'search', 'admin')", name=op.f("ck_links_scope")),
    )
    op.create_index(op.f("ix_links_owner_status"), "links", ["owner", "status"])
    op.create_index(op.f("ix_links_expires_at"), "links", ["expires_at"])
