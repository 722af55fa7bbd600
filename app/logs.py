"""How logs look: readable lines on a console, or one JSON object a line.

Every library's records take the same way, so that a line has one shape whoever wrote it.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_HTTP_EVENTS = frozenset({"request", "response"})


def configure(*, style: Literal["console", "json"], level: str) -> None:
    """Send all logging of this process to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ends(style)],
        )
    )
    # The frame, thread and process of each record are shown nowhere; to find them takes a third
    # of the time of a line. (Python's logging HOWTO, "Optimization".)
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined] # since 3.12
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Their lines say nothing that ours do not; at `info` they would double each of them.
    for name in ("uvicorn.error", "apscheduler", "alembic", "celery", "kombu"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    # At `debug` it writes down each request: the URL of a webhook, which may hold a secret.
    for name in ("httpcore", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Started by its own command, uvicorn logs in its own way: addresses and signed URLs in clear.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


def _ends(style: str) -> list[Processor]:
    if style == "json":
        # Frames only: a local variable may be a photo or a token.
        frames = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        return [frames, structlog.processors.JSONRenderer()]
    return [
        _as_sentence,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=0,
        ),
    ]


def _as_sentence(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A request and its answer as the lines that an operator reads."""
    if event.get("event") not in _HTTP_EVENTS:
        return event
    line = f"{event.pop('method')} {event.pop('path')}"
    if event["event"] == "request":
        line = f"Request: {line} - Client: {event.pop('client')}"
    else:
        line = (
            f"Response: {line} - Status: {event.pop('status')}"
            f" - Time: {event.pop('ms') / 1000:.3f}s - Client: {event.pop('client')}"
        )
    return {**event, "event": line}
