"""Remember by which request a session was made, for the logs and traces of its work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE = "tryon_sessions"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("request_id", sa.String(64)))
    op.add_column(TABLE, sa.Column("traceparent", sa.String(64)))


def downgrade() -> None:
    op.drop_column(TABLE, "traceparent")
    op.drop_column(TABLE, "request_id")
