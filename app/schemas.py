"""What goes over the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from app.engines import Category, Mode, Need, PhotoType
from app.states import Status


def rfc3339(instant: datetime) -> str:
    """2026-11-22T10:00:00.000Z"""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]

_SESSION_EXAMPLE: dict[str, Any] = {
    "id": "7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d",
    "status": "completed",
    "engine": "warp",
    "category": "auto",
    "mode": "balanced",
    "seed": 1234567,
    "garment_id": "tshirt-print",
    "created_at": "2026-11-22T10:00:00.000Z",
    "updated_at": "2026-11-22T10:00:03.120Z",
    "started_at": "2026-11-22T10:00:00.012Z",
    "finished_at": "2026-11-22T10:00:03.120Z",
    "expires_at": "2026-11-23T10:00:00.000Z",
    "stage": "quality",
    "progress": 1.0,
    "queue_position": None,
    "attempts": 1,
    "warnings": [],
    "quality": 0.86,
    "provenance": {
        "engine": "warp",
        "version": "1",
        "weights": {
            "pose_detection.tflite": "9ba9dd3d42efaaba86b4ff0122b06f29"
            "c4122e756b329d89dca1e297fd8f866c"
        },
        "seed": 1234567,
        "category": "tops",
        "options": {
            "garment_photo_type": "auto",
            "mode": "balanced",
            "output_format": "jpeg",
        },
        "cost": None,
        "details": {},
    },
    "error_code": None,
    "error_reason": None,
    "input_image_url": "/api/tryon/sessions/7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d/input"
    "?expires=1795341900&signature=kq3…",
    "garment_image_url": "/api/tryon/sessions/7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d/garment"
    "?expires=1795341900&signature=x0b…",
    "output_image_url": "/api/tryon/sessions/7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d/output"
    "?expires=1795341900&signature=p9c…",
}


class CautionOut(BaseModel):
    """Something the shopper should know about a delivered picture."""

    code: str
    message: str


class CostOut(BaseModel):
    amount: str = Field(description="Decimal.")
    unit: str = Field(description="A currency (ISO 4217), or `credits`.")


class Provenance(BaseModel):
    """What made the picture: from the same two pictures it can be made again, also when these are
    gone from here. Keep it where you keep the picture."""

    engine: str
    version: str
    weights: dict[str, str] = Field(description="SHA-256 of each file of weights, by name.")
    seed: int
    category: str
    options: dict[str, str]
    cost: CostOut | None = Field(description="What a provider has charged, where it says so.")
    details: dict[str, str] = Field(
        description="What else the engine tells: a provider's model, its id of the run."
    )


class SessionOut(BaseModel):
    """One try-on. Poll it until `status` is `completed` or `failed`."""

    model_config = ConfigDict(json_schema_extra={"example": _SESSION_EXAMPLE})

    id: UUID
    status: Status
    engine: str
    category: Literal["auto", Category] = Field(
        description="What was asked for; once completed, what `auto` was decided to be."
    )
    mode: Mode
    seed: int
    garment_id: str | None = Field(description="The catalogue's garment, where one was used.")
    created_at: Instant
    updated_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    expires_at: Instant = Field(description="From this moment on the session is gone.")
    stage: str | None = Field(description="What the engine is at; the last stage once completed.")
    progress: float | None = Field(ge=0, le=1)
    queue_position: int | None = Field(
        ge=1, description="1 is next; null when not waiting, or beyond 1,000."
    )
    attempts: int
    warnings: list[CautionOut]
    quality: float | None = Field(ge=0, le=1)
    provenance: Provenance | None = Field(description="What made the picture; null before that.")
    error_code: str | None = Field(description="Why it failed: one of the documented codes.")
    error_reason: str | None = Field(description="The same as a sentence for the shopper.")
    input_image_url: str | None = Field(
        description="Relative, signed, valid for 5 to 7.5 minutes; null once the uploaded pictures "
        "were erased with `delete_inputs=on_completion`."
    )
    garment_image_url: str | None = Field(description="The same; never null for the catalogue's.")
    output_image_url: str | None


class SessionList(BaseModel):
    items: list[SessionOut]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page.")


_HASH = r"^[0-9a-f]{64}$"
_RECEIPT_EXAMPLE: dict[str, Any] = {
    "id": "0d5f4bd2-6f0e-4b6e-9f2b-3a8f6f1f0c11",
    "statement": {
        "type": "tryonai.deletion",
        "version": 1,
        "session_sha256": "2f9ac0b1a1d7b7b5a1f6a7a54e2f2a5d1d2a4fd9d3ad1ba6f3f2d8f8f2b1c7e0",
        "reason": "request",
        "erased_at": "2026-11-22T10:05:00.000Z",
        "pictures": [
            {
                "role": "input",
                "size": 69595,
                "sha256": "8b1a9953c4611296a827abf8c47804d7e6c49c6b2d1f4f1d3d3f2f0d6a0b9c11",
            }
        ],
        "others": 0,
    },
    "key_id": "Zg5nqY0q3q9p3m2m3xF4mJ5ZC4v3l8n6B9d2f7h1k0s",
    "signature": "J0m9…",
}


def _no_other_number(value: object) -> object:
    """1.0 and True are equal to 1, but no integers."""
    if type(value) is not int:
        raise ValueError("it must be an integer")
    return value


class _Stated(BaseModel):
    """Part of a receipt: as it stands there, and nothing beside it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ErasedPicture(_Stated):
    role: Literal["input", "garment", "output", "draft"] = Field(
        description="`draft`: a picture whose writing was interrupted."
    )
    size: int = Field(ge=0, lt=2**53, description="Bytes, as it was stored.")
    sha256: str | None = Field(
        pattern=_HASH,
        description="Of what was stored, which is ciphertext; null where it was in clear.",
    )


