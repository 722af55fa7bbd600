"""Reports of our mistakes to Sentry, where the operator has named one (docs/adr/0018).

What is reported is what the log calls an error, what it shows a traceback of, and a session that
failed by an engine's fault. A report is built here from what may leave, and nothing is collected
and then cleaned: an event's name, types, our own sentences, files with lines and functions, and
fields from closed sets. What a library says may quote a value; so it stays in the log.
"""

from __future__ import annotations

import errno
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from app.errors import FailureCode, SettingsError, TryOnError

if TYPE_CHECKING:
    from sentry_sdk.types import Event

# The same place with the same mistake, once in so long: a database that is away makes thousands.
AT_MOST_EVERY_S = 10.0
_PLACES = 1000
_FLUSH_S = 2.0
_CAUSES = 5
_FRAMES = 40

_ENGINES_FAULT = frozenset(
    {
        FailureCode.ENGINE_ERROR,
        FailureCode.ENGINE_TIMEOUT,
        FailureCode.ENGINE_OUT_OF_MEMORY,
        FailureCode.WORKER_LOST,
    }
)
# Fields of a line of the log, all from closed sets but for the number of an attempt.
_TAGS = ("engine", "code", "outcome", "attempt", "verb", "errno", "unknown_secret")
_WORD = re.compile(r"[\w.:-]{1,64}")
# Ours, made of random bits; a caller's own is not sent on.
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
# How an engine's process tells of an exception (`engines/child.py`), and of its end.
_REMOTE = re.compile(r"(\w+) in ([\w.-]+:\d+ [\w.<>]+(?: < [\w.-]+:\d+ [\w.<>]+)*)")
_SIGNAL = re.compile(r"the engine's process was ended by (SIG[A-Z0-9]+)")
# Of their own business, and of the way to Sentry itself.
_OTHERS = ("sentry_sdk", "urllib3", "opentelemetry")
# What the SDK knows of the process, and nothing of what it was at.
_SURROUNDINGS = ("event_id", "timestamp", "platform", "release", "environment", "server_name")


@contextmanager
def reporting(dsn: str | None, *, release: str) -> Iterator[None]:
    """Report while the block lasts. Raises SettingsError."""
    if dsn is None:
        yield
        return
    try:
        import sentry_sdk  # noqa: PLC0415 - only where it is asked for
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415
        from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415
        from sentry_sdk.utils import BadDsn  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsError(
            "SENTRY_DSN is set, and Sentry's SDK is not there: install requirements-cluster.txt."
        ) from exc
    try:
        sentry_sdk.init(
            dsn=dsn,
            release=f"tryonai@{release}",
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[ExcepthookIntegration(), ThreadingIntegration(propagate_scope=False)],
            before_send=_only_what_may_leave,
            before_breadcrumb=lambda *_: None,
            before_send_transaction=lambda *_: None,
            max_breadcrumbs=0,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            send_client_reports=False,
            auto_session_tracking=False,
            enable_logs=False,
            enable_metrics=False,
            spotlight=False,
            shutdown_timeout=_FLUSH_S,
        )
    except BadDsn as exc:
        raise SettingsError("SENTRY_DSN cannot be read: copy it whole from Sentry.") from exc
    handler = _Handler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        sentry_sdk.get_client().close(timeout=_FLUSH_S)
        sentry_sdk.init()  # none any more


