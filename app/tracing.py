"""Spans for OpenTelemetry, where the operator has named a collector (docs/adr/0018).

Its own variables decide: without OTEL_EXPORTER_OTLP_ENDPOINT nothing of it is imported, and all
that stands here does nothing. An attribute says what was done, never for whom: no id of a session,
no text that somebody sent, no message of an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from app.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
Attributes = Mapping[str, str | int | float | bool | None]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_tracer: Tracer | None = None


class Span:
    """What is going on. Where nobody listens, nothing."""

    def name(self, name: str) -> None: ...

    def note(self, attributes: Attributes) -> None:
        """By their whole names, as `http.route`, ours below `tryonai`; None is left out."""

    def fail(self, code: str) -> None:
        """code: of a closed set."""


def is_asked_for() -> bool:
    return any(map(os.environ.get, _ENDPOINTS)) and not (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none"
    )


@contextmanager
def exporting(version: str) -> Iterator[None]:
    """Send spans to the collector while the block lasts, if there is one. Raises SettingsError."""
    global _tracer  # noqa: PLW0603 - one for the process, as its log
    if not is_asked_for():
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not there: "
            "install requirements-cluster.txt."
        ) from exc
    about = {"service.version": version}
    if not _is_named():
        about["service.name"] = "tryonai"
    # Not the process's global provider: what other libraries record would come with it.
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("tryonai", version)
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


@contextmanager
def span(
    name: str,
    attributes: Attributes = MappingProxyType({}),
    *,
    kind: Kind = "INTERNAL",
    parent: str | None = None,
) -> Iterator[Span]:
    """One step, for as long as the block lasts, below the one around it.

    parent: a `traceparent`, for a step of a trace that began elsewhere.
    """
    if _tracer is None:
        yield _NOTHING
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    # An exception's message and frames stay here: see the log.
    with _tracer.start_as_current_span(
        name,
        context=_context(parent),
        kind=SpanKind[kind],
        attributes=_known(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as found:
        recorded = _Recorded(found)
        try:
            yield recorded
        except Exception as exc:
            recorded.fail(type(exc).__name__)
            raise


def past(
    name: str,
    attributes: Attributes = MappingProxyType({}),
    *,
    began: datetime | float,
    ended: datetime | float,
    parent: str | None = None,
) -> None:
    """A step that is over. Instants: seconds since 1970."""
    if _tracer is None:
        return
    made = _tracer.start_span(
        name, context=_context(parent), start_time=_ns(began), attributes=_known(attributes)
    )
    made.end(end_time=_ns(ended))


def here() -> str | None:
    """The `traceparent` of the step that is going on. Source: W3C Trace Context, level 1."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    at = get_current_span().get_span_context()
    if not at.is_valid:
        return None
    return f"00-{at.trace_id:032x}-{at.span_id:016x}-{int(at.trace_flags):02x}"


class _Recorded(Span):
    def __init__(self, found: object) -> None:
        from opentelemetry.trace import Span as Open  # noqa: PLC0415

        assert isinstance(found, Open)
        self._span = found

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(_known(attributes))

    def fail(self, code: str) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("error.type", code)


_NOTHING = Span()


def _context(parent: str | None) -> Context | None:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _ns(instant: datetime | float) -> int:
    seconds = instant.timestamp() if isinstance(instant, datetime) else instant
    return int(seconds * 1_000_000_000)


def _is_named() -> bool:
    named = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return "OTEL_SERVICE_NAME" in os.environ or "service.name=" in named
