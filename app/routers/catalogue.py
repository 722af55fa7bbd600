"""What can be asked for: engines, garments, sample people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse

from app import catalogue, errors
from app.deps import Rt
from app.engines import licences
from app.errors import NotFound
from app.problems import documented
from app.runtime import Runtime
from app.schemas import (
    EgressOut,
    EngineLimits,
    EngineList,
    EngineOut,
    GarmentList,
    GarmentOut,
    LicenceOut,
    PersonList,
    PersonOut,
    WeightOut,
)

router = APIRouter(prefix="/api/tryon", tags=["catalogue"])

_AN_HOUR = "public, max-age=3600"
_LIMITED = documented(errors.RateLimited)


GarmentId = Annotated[str, Path(examples=["tshirt-print"])]
PersonId = Annotated[str, Path(examples=["ada"])]


class WebpResponse(FileResponse):
    media_type = "image/webp"


@router.get("/engines", response_model=EngineList, responses=_LIMITED)
async def engines(rt: Rt) -> EngineList:
    """The engines of this server, the default one first."""
    limits = rt.image_limits
    return EngineList(
        items=[
            EngineOut(
                name=name,
                version=offered.info.version,
                title=offered.info.title,
                default=name == rt.default_engine,
                categories=list(offered.info.categories),
                photo_types=list(offered.info.photo_types),
                modes=list(offered.info.modes),
                limits=EngineLimits(
                    min_side=offered.info.min_side,
                    max_side=limits.max_side,
                    max_pixels=limits.max_pixels,
                    max_file_bytes=limits.max_bytes,
                ),
                licences=[
                    LicenceOut(
                        subject=one.subject,
                        licence=one.licence,
                        commercial=licences.is_commercial(one),
                    )
                    for one in licences.of(offered.info)
                ],
                weights=[
                    WeightOut(file=one.file, sha256=one.sha256) for one in offered.info.weights
                ],
                needs=list(offered.info.needs),
                deterministic=offered.info.deterministic,
                egress=offered.info.egress is not None,
                egress_to=_egress(rt, name),
            )
            for name, offered in rt.engines.items()
        ]
    )


@router.get("/garments", response_model=GarmentList, responses=_LIMITED)
async def garments(response: Response) -> GarmentList:
    """The built-in garments; the first is used where none is sent."""
    response.headers["Cache-Control"] = _AN_HOUR
    return GarmentList(
        items=[
            GarmentOut(
                id=one.id,
                name=one.name,
                category=one.category,
                garment_photo_type=one.garment_photo_type,
                image_url=f"{router.prefix}/garments/{one.id}/image",
            )
            for one in catalogue.garments()
        ]
    )


@router.get("/people", response_model=PersonList, responses=_LIMITED)
async def people(response: Response) -> PersonList:
    """Sample people to try with: computer-generated, nobody's photo."""
    response.headers["Cache-Control"] = _AN_HOUR
    return PersonList(
        items=[
            PersonOut(
                id=one.id,
                name=one.name,
                description=one.description,
                shows=one.shows,
                image_url=f"{router.prefix}/people/{one.id}/image",
            )
            for one in catalogue.people()
        ]
    )


@router.get(
    "/garments/{garment_id}/image",
    response_class=WebpResponse,
    responses=documented(errors.NotFound, errors.RateLimited),
)
async def garment_image(garment_id: GarmentId) -> FileResponse:
    return _image(catalogue.garment(garment_id))


@router.get(
    "/people/{person_id}/image",
    response_class=WebpResponse,
    responses=documented(errors.NotFound, errors.RateLimited),
)
async def person_image(person_id: PersonId) -> FileResponse:
    return _image(catalogue.person(person_id))


def _egress(rt: Runtime, engine: str) -> EgressOut | None:
    to = rt.engines[engine].info.egress
    if to is None:
        return None
    return EgressOut(host=to.host, purpose=to.purpose, allowed=rt.egress.allows(engine))


def _image(item: catalogue.Garment | catalogue.Person | None) -> FileResponse:
    if item is None:
        raise NotFound("There is no such picture in the catalogue.")
    return WebpResponse(item.path, headers={"Cache-Control": _AN_HOUR})
