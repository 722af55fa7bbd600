"""The use cases of the API. Each opens its own transactions; nothing slow happens inside one."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Literal
from uuid import UUID, uuid4

import structlog

from app import catalogue, crud
from app.database import Db
from app.errors import (
    GarmentUnknown,
    NotFound,
    NotReady,
    QueueFull,
    SessionExpired,
    SessionNotFound,
    ValidationFailed,
)
from app.models import TryOnSession
from app.schemas import SessionOut
from app.services import erasure
from app.services.images import Picture
from app.services.storage import Storage
from app.signing import Keyring, same_owner

log = structlog.get_logger(__name__)

PictureName = Literal["input", "garment", "output"]

SEED_LIMIT = 2**32


@dataclass(frozen=True)
class Submission:
    """What a client asked for, checked. owner: the keyed hash of its token."""

    owner: str
    engine: str
    person: Picture
    garment: Picture | None
    garment_id: str | None
    category: str = "auto"
    garment_photo_type: str = "auto"
    mode: str = "balanced"
    output_format: str = "jpeg"
    seed: int | None = None


@dataclass(frozen=True)
class Page:
    """Sessions of an owner, newest first. cursor: where the next page begins, or None."""

    items: list[crud.Seen]
    cursor: str | None


def check_room(reads: Db, *, queue_limit: int) -> None:
    """Raises QueueFull when as many wait as may; to be asked before anything is decoded."""
    with reads() as tx:
        full = crud.waiting_at_least(tx, queue_limit)
    if full:
        raise QueueFull(f"{queue_limit} sessions wait already. Try again in half a minute.")


def choose_garment(garment_id: str | None, *, own_picture: bool) -> str | None:
    """The catalogue's garment that is meant, or None for the client's own picture.

    With neither it is the first of the catalogue, so that one photo is enough.
    """
    if own_picture:
        if garment_id is not None:
            raise ValidationFailed(
                "Send either garment_image or garment_id, not both.", pointer="garment_id"
            )
        return None
    if garment_id is None:
        return catalogue.garments()[0].id
    if catalogue.garment(garment_id) is None:
        raise GarmentUnknown(
            "garment_id: not in the catalogue; GET /api/tryon/garments lists what is.",
            pointer="garment_id",
        )
    return garment_id


def submit(
    db: Db, storage: Storage, submission: Submission, *, retention: timedelta
) -> tuple[crud.Seen, int | None]:
    """Store the pictures, then the row; when this returns, both are durable.

    Returns the session as it was written, and its place in the queue.

    Whatever fails, nothing is left behind: files go again, and a row was not committed.
    """
    session_id = uuid4()
    input_key = f"{erasure.INPUTS}/{session_id}/person.jpg"
    garment_key = f"{erasure.INPUTS}/{session_id}/garment.jpg" if submission.garment else None
    try:
        storage.put(input_key, submission.person.data)
        if submission.garment and garment_key:
            storage.put(garment_key, submission.garment.data)
        with db.begin() as tx:
            row = crud.add_session(
                tx,
                crud.NewSession(
                    id=session_id,
                    owner=submission.owner,
                    engine=submission.engine,
                    options=_options(submission),
                    input_key=input_key,
                    garment_key=garment_key,
                    retention=retention,
                ),
            )
            position = crud.queue_position(tx, row)
    except BaseException:
        _undo(storage, session_id)
        raise
    log.info("session.created", session_id=str(session_id), engine=submission.engine)
    return crud.Seen(row, now=row.created_at), position


def find(reads: Db, session_id: UUID, *, owners: Sequence[str] | None) -> crud.Seen:
    """A live session of this owner; `owners=None` where a signature has proved the right already.

    Another's session is answered exactly like one that does not exist.
    """
    with reads() as tx:
        seen = crud.get_session(tx, session_id)
    return _checked(seen, owners)


def find_with_position(
    reads: Db, session_id: UUID, *, owners: Sequence[str]
) -> tuple[crud.Seen, int | None]:
    """The same with the place in the queue, for one that waits."""
    with reads() as tx:
        seen = _checked(crud.get_session(tx, session_id), owners)
        return seen, crud.queue_position(tx, seen.row)


def page(reads: Db, *, owners: Sequence[str], limit: int, cursor: str | None) -> Page:
    before = None if cursor is None else _read_cursor(cursor)
    with reads() as tx:
        seen = crud.list_sessions(tx, owners=owners, limit=limit + 1, before=before)
    items = seen[:limit]
    more = len(seen) > limit
    return Page(items, _write_cursor(items[-1].row) if more else None)


def erase_one(db: Db, storage: Storage, session_id: UUID, *, owners: Sequence[str]) -> None:
    """Erase a session in any state. One that is gone, unknown or another's is no error."""
    with db.begin() as tx:
        seen = crud.get_session(tx, session_id)
    if seen is not None and same_owner(seen.row.user_token, owners):
        erasure.erase(db, storage, [session_id])


