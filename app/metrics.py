"""Every metric, declared in one place. Labels come from closed sets; nothing personal is one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from app import metrics_folder

# When each counter began: as many lines again, and with several processes there are none anyway.
disable_created_metrics()

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "tryonai_http_requests_total",
    "HTTP requests by route template.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "tryonai_http_request_seconds",
    "Seconds from the first byte of a request to the last of its answer, without what a long poll"
    " waited.",
    ["method", "route"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LONG_POLLS = Gauge(
    "tryonai_long_polls",
    "Polls that wait for a change.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
LIMITER_ERRORS = Counter(
    "tryonai_limiter_errors_total",
    "Calls whose limit could not be asked of Redis, and was counted by this process alone.",
    registry=REGISTRY,
)
SESSION_CACHE = Counter(
    "tryonai_session_cache_total",
    "Sessions that polls asked the cache for: hit, miss, error (it could not be asked); and"
    " unconfirmed, changes that it could not be told of.",
    ["outcome"],
    registry=REGISTRY,
)
for _outcome in ("error", "unconfirmed"):
    SESSION_CACHE.labels(_outcome)  # or the first one would be no increase
JOBS = Counter(
    "tryonai_jobs_total",
    "Attempts by engine and outcome: completed, an error code, unavailable, cancelled, released,"
    " late.",
    ["engine", "outcome"],
    registry=REGISTRY,
)
JOB_SECONDS = Histogram(
    "tryonai_job_seconds",
    "Seconds that one attempt took.",
    ["engine"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
WAIT_SECONDS = Histogram(
    "tryonai_wait_seconds",
    "Seconds from a session's create to its first attempt.",
    ["engine"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900),
)
LEASES_LOST = Counter(
    "tryonai_leases_lost_total",
    "Claimed sessions that were taken back because their lease ran out.",
    registry=REGISTRY,
)
RINGS = Counter(
    "tryonai_queue_messages_total",
    "Messages to the broker of sessions that wait: sent, failed (and tried again), dropped.",
    ["outcome"],
    registry=REGISTRY,
)
NEWS = Counter(
    "tryonai_news_total",
    "News to other processes over Redis: sent, dropped because it is away or too many wait.",
    ["outcome"],
    registry=REGISTRY,
)
PURGED = Counter(
    "tryonai_sessions_purged_total", "Sessions erased because they expired.", registry=REGISTRY
)
STORAGE_FAILURES = Counter(
    "tryonai_storage_failures_total",
    "What the storage refused, after all tries: operation is written, read, deleted or listed;"
    " reason full or unavailable, and of a store of others also denied, no_bucket, throttled or"
    " refused.",
    ["operation", "reason"],
    registry=REGISTRY,
)
for _operation, _reason in product(("written", "read", "deleted"), ("full", "unavailable")):
    STORAGE_FAILURES.labels(_operation, _reason)  # or the first failure would be no increase
WEBHOOKS = Counter(
    "tryonai_webhook_attempts_total",
    "Attempts to deliver a webhook, by the class of the answer's status, or why there was none.",
    ["outcome"],
    registry=REGISTRY,
)
ORPHANS = Gauge(
    "tryonai_orphan_files",
    "Files without a session that the last sweep found, deleted or not.",
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)


def render(*more: Metric) -> bytes:
    """All of them in the Prometheus text format, and what else is known at this moment.

    Of all processes that count into one folder, where this one is among several.
    """
    now = CollectorRegistry()
    now.register(_Fixed(more))
    folder = metrics_folder.current()
    if folder is None:
        return generate_latest(REGISTRY) + generate_latest(now)
    together = CollectorRegistry()
    MultiProcessCollector(together, path=str(folder))
    with metrics_folder.read(folder):
        return generate_latest(together) + generate_latest(now)


class _Fixed:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics
