"""The use cases of the API. Each opens its own transactions; nothing slow happens inside one."""

from __future__ import annotations

import base64
import binascii
import io
import secrets
import time
from collections.abc import Callable, Sequence
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
    ServiceError,
    SessionExpired,
    SessionNotFound,
    UserTokenRequired,
    ValidationFailed,
)
from app.models import TryOnSession
from app.schemas import Provenance, SessionOut
from app.services import erasure, receipts
from app.services.crypto import PictureUnreadable, Vault
from app.services.idempotency import Repeatable
from app.services.images import Picture
from app.services.receipts import Document, Issuer, Reason
from app.services.storage import Storage
from app.signing import Keyring, same_owner

log = structlog.get_logger(__name__)

PictureName = Literal["input", "garment", "output"]

SEED_LIMIT = 2**32


@dataclass(frozen=True)
class Submission:
    """What a client asked for, checked.

    owner: the keyed hash of its token. retention: shortens the operator's. request_id, traceparent:
        of the request.
    """

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
    allow_egress: bool = False
    webhook_url: str | None = None
    receiver: str | None = None
    retention: timedelta | None = None
    consent_version: str | None = None
    delete_inputs_early: bool = False
    request_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Page:
    """Sessions of an owner, newest first.

    cursor: where the next page begins, or None.
    """

    items: list[crud.Seen]
    cursor: str | None


class Door:
    """Remembers for a second that the queue is full.

    How many wait is known for certain only when a row is made, and by then pictures were decoded;
    under a flood that is done once a second, and not for each that is refused.
    """

    def __init__(self, queue_limit: int) -> None:
        self.queue_limit = queue_limit
        self._shut_until = 0.0

    def check(self) -> None:
        """Raises QueueFull."""
        if time.monotonic() < self._shut_until:
            raise self.refusal()

    def shut(self) -> None:
        self._shut_until = time.monotonic() + 1.0

    def refusal(self) -> QueueFull:
        return QueueFull(f"{self.queue_limit} sessions wait already. Try again in half a minute.")


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
    db: Db,
    storage: Storage,
    submission: Submission,
    *,
    vault: Vault,
    issuer: Issuer,
    retention: timedelta,
    door: Door,
    once: Repeatable | None = None,
) -> crud.Seen:
    """Store the pictures, then the row; when this returns, both are durable.

    Whatever fails, nothing is left behind: the files go again, and the row if there is one.
    Raises QueueFull when as many wait already as may, KeyTaken as `crud.add_session`.
    """
    session_id = uuid4()
    key = vault.new_key(session_id)
    url = submission.webhook_url
    input_key = f"{erasure.INPUTS}/{session_id}/person.jpg"
    garment_key = f"{erasure.INPUTS}/{session_id}/garment.jpg" if submission.garment else None
    files = {input_key: key.seal(input_key, submission.person.data)}
    if submission.garment and garment_key:
        files[garment_key] = key.seal(garment_key, submission.garment.data)
    new = crud.NewSession(
        id=session_id,
        owner=submission.owner,
        engine=submission.engine,
        options=_options(submission),
        input_key=input_key,
        garment_key=garment_key,
        retention=min(retention, submission.retention or retention),
        wrapped_key=key.wrapped,
        consent_version=submission.consent_version,
        delete_inputs_early=submission.delete_inputs_early,
        stored={name: receipts.written(data) for name, data in files.items()},
        webhook_url=None if url is None else vault.seal_url(session_id, url),
        webhook_receiver=submission.receiver,
        request_id=submission.request_id,
        traceparent=submission.traceparent,
        once=None if once is None else (once.keys, once.digests[0]),
    )
    committing = False
    try:
        for name, data in files.items():
            storage.put(name, data)
        with db.begin() as tx:
            seen, waiting = crud.add_session(tx, new, count_to=door.queue_limit)
            if waiting >= door.queue_limit:
                door.shut()
                raise door.refusal()
            committing = True
    except BaseException:
        _undo(db, storage, issuer, session_id, committing=committing)
        raise
    log.info("session.created", session_id=str(session_id), engine=submission.engine)
    return seen


def find(
    reads: Db,
    session_id: UUID,
    *,
    owners: Sequence[str] | None,
    signed: Callable[[datetime], bool] = lambda _: False,
) -> crud.Seen:
    """A live session, for its owner or for who holds a signature.

    owners: None where no token was sent.
    signed: whether a signature holds at that moment of the database, whose clock has made it.

    Another's session is answered exactly like one that does not exist. Raises UserTokenRequired
    where neither proves anything.
    """
    with reads() as tx:
        seen = crud.get_session(tx, session_id)
    return allow(seen, owners=owners, signed=signed)


def allow(
    seen: crud.Seen | None,
    *,
    owners: Sequence[str] | None,
    signed: Callable[[datetime], bool] = lambda _: False,
) -> crud.Seen:
    """What was found, if it may be seen; the rest as in `find`."""
    if not signed(seen.now if seen else datetime.now(UTC)):
        if owners is None:
            raise UserTokenRequired(
                "Send the header X-User-Token, or read the session again for a fresh address."
            )
        if seen is None or not same_owner(seen.row.user_token, owners):
            raise SessionNotFound("There is no session with this id for this token.")
    if seen is None:
        raise SessionNotFound("There is no session with this id.")
    if seen.expired:
        raise SessionExpired("The session has expired and is being erased. Make a new one.")
    return seen


def page(reads: Db, *, owners: Sequence[str], limit: int, cursor: str | None) -> Page:
    before = None if cursor is None else _read_cursor(cursor)
    with reads() as tx:
        seen = crud.list_sessions(tx, owners=owners, limit=limit + 1, before=before)
        items = seen[:limit]
    more = len(seen) > limit
    return Page(items, _write_cursor(items[-1].row) if more else None)


