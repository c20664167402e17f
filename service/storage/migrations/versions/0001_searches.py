"""Searches, their events, the profiles they were asked with, and clients' own keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:  # long: a list of the first schema's tables
    """Make the tables."""
    op.create_table(
        "profiles",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_profiles")),
    )
    op.create_table(
        "searches",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("supernet", sa.String(64), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("profile_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(9), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("lease_until", MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("top1", sa.Double()),
        sa.Column("artifact_sha256", sa.String(64)),
        sa.Column("error", sa.JSON()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_searches")),
        sa.UniqueConstraint("request_sha256", name=op.f("uq_searches_request_sha256")),
        sa.ForeignKeyConstraint(
            ["profile_sha256"], ["profiles.sha256"], name=op.f("fk_searches_profile_sha256")
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_searches_status"),
        ),
        sa.CheckConstraint(
            "(status = 'running') = (owner IS NOT NULL)", name=op.f("ck_searches_owner")
        ),
        sa.CheckConstraint(
            "(owner IS NULL) = (lease_until IS NULL)", name=op.f("ck_searches_lease")
        ),
        sa.CheckConstraint(
            "(status = 'succeeded') = (result IS NOT NULL)", name=op.f("ck_searches_result")
        ),
        sa.CheckConstraint(
            "(status = 'failed') = (error IS NOT NULL)", name=op.f("ck_searches_error")
        ),
        sa.CheckConstraint(
            "(status IN ('queued', 'running')) = (finished_at IS NULL)",
            name=op.f("ck_searches_finished_at"),
        ),
    )
    for columns in (
        ["supernet"],
        ["device"],
        ["status", "created_at"],
        ["created_at", "id"],
        ["latency_ms", "id"],
        ["top1", "id"],
    ):
        op.create_index(op.f(f"ix_searches_{'_'.join(columns)}"), "searches", columns)
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("search_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_events_search_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_search_id_id"), "events", ["search_id", "id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("search_id", sa.String(32), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotency_keys")),
        sa.ForeignKeyConstraint(
            ["search_id"], ["searches.id"], name=op.f("fk_idempotency_keys_search_id")
        ),
    )
