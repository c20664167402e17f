"""A device's searches by when they were asked: one index finds and sorts them."""

from alembic import op

revision = "0007_searches_of_a_device"
down_revision = "0006_webhooks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index, which also does what that on the device alone did."""
    op.create_index(
        op.f("ix_searches_device_created_at_id"), "searches", ["device", "created_at", "id"]
    )
    op.drop_index(op.f("ix_searches_device"), "searches")
