"""Add whom to tell of a final session, and the deliveries of that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SESSIONS, DELIVERIES = "tryon_sessions", "webhook_deliveries"
INSTANT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column(SESSIONS, sa.Column("webhook_url", sa.LargeBinary()))
    op.add_column(SESSIONS, sa.Column("webhook_receiver", sa.String(16)))
    op.create_table(
        DELIVERIES,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", INSTANT, server_default=sa.func.now()),
        sa.Column("claimed_by", sa.String(64)),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_error", sa.String(32)),
        sa.Column("created_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.UniqueConstraint("session_id", name="uq_webhook_deliveries_session_id"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            [f"{SESSIONS}.id"],
            name="fk_webhook_deliveries_session_id_tryon_sessions",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "idx_delivery_due", DELIVERIES, ["next_at"], postgresql_where=sa.text("state = 'pending'")
    )


def downgrade() -> None:
    op.drop_table(DELIVERIES)
    op.drop_column(SESSIONS, "webhook_receiver")
    op.drop_column(SESSIONS, "webhook_url")
