"""Let the purge find erasures that had begun when the clock was set back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE, NAME = "tryon_sessions", "idx_erasing"


def upgrade() -> None:
    op.create_index(NAME, TABLE, ["expires_at"], postgresql_where=sa.text("erasing IS NOT NULL"))


def downgrade() -> None:
    op.drop_index(NAME, TABLE)
