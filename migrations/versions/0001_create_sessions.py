"""Create the sessions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATUS = sa.Enum("created", "processing", "completed", "failed", name="tryon_status")


def instant(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), **options)


def upgrade() -> None:
    op.create_table(
        "tryon_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_token", sa.String(255), nullable=False),
        sa.Column("status", STATUS, server_default="created", nullable=False),
        sa.Column("input_image_url", sa.Text(), nullable=False),
        sa.Column("garment_image_url", sa.Text()),
        sa.Column("output_image_url", sa.Text()),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_reason", sa.Text()),
        instant("created_at", server_default=sa.func.now(), nullable=False),
        instant("updated_at", server_default=sa.func.now(), nullable=False),
        instant("expires_at", nullable=False),
        sa.Column("engine", sa.String(255), nullable=False),
        sa.Column("options", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_by", sa.String(64)),
        instant("lease_until"),
        instant("started_at"),
        instant("finished_at"),
        sa.Column("stage", sa.String(64)),
        sa.Column("progress", sa.Double()),
        sa.Column("warnings", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("quality", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_tryon_sessions"),
    )
    op.create_index("idx_status", "tryon_sessions", ["status"])
    op.create_index("idx_user_token", "tryon_sessions", ["user_token"])
    op.create_index("idx_expires_at", "tryon_sessions", ["expires_at"])
    op.create_index("idx_status_created", "tryon_sessions", ["status", "created_at"])


def downgrade() -> None:
    op.drop_table("tryon_sessions")
    STATUS.drop(op.get_bind())
