"""The tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Enum, ForeignKey, Index, LargeBinary, String, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, UtcDateTime
from app.states import FINAL, DeliveryState, Status


class TryOnSession(Base):
    """One try-on: the job and its result. `created` *is* the work that waits.

    user_token: the keyed hash of the owner's token, never the token.
    *_image_url: storage keys. garment_image_url: None for the catalogue's. The inputs' are None,
        too, once they were erased before the session.
    options: what was asked for: category, garment_photo_type, mode, seed, output_format,
        garment_id, allow_egress.
    wrapped_key: the key of this session's pictures, under one derived from SECRET_KEY; None where
        they are stored as they are.
    consent_version: what the shopper agreed to, in the client's words.
    delete_inputs_early: the uploaded pictures go as soon as the session is final.
    stored: what was written of its pictures, by storage key: size and digest, for the receipt.
    erasing: why, once its erasure has begun.
    idempotency_*: keyed hashes of the key that a create came with, and of its content.
    webhook_url: whom to tell that the session is final, sealed. webhook_receiver: a keyed hash of
        its host, by which those to one receiver are told from the others.
    provenance: what made the picture: engine, version, digests, seed, cost; once completed.
    checkpoint: what an attempt has left for the next, sealed with the session's key; none once
        final.
    request_id: of the create, for the log. traceparent: its place in a trace, where traces are
        recorded (W3C Trace Context).
    lease_until: how long the claim holds; while the session waits, before when it is not claimed.
    """

    __tablename__ = "tryon_sessions"
    __table_args__ = (
        Index("idx_status", "status"),
        Index("idx_user_token", "user_token"),
        Index("idx_expires_at", "expires_at"),
        Index("idx_status_created", "status", "created_at"),
        Index("idx_erasing", "expires_at", postgresql_where=text("erasing IS NOT NULL")),
        Index(
            "idx_inputs_due",
            "finished_at",
            postgresql_where=text("delete_inputs_early AND input_image_url IS NOT NULL"),
        ),
        Index(
            "idx_idempotency_key",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_token: Mapped[str] = mapped_column(String(255))
    status: Mapped[Status] = mapped_column(
        Enum(
            Status,
            name="tryon_status",
            values_callable=lambda states: [state.value for state in states],
        ),
        server_default=Status.CREATED.value,
    )
    input_image_url: Mapped[str | None] = mapped_column(Text)
    garment_image_url: Mapped[str | None] = mapped_column(Text)
    output_image_url: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    engine: Mapped[str] = mapped_column(String(255))
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stage: Mapped[str | None] = mapped_column(String(64))
    progress: Mapped[float | None]
    warnings: Mapped[list[dict[str, str]]] = mapped_column(JSONB, server_default=text("'[]'"))
    quality: Mapped[float | None]
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    consent_version: Mapped[str | None] = mapped_column(String(64))
    delete_inputs_early: Mapped[bool] = mapped_column(server_default=text("false"))
    idempotency_key: Mapped[str | None] = mapped_column(String(64))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    webhook_url: Mapped[bytes | None] = mapped_column(LargeBinary)
    webhook_receiver: Mapped[str | None] = mapped_column(String(16))
    # Deferred: polls have no use for it.
    stored: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'"), deferred=True
    )
    erasing: Mapped[str | None] = mapped_column(String(16))
    provenance: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    checkpoint: Mapped[bytes | None] = mapped_column(LargeBinary)
    request_id: Mapped[str | None] = mapped_column(String(64), deferred=True)
    traceparent: Mapped[str | None] = mapped_column(String(64), deferred=True)

    def is_over(self, now: datetime) -> bool:
        """Whether it is nobody's any more, at that moment of the database's clock."""
        return self.erasing is not None or self.expires_at <= now

    @property
    def inputs_are_gone(self) -> bool:
        """Whether the uploaded pictures are to be had by nobody, although the session is."""
        return self.delete_inputs_early and self.status in FINAL


class Delivery(Base):
    """The event that a session is final, on its way to the receiver. It dies with the session.

    id: the event's, in all attempts. claimed_by: who is at it; with that, next_at is the end of
    the lease. last_status, last_error: of the last attempt; one of them, or neither before it.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("idx_delivery_due", "next_at", postgresql_where=text("state = 'pending'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey("tryon_sessions.id", ondelete="CASCADE"), unique=True
    )
    state: Mapped[str] = mapped_column(
        String(16), server_default=text(f"'{DeliveryState.PENDING}'")
    )
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime, server_default=func.now())
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeletionReceipt(Base):
    """What is left of an erased session: nothing personal, and nothing that leads to it.

    session_sha256: of the session's id. Not unique: a row that a backup brings back is erased
        again.
    document: the receipt, whole and signed.
    """

    __tablename__ = "deletion_receipts"
    __table_args__ = (
        Index("idx_receipts_session", "session_sha256"),
        Index("idx_receipts_erased_at", "erased_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    session_sha256: Mapped[str] = mapped_column(String(64))
    erased_at: Mapped[datetime] = mapped_column(UtcDateTime)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
