"""Celery's side of the worker: `python -m app worker`, or `celery -A app.celery_app worker`.

The main process only takes messages and hands them to its children; each child has the runtime of a
worker, and its engines in processes of their own. See docs/adr/0016.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from uuid import UUID

import structlog

from app import logs
from app.config import Settings, load_settings
from app.errors import DatabaseUnavailable
from app.runtime import Runtime, broker_url, offered_engines, open_runtime, serving
from app.services.broker import TASK, make_celery

log = structlog.get_logger(__name__)


class _Child:
    """What a child process has, from its fork to its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._own: Runtime | None = None
        self.inherited: Runtime | None = None
        """The main process's, whose connections are not ours to use, nor to end."""

    def open(self, **_: object) -> None:
        if self.inherited is not None:
            self.inherited.leave_connections()
        parts = serving(self._settings, concurrency=1, told=True)
        self._own = self._stack.enter_context(parts)

    def close(self, **_: object) -> None:
        self._stack.close()

    def work_on(self, session_id: UUID) -> None:
        assert self._own is not None, "a child is opened before its first message"
        assert self._own.worker is not None
        self._own.worker.work_on(session_id)


def _request() -> type[Any]:
    """Of the main process: what it knows of a message that one of its children works on."""
    from celery.worker.request import Request  # noqa: PLC0415 - there, or `make_celery` had told
    from kombu.asynchronous import get_event_loop  # noqa: PLC0415

    def look(message: Any, rounds: int) -> None:
        """Whether the acknowledgement, which the loop sends in a round of its own, has been."""
        if message.acknowledged:
            return
        if rounds == 0:
            raise ConnectionResetError("a message could not be acknowledged")
        soon(message, rounds - 1)

    def soon(message: Any, rounds: int) -> None:
        loop: Any = get_event_loop()
        if loop is not None:
            loop.call_soon(look, message, rounds)

    class Acknowledging(Request):  # type: ignore[misc]
        """Connects anew where it could not acknowledge.

        Celery only logs that: the message counts as in work for ever, and no other is asked for.
        """

        def acknowledge(self) -> None:
            super().acknowledge()
            soon(self.message, rounds=2)

    return Acknowledging


def make(settings: Settings) -> tuple[Any, _Child]:
    """The application with its one task, and what its children will have."""
    app = make_celery(broker_url(settings), engines=tuple(offered_engines(settings)))
    from celery import signals  # noqa: PLC0415 - there, or `make_celery` had told

    child = _Child(settings)

    @app.task(name=TASK, Request=_request())  # type: ignore[untyped-decorator]
    def attempt(session_id: str) -> None:
        child.work_on(UUID(session_id))

    # weak: the signals would forget methods that nobody else holds.
    signals.worker_process_init.connect(child.open, weak=False)
    signals.worker_process_shutdown.connect(child.close, weak=False)
    signals.setup_logging.connect(
        lambda **_: logs.configure(style=settings.log_format, level=settings.log_level), weak=False
    )
    return app, child


def work(settings: Settings, *, concurrency: int) -> int:
    """Work until SIGTERM, which lets what is in work finish; SIGQUIT puts it back after 10 s."""
    app, child = make(settings)
    with open_runtime(settings) as runtime:
        try:
            runtime.prepare()
        except DatabaseUnavailable as exc:
            log.warning("database.away", reason=exc.detail, notes=exc.notes)
        child.inherited = runtime
        worker = app.Worker(
            concurrency=concurrency,
            pool_cls="prefork",
            loglevel=settings.log_level.upper(),
            quiet=True,
            # They tell workers of each other, which nobody asks, and cost a second at the start.
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        return int(worker.exitcode or 0)


def __getattr__(name: str) -> Any:
    """`app`, made when Celery's own command asks for it: importing this reads no settings."""
    if name != "app":
        raise AttributeError(name)
    app, _ = make(load_settings())
    globals()["app"] = app
    return app
