"""Remember the key of a create that may be repeated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = ("idempotency_key", "idempotency_digest")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("tryon_sessions", sa.Column(name, sa.String(64)))
    op.create_index(
        "idx_idempotency_key",
        "tryon_sessions",
        ["idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("idx_idempotency_key", "tryon_sessions")
    for name in COLUMNS:
        op.drop_column("tryon_sessions", name)
