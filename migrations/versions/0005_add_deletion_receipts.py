"""Add the receipts of erasures, and what they tell of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SESSIONS = "tryon_sessions"
RECEIPTS = "deletion_receipts"


def upgrade() -> None:
    op.add_column(
        SESSIONS,
        sa.Column("stored", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column(SESSIONS, sa.Column("erasing", sa.String(16)))
    op.create_table(
        RECEIPTS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_sha256", sa.String(64), nullable=False),
        sa.Column("erased_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deletion_receipts"),
    )
    op.create_index("idx_receipts_session", RECEIPTS, ["session_sha256"])
    op.create_index("idx_receipts_erased_at", RECEIPTS, ["erased_at"])


def downgrade() -> None:
    op.drop_table(RECEIPTS)
    op.drop_column(SESSIONS, "erasing")
    op.drop_column(SESSIONS, "stored")
