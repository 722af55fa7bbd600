"""Sessions: create, poll, list, fetch pictures, erase."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, BinaryIO, Literal
from uuid import UUID

import structlog
from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Form,
    Header,
    Query,
    Request,
    Response,
    Security,
    UploadFile,
)
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import APIKeyQuery
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.datastructures import UploadFile as UploadedFile

from app import errors, preferences, tracing
from app.crud import Seen
from app.deps import TOKEN_PATTERN, Owners, OwnersOrNone, Rt
from app.engines import Category, EngineInfo, Mode, PhotoType
from app.errors import (
    ConsentRequired,
    EngineUnavailable,
    EngineUnknown,
    ServiceError,
    ValidationFailed,
    WebhookRefused,
)
from app.problems import documented
from app.runtime import Runtime
from app.schemas import DeletionReceipt, ReceiptList, SessionList, SessionOut
from app.services import idempotency, images, receivers, sessions, waits
from app.services.idempotency import Repeatable
from app.services.receipts import Document
from app.services.sessions import PictureName, Submission

router = APIRouter(prefix="/api/tryon/sessions", tags=["sessions"])

_CHUNK = 64 * 1024

SLOT_WAIT_S = 20.0
"""For a turn of the few uploads that are taken at once; proxies wait 60 s for all of it."""

# Printable, and not blank: what a person can read to another.
CONSENT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]{0,63}$"
_ALIASES = {"upper_body": "tops", "lower_body": "bottoms", "dresses": "one-pieces"}


def _common_name(value: object) -> object:
    """The names of other try-on APIs, understood too."""
    return _ALIASES.get(value.lower(), value) if isinstance(value, str) else value


class CreateForm(BaseModel):
    """The multipart form. A field that is not named here is refused, and so is one sent twice."""

    model_config = ConfigDict(extra="forbid")

    person_image: UploadFile = Field(
        description="JPEG, PNG or WebP of one person, at most 10 MiB, 25 megapixels, "
        "and 8,000 pixels on a side."
    )
    garment_image: UploadFile | None = Field(
        None, description="The garment, under the same rules. Or use `garment_id`."
    )
    garment_id: str | None = Field(
        None,
        max_length=64,
        description="A garment of the catalogue; the first one where no garment is sent at all.",
    )
    user_token: str = Field(
        pattern=TOKEN_PATTERN,
        description="The anonymous owner, made and kept by the client: 8–255 of "
        "`A–Z a–z 0–9 . _ ~ -`. The server keeps only a keyed hash of it.",
        examples=["visitor-3f9c2e71"],
    )
    category: Annotated[Literal["auto", Category], BeforeValidator(_common_name)] = "auto"
    garment_photo_type: Literal["auto", PhotoType] = "auto"
    mode: Mode = "balanced"
    seed: int | None = Field(
        None, ge=0, lt=sessions.SEED_LIMIT, description="Drawn by the server where left out."
    )
    output_format: Literal["jpeg", "png", "webp"] = "jpeg"
    engine: str | None = Field(None, max_length=255, description="One of `GET /api/tryon/engines`.")
    retention_seconds: int | None = Field(
        None,
        ge=60,
        le=86_400,
        description="Erase the session so long after its create. It only shortens the operator's "
        "retention: of the two the shorter holds, and `expires_at` says which.",
    )
    delete_inputs: Literal["on_expiry", "on_completion"] = Field(
        "on_expiry",
        description="`on_completion` erases the uploaded pictures, the person's and the garment's, "
        "the moment the session is final, completed or failed: their addresses are null from then "
        "on, and what was made of them stays until `expires_at`.",
    )
    consent_version: str | None = Field(
        None,
        pattern=CONSENT_PATTERN,
        description="What the shopper agreed to, such as the version of a text: 1–64 printable "
        "characters, stored with the session and erased with it. Where the operator requires it "
        "(`CONSENT_REQUIRED`), a create without it is refused: 422 `consent_required`.",
        examples=["photo-terms-2026-11"],
    )
    allow_egress: bool = Field(
        False,
        description="The shopper agrees that photos leave the server for an engine that sends them "
        "elsewhere: `egress_to` of `GET /api/tryon/engines`.",
    )
    webhook_url: str | None = Field(
        None,
        min_length=1,
        max_length=receivers.URL_CHARACTERS,
        description="Told once the session is final, as Standard Webhooks says: POST, signed, "
        "again and again until it answers 2xx, or 410. `http` or `https`, at a public address.",
        # In the document alone: what is no receiver is refused as one, with its own code.
        json_schema_extra={"format": "uri", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/]"},
    )


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Makes the create safe to repeat: the same key with the same content, from the "
        "same token, is answered with the first session for as long as that lives.",
    ),
]

_REPLAYED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An earlier create with this `Idempotency-Key` has made the session.",
        "model": SessionOut,
        "headers": {
            "Idempotency-Replayed": {"description": "`true`.", "schema": {"type": "string"}}
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=SessionOut,
    response_description="Both the pictures and the session are stored durably.",
    responses=_REPLAYED
    | documented(
        errors.MalformedRequest,
        errors.TooManyParts,
        errors.FileTooLarge,
        errors.BodyTooLarge,
        errors.UnsupportedMediaType,
        errors.ValidationFailed,
        errors.IdempotencyInProgress,
        errors.IdempotencyMismatch,
        errors.UserTokenInvalid,
        errors.FileMissing,
        errors.FileEmpty,
        errors.ImageInvalid,
        errors.ImageDimensions,
        errors.EngineUnknown,
        errors.GarmentUnknown,
        errors.ConsentRequired,
        errors.EgressNotAllowed,
        errors.WebhookRefused,
        errors.RateLimited,
        errors.EngineUnavailable,
        errors.QueueFull,
        errors.DatabaseUnavailable,
        errors.StorageFull,
    ),
)
async def create(
    request: Request,
    form: Annotated[CreateForm, Form()],
    rt: Rt,
    later: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take the pictures and answer at once; a worker makes the picture. Then poll `Location`."""
    _refuse_twice("Idempotency-Key", request.headers.getlist("Idempotency-Key"))
    sent = await request.form()  # which is read already
    for name in sent:
        _refuse_twice(name, sent.getlist(name))
    if idempotency_key is None:  # a repeat is answered although the queue is full
        rt.door.check()
    url = form.webhook_url
    refused = None if url is None else await rt.receivers.refusal(url)
    async with _slot(rt.upload_threads):
        # With threads of their own: uploads that wait for each other must not keep polls waiting.
        seen, replayed = await to_thread.run_sync(
            _take, form, rt, idempotency_key, refused, limiter=CapacityLimiter(1)
        )
    headers = {
        "Location": f"{router.prefix}/{seen.row.id}",
        "Retry-After": "1",
        "Cache-Control": "no-store",
    }
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    else:
        later.add_task(_ring, rt, seen)
    return Response(
        sessions.present(seen, rt.keyring).model_dump_json(),
        status_code=200 if replayed else 201,
        media_type="application/json",
        headers=headers,
    )


