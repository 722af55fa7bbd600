"""Add what made a picture, and what an attempt leaves for the next."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SESSIONS = "tryon_sessions"


def upgrade() -> None:
    op.add_column(SESSIONS, sa.Column("provenance", postgresql.JSONB()))
    op.add_column(SESSIONS, sa.Column("checkpoint", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column(SESSIONS, "checkpoint")
    op.drop_column(SESSIONS, "provenance")
