"""Every metric, declared in one place. Labels come from closed sets; nothing personal is one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
LONG_POLLS = Gauge("tryonai_long_polls", "Polls that wait for a change.", registry=REGISTRY)
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
LEASES_LOST = Counter(
    "tryonai_leases_lost_total",
    "Claimed sessions that were taken back because their lease ran out.",
    registry=REGISTRY,
)
PURGED = Counter(
    "tryonai_sessions_purged_total", "Sessions erased because they expired.", registry=REGISTRY
)
WEBHOOKS = Counter(
    "tryonai_webhook_attempts_total",
    "Attempts to deliver a webhook, by the class of the answer's status, or why there was none.",
    ["outcome"],
    registry=REGISTRY,
)
WEBHOOKS_PENDING = Gauge(
    "tryonai_webhooks_pending", "Webhooks that are still to be delivered.", registry=REGISTRY
)
OVERDUE_SECONDS = Gauge(
    "tryonai_oldest_overdue_seconds",
    "For how long the session that expired first has not been erased; 0 when none is left.",
    registry=REGISTRY,
)
ORPHANS = Gauge(
    "tryonai_orphan_files",
    "Files without a session that the last sweep of this process found, deleted or not.",
    registry=REGISTRY,
)
WAITING = Gauge("tryonai_sessions_waiting", "Sessions that wait for a worker.", registry=REGISTRY)
PROCESSING = Gauge(
    "tryonai_sessions_processing", "Sessions that a worker has claimed.", registry=REGISTRY
)
OLDEST_WAITING_SECONDS = Gauge(
    "tryonai_oldest_waiting_seconds",
    "Age of the session that has waited longest; 0 when none waits.",
    registry=REGISTRY,
)


def render() -> bytes:
    """All of them in the Prometheus text format."""
    return generate_latest(REGISTRY)