class _Handler(logging.Handler):
    """Hears every line of the log, structlog's as the fields that it has."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[object, ...], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_OTHERS):
            return
        fields = record.msg if isinstance(record.msg, dict) else {"event": "library.error"}
        exc = _exception(fields.get("exc_info") or record.exc_info)
        if record.levelno < logging.ERROR and exc is None and not _is_engines_fault(fields):
            return
        report = _report(fields, exc, level=record.levelname.lower())
        if self._is_news(tuple(report["fingerprint"])):
            import sentry_sdk  # noqa: PLC0415

            sentry_sdk.capture_event(cast("Event", {}), hint={"report": report})

    def _is_news(self, place: tuple[object, ...]) -> bool:
        now = time.monotonic()
        if now - self._told.get(place, float("-inf")) < AT_MOST_EVERY_S:
            return False
        if len(self._told) >= _PLACES:
            self._told.clear()
        self._told[place] = now
        return True


def _only_what_may_leave(event: Event, hint: dict[str, Any]) -> Event | None:
    """The last door: whoever made an event, it is built anew. Threads that die come here alone."""
    report = hint.get("report")
    if report is None:
        exc = _exception(hint.get("exc_info"))
        if exc is None:
            return None
        report = _report({"event": "process.failed"}, exc, level="fatal")
    known = cast("Mapping[str, Any]", event)
    kept = {name: known[name] for name in _SURROUNDINGS if name in known}
    return cast("Event", {**kept, **report})


def _report(fields: Mapping[str, Any], exc: BaseException | None, *, level: str) -> dict[str, Any]:
    """fields: of a line of the log; those that are not named here stay behind."""
    event = _word(fields.get("event")) or "unnamed"
    tags = {name: word for name in _TAGS if (word := _word(fields.get(name)))}
    request_id = str(fields.get("request_id", ""))
    if _REQUEST_ID.fullmatch(request_id):
        tags["request_id"] = request_id
    why = str(fields.get("why", ""))
    if ended := _SIGNAL.match(why):
        tags["signal"] = ended[1]
    values = _remote(why) if exc is None else [_told(one) for one in reversed(_chain(exc))]
    place = [one["stacktrace"]["frames"][-1:] for one in values[-1:]]
    return {
        "level": level,
        "logentry": {"message": event},
        "tags": {"event": event, **tags},
        "fingerprint": [
            event,
            tags.get("code", ""),
            tags.get("engine", ""),
            *(one["type"] for one in values),
            str(place),
        ],
        **({"exception": {"values": values}} if values else {}),
    }


def _told(exc: BaseException) -> dict[str, Any]:
    return {
        "type": type(exc).__name__,
        "module": type(exc).__module__,
        "value": _said(exc),
        "stacktrace": {"frames": _frames(exc.__traceback__)},
    }


def _said(exc: BaseException) -> str:
    """Of its message what cannot quote a value: a class's title, a number that has a name."""
    if isinstance(exc, TryOnError):
        return exc.title
    if isinstance(exc, OSError) and exc.errno is not None:
        return errno.errorcode.get(exc.errno, "")
    state = getattr(getattr(exc, "orig", exc), "pgcode", None)  # SQLSTATE
    return f"SQLSTATE {state}" if isinstance(state, str) and _WORD.fullmatch(state) else ""


def _chain(exc: BaseException) -> list[BaseException]:
    """An exception and what it came of, as a traceback would show them."""
    found: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in found and len(found) < _CAUSES:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found


def _frames(trace: TracebackType | None) -> list[dict[str, Any]]:
    frames = []
    while trace is not None:
        code, module = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__", ""))
        frames.append(
            {
                "filename": _place(code.co_filename),
                "function": code.co_qualname,
                "module": module,
                "lineno": trace.tb_lineno,
                "in_app": module.split(".", maxsplit=1)[0] == "app",
            }
        )
        trace = trace.tb_next
    return frames[-_FRAMES:]


def _remote(why: str) -> list[dict[str, Any]]:
    """An exception in an engine's process, of which we have the words alone."""
    found = _REMOTE.fullmatch(why)
    if found is None:
        return []
    frames = []
    for step in reversed(found[2].split(" < ")):
        place, _, function = step.partition(" ")
        filename, _, line = place.rpartition(":")
        frames.append({"filename": filename, "function": function, "lineno": int(line)})
    return [{"type": found[1], "value": "", "stacktrace": {"frames": frames}}]


def _place(filename: str) -> str:
    """A file by its path within its package: where that lies may be named for somebody."""
    parts = Path(filename).parts
    for top in ("site-packages", "app"):
        if top in parts:
            return "/".join(parts[len(parts) - 1 - parts[::-1].index(top) + (top != "app") :])
    return Path(filename).name


def _exception(info: object) -> BaseException | None:
    if info is True:
        return sys.exc_info()[1]
    if isinstance(info, tuple):
        info = info[1]
    return info if isinstance(info, BaseException) else None


def _is_engines_fault(fields: Mapping[str, Any]) -> bool:
    return fields.get("event") == "session.failed" and fields.get("code") in _ENGINES_FAULT


def _word(value: object) -> str | None:
    text = str(value)
    return text if value is not None and _WORD.fullmatch(text) else None