@asynccontextmanager
async def _slot(slots: CapacityLimiter) -> AsyncIterator[None]:
    """Wait for a turn, but not for ever: with a store that is away each takes ten seconds."""
    who = object()
    with move_on_after(SLOT_WAIT_S) as waiting:
        await slots.acquire_on_behalf_of(who)
    if waiting.cancelled_caught:
        raise ServiceError("Too many uploads are waiting. Try again in a moment.")
    try:
        yield
    finally:
        slots.release_on_behalf_of(who)


def _refuse_twice(name: str, values: Sequence[object]) -> None:
    """Of two values one would count, and nobody could say which: of two retentions the longer."""
    if len(values) > 1:
        raise ValidationFailed(f"{name}: Send it once.", pointer=name)


async def _ring(rt: Runtime, seen: Seen) -> None:
    """A coroutine, because a function would be sent to a thread, for a thing of microseconds."""
    rt.queue.notify(seen.row.id, engine=seen.row.engine)


def _take(
    form: CreateForm, rt: Runtime, key: str | None, refused: WebhookRefused | None
) -> tuple[Seen, bool]:
    """The session, and whether an earlier create with this key has made it.

    refused: why its receiver is not taken, which a repeat is not asked again.
    """
    if key is None:
        return _make(form, rt, refused), False
    # What was sent, and no defaults: those of a later version must not make it another content.
    sent = {name: getattr(form, name) for name in form.model_fields_set}
    content = {
        name: value.file if isinstance(value, UploadedFile) else str(value)
        for name, value in sent.items()
        if value is not None
    }
    one = idempotency.repeatable(rt.keyring, token=form.user_token, key=key, content=content)
    return idempotency.once(rt.db, rt.running, one, lambda: _make(form, rt, refused, once=one))


def _make(
    form: CreateForm,
    rt: Runtime,
    refused: WebhookRefused | None,
    *,
    once: Repeatable | None = None,
) -> Seen:
    rt.door.check()
    if refused is not None:
        raise refused
    submission = _read_form(form, rt)
    return sessions.submit(
        rt.db,
        rt.storage,
        submission,
        vault=rt.vault,
        issuer=rt.issuer,
        retention=rt.retention,
        door=rt.door,
        once=once,
    )


Cursor = Annotated[
    str | None,
    Query(max_length=200, description="The `next_cursor` of the page before, unchanged."),
]


