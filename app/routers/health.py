"""How the service is, for people, load balancers and Prometheus."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from app import checks, metrics
from app.deps import Rt
from app.errors import DatabaseUnavailable, NotFound
from app.problems import documented
from app.schemas import Alive, Health
from app.services import gauges
from app.signing import same

router = APIRouter(tags=["health"])

_AWAY: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "The database or the storage is away."}
}


@router.get("/api/health", response_model=Health, response_model_exclude_none=True, responses=_AWAY)
def health(rt: Rt, response: Response) -> Health:
    """Each part with its state; 503 only without database or storage."""
    found = checks.examine(rt)
    response.headers["Cache-Control"] = "no-store"
    if found.status == "unavailable":
        response.status_code = 503
        response.headers["Retry-After"] = str(DatabaseUnavailable.retry_after_s)
    return found


@router.get("/api/health/live", response_model=Alive)
async def live() -> Alive:
    """The process is up."""
    return Alive()


@router.get(
    "/api/health/ready", response_model=Health, response_model_exclude_none=True, responses=_AWAY
)
def ready(rt: Rt, response: Response) -> Health:
    """It may receive traffic."""
    return health(rt, response)


MetricsToken = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(scheme_name="MetricsToken", auto_error=False)),
]


@router.get("/metrics", response_class=PlainTextResponse, responses=documented(NotFound))
def read_metrics(rt: Rt, sent: MetricsToken = None) -> Response:
    """Prometheus; where `METRICS_TOKEN` is set, only with it as Bearer."""
    token = rt.settings.metrics_token
    if token is not None:
        given = sent.credentials if sent is not None else ""
        if not same(given, token.get_secret_value()):
            raise NotFound("There is nothing at this address without the operator's token.")
    return Response(
        metrics.render(*gauges.measure(rt.reads, rt.workers)), media_type=CONTENT_TYPE_LATEST
    )
