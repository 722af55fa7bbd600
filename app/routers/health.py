"""How the service is, for people, load balancers and Prometheus."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from app import checks, crud, metrics
from app.deps import Rt
from app.errors import DatabaseUnavailable, NotFound
from app.problems import documented, of_exception
from app.schemas import Alive, Health

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
        if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
            raise NotFound("There is nothing at this address without the operator's token.")
    _measure_queue(rt)
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _measure_queue(rt: Rt) -> None:
    """Set the gauges from the rows; without a database they keep their last values."""
    try:
        with rt.reads() as tx:
            queue = crud.queue(tx)
            webhooks = crud.pending_deliveries(tx)
    except Exception as exc:
        if of_exception(exc) is None:
            raise
        return
    metrics.OVERDUE_SECONDS.set(queue.overdue_s)
    metrics.WAITING.set(queue.waiting)
    metrics.WEBHOOKS_PENDING.set(webhooks)
    metrics.PROCESSING.set(queue.processing)
    metrics.OLDEST_WAITING_SECONDS.set(queue.oldest_s)
