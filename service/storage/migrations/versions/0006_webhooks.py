"""Webhooks: who is to be told of a search's end."""

import sqlalchemy as sa
from alembic import op

revision = "0006_webhooks"
down_revision = "0005_owners"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("search_id", sa.String(32), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("status", sa.String(9), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(300)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_webhooks_search_id")),
        sa.CheckConstraint(
            "status IN ('waiting', 'queued', 'delivered', 'failed')",
            name=op.f("ck_webhooks_status"),
        ),
        sa.CheckConstraint("(status = 'waiting') = (body IS NULL)", name=op.f("ck_webhooks_body")),
        sa.CheckConstraint(
            "(status IN ('delivered', 'failed')) = (ended_at IS NOT NULL)",
            name=op.f("ck_webhooks_ended_at"),
        ),
    )
    op.create_index(op.f("ix_webhooks_search_id"), "webhooks", ["search_id"])
    op.create_index(op.f("ix_webhooks_status_created_at"), "webhooks", ["status", "created_at"])
