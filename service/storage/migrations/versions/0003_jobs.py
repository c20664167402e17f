"""Runs instead of leases, the processes that work on them, and what they count."""

import sqlalchemy as sa
from alembic import op

revision = "0003_jobs"
down_revision = "0004_access"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Queue again what was running, and change the tables."""
    op.execute(
        "UPDATE searches SET status = 'queued', owner = NULL, lease_until = NULL "
        "WHERE status = 'running'"
    )
    # Named by hand, since SQLite does not tell all about its tables; PostgreSQL alters in place.
    with op.batch_alter_table("searches", copy_from=_searches()) as searches:
        searches.drop_constraint(op.f("ck_searches_owner"), type_="check")
        searches.drop_constraint(op.f("ck_searches_lease"), type_="check")
        searches.drop_column("owner")
        searches.drop_column("lease_until")
        searches.add_column(sa.Column("run", sa.Integer(), nullable=False, server_default="1"))
        searches.add_column(sa.Column("worker", sa.String(200)))
        searches.create_check_constraint(
            op.f("ck_searches_worker"), "(status = 'running') = (worker IS NOT NULL)"
        )
    op.create_table(
        "executors",
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executors")),
    )
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name=op.f("pk_tallies")),
    )


def _searches() -> sa.Table:
    """As 0001 made it."""
    return sa.Table(
        "searches",
        sa.MetaData(),
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
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
        sa.UniqueConstraint("request_sha256", name="uq_searches_request_sha256"),
        sa.ForeignKeyConstraint(
            ["profile_sha256"], ["profiles.sha256"], name="fk_searches_profile_sha256"
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name="ck_searches_status",
        ),
        sa.CheckConstraint("(status = 'running') = (owner IS NOT NULL)", name="ck_searches_owner"),
        sa.CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name="ck_searches_lease"),
        sa.CheckConstraint(
            "(status = 'succeeded') = (result IS NOT NULL)", name="ck_searches_result"
        ),
        sa.CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="ck_searches_error"),
        sa.CheckConstraint(
            "(status IN ('queued', 'running')) = (finished_at IS NULL)",
            name="ck_searches_finished_at",
        ),
        sa.Index("ix_searches_supernet", "supernet"),
        sa.Index("ix_searches_device", "device"),
        sa.Index("ix_searches_status_created_at", "status", "created_at"),
        sa.Index("ix_searches_created_at_id", "created_at", "id"),
        sa.Index("ix_searches_latency_ms_id", "latency_ms", "id"),
        sa.Index("ix_searches_top1_id", "top1", "id"),
    )