@router.get(
    "",
    response_model=SessionList,
    responses=documented(
        errors.UserTokenRequired,
        errors.ValidationFailed,
        errors.RateLimited,
        errors.DatabaseUnavailable,
    ),
)
def list_mine(
    rt: Rt,
    owners: Owners,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Cursor = None,
) -> SessionList:
    """My sessions, newest first."""
    page = sessions.page(rt.reads, owners=owners, limit=limit, cursor=cursor)
    response.headers["Cache-Control"] = "no-store"
    items = [sessions.present(seen, rt.keyring) for seen in page.items]
    return SessionList(items=items, next_cursor=page.cursor)


_WAITED = {
    "Preference-Applied": {
        "description": "`wait=N`, where the request had one: for how long it was ready to wait.",
        "schema": {"type": "string"},
    }
}


@router.get(
    "/{session_id}",
    response_model=SessionOut,
    responses={
        200: {"headers": _WAITED},
        304: {
            "description": "Not changed since the `ETag` of `If-None-Match`.",
            "headers": _WAITED,
        },
        **documented(
            errors.UserTokenRequired,
            errors.SessionNotFound,
            errors.SessionExpired,
            errors.RateLimited,
            errors.DatabaseUnavailable,
        ),
    },
)
async def read_one(
    request: Request,
    session_id: UUID,
    rt: Rt,
    owners: Owners,
    if_none_match: Annotated[list[str] | None, Header()] = None,
    prefer: Annotated[
        list[str] | None,
        Header(
            description="`wait=N`: answer when the session changes, or after N seconds; 30 are "
            "applied for more. With `If-None-Match`, when it is not what the client has."
        ),
    ] = None,
) -> Response:
    """Return one session; poll it until its status is final."""
    wait_s = preferences.wait_s(preferences.parse(prefer or ()), most=waits.MOST_S)
    if not wait_s:
        seen = await rt.polls.read(session_id)
    else:
        seen = await _wait_for_change(request, session_id, rt, owners, if_none_match, wait_s)
    body, etag = _render(seen, rt, owners)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    if _matches(if_none_match or (), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


async def _wait_for_change(
    request: Request,
    session_id: UUID,
    rt: Runtime,
    owners: Sequence[str],
    if_none_match: Sequence[str] | None,
    wait_s: int,
) -> Seen | None:
    def known(seen: Seen | None) -> bool:
        _, etag = _render(seen, rt, owners)
        return if_none_match is None or _matches(if_none_match, etag)

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    began = time.monotonic()
    try:
        return await rt.waits.read(session_id, within_s=wait_s, known=known, hung_up=hung_up)
    finally:
        request.state.waited_s = time.monotonic() - began


def _render(seen: Seen | None, rt: Runtime, owners: Sequence[str]) -> tuple[bytes, str]:
    """A session for its owner, and the ETag of that. Raises what `sessions.allow` raises."""
    body = sessions.present(sessions.allow(seen, owners=owners), rt.keyring).model_dump_json()
    content = body.encode()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


Prefer = Annotated[
    list[str] | None,
    Header(description="`return=representation`: answer with the receipts of what was erased."),
]
_RETURN = "return=representation"


def _returning(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    applied = {"description": f"`{_RETURN}`.", "schema": {"type": "string"}}
    return {
        200: {
            "model": model,
            "description": f"Erased, and asked for with `Prefer: {_RETURN}`.",
            "headers": {"Preference-Applied": applied},
        }
    }


def _wants_receipt(prefer: Sequence[str] | None) -> bool:
    return preferences.parse(prefer or ()).get("return") == "representation"


def _with_receipts(content: Document) -> Response:
    headers = {"Preference-Applied": _RETURN, "Cache-Control": "no-store"}
    return JSONResponse(content, headers=headers)


@router.delete(
    "/{session_id}",
    status_code=204,
    responses=_returning(DeletionReceipt)
    | documented(
        errors.UserTokenRequired,
        errors.SessionNotFound,
        errors.RateLimited,
        errors.DatabaseUnavailable,
    ),
)
def erase_one(session_id: UUID, rt: Rt, owners: Owners, prefer: Prefer = None) -> Response:
    """Erase a session in any state: row and pictures; a running job is cancelled.

    One that is gone already, unknown or another's is answered with 204 too, without effect; what
    cannot be an id is 404.
    """
    receipt = sessions.erase_one(rt.db, rt.storage, rt.issuer, session_id, owners=owners)
    if receipt is None or not _wants_receipt(prefer):
        return Response(status_code=204)
    return _with_receipts(receipt)


@router.delete(
    "",
    status_code=204,
    responses=_returning(ReceiptList)
    | documented(errors.UserTokenRequired, errors.RateLimited, errors.DatabaseUnavailable),
)
def erase_all(rt: Rt, owners: Owners, prefer: Prefer = None) -> Response:
    """Erase everything of this user token."""
    signed = sessions.erase_all(rt.db, rt.storage, rt.issuer, owners=owners)
    if not _wants_receipt(prefer):
        return Response(status_code=204)
    return _with_receipts({"items": signed})


Signature = Annotated[
    str | None,
    Security(
        APIKeyQuery(
            name="signature",
            scheme_name="PictureSignature",
            auto_error=False,
            description="Made by the server: part of the picture addresses of a session.",
        )
    ),
]


class PictureResponse(StreamingResponse):
    media_type = "image/jpeg"


@router.get(
    "/{session_id}/{picture}",
    response_class=PictureResponse,
    responses={
        200: {
            "description": "The picture.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in sessions.MEDIA_TYPES.values()
            },
        },
        **documented(
            errors.UserTokenRequired,
            errors.SessionNotFound,
            errors.NotReady,
            errors.SessionExpired,
            errors.ValidationFailed,
            errors.RateLimited,
            errors.DatabaseUnavailable,
        ),
    },
)
def read_picture(
    session_id: UUID,
    picture: PictureName,
    rt: Rt,
    owners: OwnersOrNone,
    expires: Annotated[str, Query(max_length=32)] = "",
    signature: Signature = None,
) -> Response:
    """The picture's bytes, for the owner's token or for the signed address of the session."""
    signed = partial(
        rt.keyring.verify_url, session_id, picture, expires=expires, signature=signature or ""
    )
    seen = sessions.find(rt.reads, session_id, owners=owners, signed=lambda now: signed(now=now))
    reader, size, media_type = sessions.open_picture(rt.storage, rt.vault, seen.row, picture)
    suffix = media_type.partition("/")[2].replace("jpeg", "jpg")
    return PictureResponse(
        _chunks(reader),
        media_type=media_type,
        headers={
            "Content-Length": str(size),
            "Content-Disposition": f'inline; filename="tryon-{picture}.{suffix}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )


def _read_form(form: CreateForm, rt: Runtime) -> Submission:
    """Check what is cheap to check, then the pictures."""
    name = form.engine or rt.default_engine
    engine = rt.engines.get(name)
    if engine is None:
        raise EngineUnknown(
            f"engine: use one of {', '.join(rt.engines)}, or leave it out.", pointer="engine"
        )
    _check_offer(form, engine.info)
    rt.egress.check(name, asked=form.allow_egress)
    if rt.worker is not None and name in rt.worker.engine_trouble:
        # Not why: that may name paths, and is the operator's to know.
        raise EngineUnavailable(
            f'The engine "{name}" is not available at the moment. Use another, or try again later.'
        )
    if rt.settings.consent_required and form.consent_version is None:
        raise ConsentRequired(
            "consent_version: send the version of what the shopper agreed to; "
            "this server takes no photo without.",
            pointer="consent_version",
        )
    garment_id = sessions.choose_garment(
        form.garment_id, own_picture=form.garment_image is not None
    )
    limits = replace(rt.image_limits, min_side=engine.info.min_side)
    person = images.load(form.person_image.file, field="person_image", limits=limits)
    garment = None
    if form.garment_image is not None:
        garment = images.load(form.garment_image.file, field="garment_image", limits=limits)
    return Submission(
        owner=rt.keyring.owner(form.user_token),
        engine=name,
        person=person,
        garment=garment,
        garment_id=garment_id,
        category=form.category,
        garment_photo_type=form.garment_photo_type,
        mode=form.mode,
        output_format=form.output_format,
        seed=form.seed,
        allow_egress=form.allow_egress,
        webhook_url=form.webhook_url,
        receiver=form.webhook_url
        and rt.keyring.receiver(receivers.read_url(form.webhook_url).name),
        retention=None
        if form.retention_seconds is None
        else timedelta(seconds=form.retention_seconds),
        consent_version=form.consent_version,
        delete_inputs_early=form.delete_inputs == "on_completion",
        request_id=structlog.contextvars.get_contextvars()["request_id"],
        traceparent=tracing.here(),
    )


def _check_offer(form: CreateForm, info: EngineInfo) -> None:
    """Raises ValidationFailed for what this engine does not do, before a picture is looked at."""
    offers = {"category": info.categories, "mode": info.modes}
    for field, offered in offers.items():
        if getattr(form, field) not in ("auto", *offered):
            raise ValidationFailed(
                f'{field}: the engine "{info.name}" takes {", ".join(offered)}.', pointer=field
            )


def _matches(if_none_match: Sequence[str], etag: str) -> bool:
    """if_none_match: each line of the header. Source: RFC 9110, 13.1.2: the weak comparison."""
    tags = [tag.strip().removeprefix("W/") for tag in ",".join(if_none_match).split(",")]
    return "*" in tags or etag in tags


def _chunks(reader: BinaryIO) -> Iterator[bytes]:
    with reader:
        while chunk := reader.read(_CHUNK):
            yield chunk