def hide_one(db: Db, session_id: UUID, *, owners: Sequence[str]) -> list[UUID]:
    """Make a session invisible that `erase_one` is to erase; its id, where there is such a one."""
    with db.begin() as tx:
        seen = crud.get_session(tx, session_id)
        if seen is None or not same_owner(seen.row.user_token, owners):
            return []
        crud.expire(tx, [session_id], reason=Reason.REQUEST)
    return [session_id]


def erase_one(
    db: Db, storage: Storage, issuer: Issuer, session_id: UUID, *, owners: Sequence[str]
) -> Document | None:
    """Erase a session in any state; its receipt. One that is gone, unknown or another's: None."""
    with db.begin() as tx:
        seen = crud.get_session(tx, session_id)
    if seen is None or not same_owner(seen.row.user_token, owners):
        return None
    signed = erasure.erase(db, storage, issuer, [session_id], reason=Reason.REQUEST)
    # Where somebody else was first since we looked, it is his.
    return signed[0] if signed else find_receipt(db, issuer, session_id)


def hide_all(db: Db, *, owners: Sequence[str]) -> list[UUID]:
    """Make everything of an owner invisible, what is expired included; its ids."""
    with db.begin() as tx:
        ids = crud.ids_of(tx, owners=owners)
    erasure.hide(db, ids, reason=Reason.REQUEST)
    return ids


def erase_all(db: Db, storage: Storage, issuer: Issuer, *, owners: Sequence[str]) -> list[Document]:
    """Erase everything of an owner, what is expired included; the receipts.

    All of it is invisible before the first file goes. Raises what the storage says where it refuses
    one, when all the others are gone.
    """
    ids = hide_all(db, owners=owners)
    signed: list[Document] = []
    refused: list[ServiceError] = []
    for start in range(0, len(ids), erasure.BATCH):
        batch = ids[start : start + erasure.BATCH]
        gone, left = erasure.erase_what_can_be(db, storage, issuer, batch, reason=Reason.REQUEST)
        signed += gone
        refused += left
    if refused:
        raise refused[0]
    return signed


def find_receipt(reads: Db, issuer: Issuer, id_: UUID) -> Document | None:
    """The kept receipt with this id, or of the session that had this id."""
    with reads() as tx:
        return crud.find_receipt(
            tx, id_=id_, session_sha256=receipts.hash_of(id_), keep=issuer.keep
        )


def open_picture(
    storage: Storage, vault: Vault, row: TryOnSession, name: PictureName
) -> tuple[BinaryIO, int, str]:
    """A reader of one picture, its size in bytes, and its media type.

    One that is encrypted is read whole: no byte of it counts before its tag was seen.
    """
    if name == "garment" and row.options.get("garment_id") is not None:
        garment = catalogue.garment(row.options["garment_id"])
        if garment is None:
            raise NotFound("The garment is not in the catalogue any more.")
        file = garment.path.open("rb")
        return file, garment.path.stat().st_size, "image/webp"
    if name != "output" and row.inputs_are_gone:
        raise NotFound(
            "The uploaded pictures were erased when the session ended, as its create had asked "
            "for with delete_inputs=on_completion."
        )
    key = {
        "input": row.input_image_url,
        "garment": row.garment_image_url,
        "output": row.output_image_url,
    }[name]
    if key is None:
        raise NotReady(f"The session is {row.status.value}; there is no picture to fetch.")
    media_type = MEDIA_TYPES[key.rpartition(".")[2]]
    if row.wrapped_key is None:
        reader, size = storage.open(key)
        return reader, size, media_type
    try:
        picture = vault.key_of(row.id, row.wrapped_key).unseal(key, storage.get(key))
    except PictureUnreadable as exc:
        unknown = exc.unknown_secret
        log.error("picture.unreadable", session_id=str(row.id), unknown_secret=unknown)
        raise
    return io.BytesIO(picture), len(picture), media_type


MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


def present(seen: crud.Seen, keyring: Keyring) -> SessionOut:
    """A session as its owner sees it."""
    row, now, position = seen
    own_garment = row.options["garment_id"] is None

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
        queue_position=position,
        attempts=row.attempts,
        warnings=row.warnings,
        quality=row.quality,
        provenance=None if row.provenance is None else Provenance(**row.provenance),
        error_code=row.error_code,
        error_reason=row.error_reason,
        input_image_url=None if row.inputs_are_gone else url("input"),
        garment_image_url=None if own_garment and row.inputs_are_gone else url("garment"),
        output_image_url=url("output") if row.output_image_url else None,
    )


def _options(submission: Submission) -> dict[str, str | int | bool | None]:
    seed = secrets.randbelow(SEED_LIMIT) if submission.seed is None else submission.seed
    return {
        "category": submission.category,
        "garment_photo_type": submission.garment_photo_type,
        "mode": submission.mode,
        "seed": seed,
        "output_format": submission.output_format,
        "garment_id": submission.garment_id,
        "allow_egress": submission.allow_egress,
    }


def _undo(db: Db, storage: Storage, issuer: Issuer, session_id: UUID, *, committing: bool) -> None:
    """Take back what a create has left.

    committing: the answer to COMMIT may be what was lost, and a row without its pictures could only
    fail. Where the database cannot be asked they stay: either the row is there and gets its try-on,
    or the sweep takes them.
    """
    try:
        if committing and erasure.erase(db, storage, issuer, [session_id], reason=Reason.REPAIR):
            return
        erasure.delete_files(storage, session_id, known={})
    except Exception as exc:  # noqa: BLE001 - the first error is the one to tell; the sweep is the net
        log.warning("session.leftover", error=type(exc).__name__)


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