class DeletionStatement(_Stated):
    """What the service states: at that time nothing of this session was left in its place."""

    type: Literal["tryonai.deletion"]
    version: Annotated[Literal[1], BeforeValidator(_no_other_number)]
    session_sha256: str = Field(
        pattern=_HASH,
        description="Of the 36 characters of the session's id: `printf %s "
        "7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d | sha256sum`.",
    )
    reason: Literal["request", "expiry", "repair"] = Field(
        description="Its owner asked, its time was over, or it was incomplete: its pictures were "
        "lost, or its create failed."
    )
    erased_at: str = Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="When the last of it was gone, by the database's clock.",
    )
    pictures: list[ErasedPicture] = Field(description="All that were stored of it.")
    others: int = Field(
        ge=0, lt=2**53, description="Further files that went with it, of which no more is known."
    )


class DeletionReceipt(_Stated):
    """A signed statement that a session was erased. `docs/privacy.md` says what it proves."""

    model_config = ConfigDict(json_schema_extra={"example": _RECEIPT_EXAMPLE})

    id: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    statement: DeletionStatement
    key_id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{43}$", description="The JWK thumbprint of the key (RFC 7638)."
    )
    signature: str = Field(
        pattern=r"^[A-Za-z0-9_-]{86}$",
        description="Ed25519, in base64url, over the RFC 8785 JSON of all but `signature`.",
    )


class ReceiptList(BaseModel):
    items: list[DeletionReceipt]


class ReceiptKey(BaseModel):
    """A public key as RFC 7517 and RFC 8037 write it. kid: its thumbprint, a receipt's `key_id`."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]


class ReceiptKeys(BaseModel):
    """The JWK set: first the key that signs now, then those of secrets before."""

    keys: list[ReceiptKey]


class LicenceOut(BaseModel):
    subject: str = Field(description="The engine's code, or a file of its weights.")
    licence: str
    commercial: bool = Field(description="Whether it is known to allow commercial use.")


class WeightOut(BaseModel):
    file: str
    sha256: str = Field(pattern=_HASH)


class EngineLimits(BaseModel):
    min_side: int = Field(description="The shortest side a picture must have, pixels.")
    max_side: int
    max_pixels: int
    max_file_bytes: int


class EgressOut(BaseModel):
    """A create must ask for it with `allow_egress`."""

    host: str
    purpose: str
    allowed: bool = Field(description="Whether the operator allows it at all.")


class EngineOut(BaseModel):
    """What can be asked for."""

    name: str
    version: str
    title: str
    default: bool
    categories: list[Category]
    photo_types: list[PhotoType]
    modes: list[Mode]
    limits: EngineLimits
    licences: list[LicenceOut] = Field(description="Of its code, then of each file of weights.")
    weights: list[WeightOut]
    needs: list[Need] = Field(
        description="What is looked at before it: with any, photos of nobody and of several people "
        "are refused."
    )
    deterministic: bool = Field(description="The same pictures, options and seed, the same result.")
    egress: bool = Field(description="Whether photos leave this server.")
    egress_to: EgressOut | None = Field(description="Where they go; null when they stay.")


class EngineList(BaseModel):
    items: list[EngineOut]


class GarmentOut(BaseModel):
    id: str
    name: str
    category: Category
    garment_photo_type: PhotoType
    image_url: str


class GarmentList(BaseModel):
    items: list[GarmentOut]


class PersonOut(BaseModel):
    id: str
    name: str
    description: str = Field(description="What the picture shows, as its alternative text.")
    shows: Literal["half", "full"] = Field(
        description="How much of the person. `half`, down to the thighs: offer tops only, "
        "anything else is refused (`body_out_of_frame`) or cut off. `full`, down to the shoes: "
        "every category."
    )
    image_url: str


class PersonList(BaseModel):
    items: list[PersonOut]


class Part(BaseModel):
    """One part of the service. `detail` says what is wrong and what to do, where something is."""

    status: Literal["ok", "degraded", "unavailable"]
    detail: str | None = None


class EngineState(BaseModel):
    """`degraded`: it does not load here; the part `engine` says why, as far as all may read it."""

    status: Literal["ok", "degraded"]
    ready: int | None = Field(
        default=None,
        description="In how many processes of this worker it is loaded; 0 until its first session, "
        "null where this server only answers.",
    )


class Health(BaseModel):
    status: Literal["ok", "degraded", "unavailable"]
    version: str
    parts: dict[str, Part]
    waiting: int | None = Field(default=None, description="Sessions that wait for a worker.")
    processing: int | None = Field(default=None, description="Sessions that are worked on.")
    overdue_s: float | None = Field(
        default=None,
        description="For how long the session that expired first is not erased; 0 for none.",
    )
    engines: dict[str, EngineState] = Field(
        default_factory=dict, description="The engines of this server, by name."
    )


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class FieldError(BaseModel):
    pointer: str = Field(description="Where: `#/person_image`, `#/limit`.")
    detail: str


class Problem(BaseModel):
    """Every 4xx and 5xx, as RFC 9457 says it. `code` never changes its meaning."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] | None = None
