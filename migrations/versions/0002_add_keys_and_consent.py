"""Add what a session's privacy needs: its own key, consent, and when its inputs go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = "tryon_sessions"
INPUTS_DUE = sa.text("delete_inputs_early AND input_image_url IS NOT NULL")


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("wrapped_key", sa.LargeBinary()))
    op.add_column(TABLE, sa.Column("consent_version", sa.String(64)))
    early: sa.Column[bool] = sa.Column(
        "delete_inputs_early", sa.Boolean(), server_default=sa.text("false"), nullable=False
    )
    op.add_column(TABLE, early)
    op.alter_column(TABLE, "input_image_url", existing_type=sa.Text(), nullable=True)
    op.create_index("idx_inputs_due", TABLE, ["finished_at"], postgresql_where=INPUTS_DUE)


def downgrade() -> None:
    sealed = sa.text(f"SELECT EXISTS (SELECT FROM {TABLE} WHERE wrapped_key IS NOT NULL)")  # noqa: S608 - ours
    if op.get_bind().scalar(sealed):
        raise CommandError(
            "There are sessions with encrypted pictures, and going back would lose their keys: "
            "erase them first, or let them expire and be purged."
        )
    op.drop_index("idx_inputs_due", TABLE)
    # Sessions whose inputs are gone: with a key again, under which nothing lies.
    op.execute(
        f"UPDATE {TABLE} SET input_image_url = 'inputs/' || id || '/person.jpg'"  # noqa: S608 - ours
        " WHERE input_image_url IS NULL"
    )
    op.alter_column(TABLE, "input_image_url", existing_type=sa.Text(), nullable=False)
    op.drop_column(TABLE, "delete_inputs_early")
    op.drop_column(TABLE, "consent_version")
    op.drop_column(TABLE, "wrapped_key")
