"""Sessions: create, poll, list, fetch pictures, erase."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, BinaryIO
from uuid import UUID

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
)
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import APIKeyQuery
from pydantic import BaseModel
from starlette.datastructures import UploadFile as UploadedFile

from app import errors, preferences
from app.crud import Seen
from app.deps import Owners, OwnersOrNone, Rt
from app.errors import ServiceError, ValidationFailed, WebhookRefused
from app.problems import documented
from app.routers.create_form import CreateForm, read_form
from app.runtime import Runtime
from app.schemas import DeletionReceipt, ReceiptList, SessionList, SessionOut
from app.services import idempotency, sessions, waits
from app.services.idempotency import Repeatable
from app.services.receipts import Document
from app.services.sessions import PictureName

router = APIRouter(prefix="/api/tryon/sessions", tags=["sessions"])

_CHUNK = 64 * 1024

SLOT_WAIT_S = 20.0
"""For a turn of the few uploads that are taken at once; proxies wait 60 s for all of it."""

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
    submission = read_form(form, rt)
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


async def _let_cache_forget(rt: Runtime, hide: Callable[[], Sequence[UUID]]) -> None:
    """Hide what is to be erased, and wait until no poll finds it, where there is a cache of them.

    On the event loop: with Redis away that takes seconds, and threads are for who works.
    """
    if rt.cache is not None:
        await rt.cache.settled(await to_thread.run_sync(hide))


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
async def erase_one(session_id: UUID, rt: Rt, owners: Owners, prefer: Prefer = None) -> Response:
    """Erase a session in any state: row and pictures; a running job is cancelled.

    One that is gone already, unknown or another's is answered with 204 too, without effect; what
    cannot be an id is 404.
    """
    await _let_cache_forget(rt, partial(sessions.hide_one, rt.db, session_id, owners=owners))
    erase = partial(sessions.erase_one, rt.db, rt.storage, rt.issuer, session_id, owners=owners)
    receipt = await to_thread.run_sync(erase)
    if receipt is None or not _wants_receipt(prefer):
        return Response(status_code=204)
    return _with_receipts(receipt)


@router.delete(
    "",
    status_code=204,
    responses=_returning(ReceiptList)
    | documented(errors.UserTokenRequired, errors.RateLimited, errors.DatabaseUnavailable),
)
async def erase_all(rt: Rt, owners: Owners, prefer: Prefer = None) -> Response:
    """Erase everything of this user token."""
    await _let_cache_forget(rt, partial(sessions.hide_all, rt.db, owners=owners))
    erase = partial(sessions.erase_all, rt.db, rt.storage, rt.issuer, owners=owners)
    signed = await to_thread.run_sync(erase)
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


def _matches(if_none_match: Sequence[str], etag: str) -> bool:
    """if_none_match: each line of the header. Source: RFC 9110, 13.1.2: the weak comparison."""
    tags = [tag.strip().removeprefix("W/") for tag in ",".join(if_none_match).split(",")]
    return "*" in tags or etag in tags


def _chunks(reader: BinaryIO) -> Iterator[bytes]:
    with reader:
        while chunk := reader.read(_CHUNK):
            yield chunk