def erase_all(db: Db, storage: Storage, *, owners: Sequence[str]) -> int:
    """Erase everything of an owner, what is expired included."""
    erased = 0
    while True:
        with db.begin() as tx:
            ids = crud.ids_of(tx, owners=owners, limit=erasure.BATCH)
        if not ids:
            return erased
        erased += erasure.erase(db, storage, ids)


def open_picture(
    storage: Storage, row: TryOnSession, name: PictureName
) -> tuple[BinaryIO, int, str]:
    """A reader of one picture, its size in bytes, and its media type."""
    if name == "garment" and row.garment_image_url is None:
        garment = catalogue.garment(row.options.get("garment_id") or "")
        if garment is None:
            raise NotFound("The garment is not in the catalogue any more.")
        file = garment.path.open("rb")
        return file, garment.path.stat().st_size, "image/webp"
    key = {
        "input": row.input_image_url,
        "garment": row.garment_image_url,
        "output": row.output_image_url,
    }[name]
    if key is None:
        raise NotReady(f"The session is {row.status.value}; there is no picture to fetch.")
    reader, size = storage.open(key)
    return reader, size, MEDIA_TYPES[key.rpartition(".")[2]]


MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


def present(seen: crud.Seen, keyring: Keyring, *, queue_position: int | None = None) -> SessionOut:
    """A session as its owner sees it."""
    row, now = seen

    def url(name: PictureName) -> str:
        query = keyring.sign_url(row.id, name, now=now)
        return f"/api/tryon/sessions/{row.id}/{name}?{query}"

    return SessionOut(
        id=row.id,
        status=row.status,
        engine=row.engine,
        category=row.options["category"],
        mode=row.options["mode"],
        seed=row.options["seed"],
        garment_id=row.options["garment_id"],
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        stage=row.stage,
        progress=row.progress,
        queue_position=queue_position,
        attempts=row.attempts,
        warnings=row.warnings,
        quality=row.quality,
        error_code=row.error_code,
        error_reason=row.error_reason,
        input_image_url=url("input"),
        garment_image_url=url("garment"),
        output_image_url=url("output") if row.output_image_url else None,
    )


def _options(submission: Submission) -> dict[str, str | int | None]:
    seed = secrets.randbelow(SEED_LIMIT) if submission.seed is None else submission.seed
    return {
        "category": submission.category,
        "garment_photo_type": submission.garment_photo_type,
        "mode": submission.mode,
        "seed": seed,
        "output_format": submission.output_format,
        "garment_id": submission.garment_id,
    }


def _undo(storage: Storage, session_id: UUID) -> None:
    try:
        erasure.delete_files(storage, session_id)
    except Exception as exc:  # noqa: BLE001 - the first error is the one to tell; the sweep is the net
        log.warning("session.leftover", error=type(exc).__name__)


def _checked(seen: crud.Seen | None, owners: Sequence[str] | None) -> crud.Seen:
    if seen is None or not (owners is None or same_owner(seen.row.user_token, owners)):
        raise SessionNotFound("There is no session with this id for this token.")
    if seen.expired:
        raise SessionExpired("The session has expired and is being erased. Make a new one.")
    return seen


def _write_cursor(row: TryOnSession) -> str:
    text = f"{row.created_at.isoformat()} {row.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        instant, _, session_id = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        before = datetime.fromisoformat(instant)
        if before.tzinfo is None:
            raise ValueError("a cursor's instant has a time zone")
        # In UTC, because that may be beyond the years that there are.
        return before.astimezone(UTC), UUID(session_id)
    except (ValueError, binascii.Error, OverflowError) as exc:
        raise ValidationFailed(
            "cursor: use the next_cursor of the page before, unchanged.", pointer="cursor"
        ) from exc
