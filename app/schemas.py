"""What goes over the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.engines import Category, Mode, PhotoType
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


class LicenceOut(BaseModel):
    subject: str
    licence: str


class EngineLimits(BaseModel):
    min_side: int = Field(description="The shortest side a picture must have, pixels.")
    max_side: int
    max_pixels: int
    max_file_bytes: int


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
    licences: list[LicenceOut]
    egress: bool = Field(description="Whether photos leave this server.")


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


class Health(BaseModel):
    status: Literal["ok", "degraded", "unavailable"]
    version: str
    parts: dict[str, Part]
    waiting: int | None = Field(default=None, description="Sessions that wait for a worker.")
    processing: int | None = Field(default=None, description="Sessions that are worked on.")


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
