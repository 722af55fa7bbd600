"""The form of a create: its fields, what is refused of them, and what is handed on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

import structlog
from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app import tracing
from app.deps import TOKEN_PATTERN
from app.engines import Category, EngineInfo, Mode, PhotoType
from app.errors import ConsentRequired, EngineUnavailable, EngineUnknown, ValidationFailed
from app.runtime import Runtime
from app.services import images, receivers, sessions
from app.services.sessions import Submission

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


def read_form(form: CreateForm, rt: Runtime) -> Submission:
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
