"""How Redis is asked by whoever asks it here: once, for a quarter of a second (docs/adr/0017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.errors import SettingsError
from app.services.circuit import PATIENCE_S

if TYPE_CHECKING:
    from redis import Redis


def open_redis(
    url: str,
    *,
    setting: str,
    on_connect: Callable[[Any], None] | None = None,
    patience_s: float = PATIENCE_S,
) -> Redis:
    """A client for any number of threads, that has not connected yet.

    setting: that needs it. on_connect: greets in the client's place, on each new connection.
    Raises SettingsError where the client's package is not installed.
    """
    try:
        from redis import Redis  # noqa: PLC0415 - a laptop has none
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as exc:
        raise missing(setting) from exc
    options = {**ask_once(Retry, patience_s=patience_s), "redis_connect_func": on_connect}
    return Redis.from_url(url, **options)


def ask_once(retry: Callable[..., Any], *, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Options of a client: it would try three times by itself, with pauses.

    retry: `Retry` of the client's kind, threads' or coroutines'.
    """
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above

    return {
        "socket_timeout": patience_s,
        "socket_connect_timeout": patience_s,
        "retry": retry(NoBackoff(), 0),
    }


def missing(setting: str) -> SettingsError:
    return SettingsError(
        f"{setting} needs packages that are not here: install requirements-cluster.txt."
    )
