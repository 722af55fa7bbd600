"""What the installation is at this moment, for Prometheus: asked of the database at each scrape.

Every server gives the same, so one looks at them with `max`. Where the database is away they are
absent: an old value would look like rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily

from app import __version__, crud
from app.database import Db, translate

log = structlog.get_logger(__name__)

_MEANINGS = {
    "tryonai_sessions_waiting": f"Sessions that wait for a worker, counted up to {crud.COUNT_TO}.",
    "tryonai_sessions_processing": f"Sessions in work, counted up to {crud.COUNT_TO}.",
    "tryonai_oldest_waiting_seconds": "Age of the session that was made first of those that wait;"
    " 0 when none waits.",
    "tryonai_oldest_overdue_seconds": "For how long the session that expired first has not been"
    " erased; 0 when none is left.",
    "tryonai_webhooks_pending": "Webhooks that are still to be delivered, counted up to"
    f" {crud.COUNT_TO}.",
    "tryonai_workers": "Worker processes that are alive, on all hosts.",
}
DATABASE_UP = "tryonai_database_up"
NAMES = (*_MEANINGS, DATABASE_UP, "tryonai_build_info")


Workers = Callable[[], Sequence[str] | None]
"""The names of the worker processes that are alive; None where that cannot be known."""


def measure(reads: Db, workers: Workers) -> list[GaugeMetricFamily]:
    """Never raises because of the database."""
    build = GaugeMetricFamily("tryonai_build_info", "Always 1.", labels=["version"])
    build.add_metric([__version__], 1)
    try:
        values = _ask(reads, workers)
    except Exception as exc:
        away = translate(exc)
        if away is None:
            raise
        log.warning("metrics.incomplete", reason=away.detail)
        values = {}
    up = GaugeMetricFamily(DATABASE_UP, "Whether the database answered.", value=bool(values))
    return [build, up, *(GaugeMetricFamily(n, _MEANINGS[n], value=v) for n, v in values.items())]


def _ask(reads: Db, workers: Workers) -> dict[str, float]:
    alive = workers()
    with reads() as tx:
        queue = crud.queue(tx)
        found: dict[str, float] = {
            "tryonai_sessions_waiting": queue.waiting,
            "tryonai_sessions_processing": queue.processing,
            "tryonai_oldest_waiting_seconds": queue.oldest_s,
            "tryonai_oldest_overdue_seconds": queue.overdue_s,
            "tryonai_webhooks_pending": crud.pending_deliveries(tx),
        }
    return found if alive is None else found | {"tryonai_workers": len(alive)}
