"""Everything raised on purpose.

TryOnError
├── BadRequest            400, 401, 404, 409, 410, 413, 415, 422, 429: the caller can change something
├── Unavailable           503, 507: a part is away or full; trying again later may work
└── EngineError           a run failed: its code and sentence end up in the session's row

Codes are public (docs/errors.md): add, never rename. `detail` is one sentence for the caller that
says what to change, with the numbers; it holds no path, key, token or stack trace.
"""

from __future__ import annotations


class TryOnError(Exception):
    """The root. `status`, `code` and `title` are of the class, `detail` of the moment."""

    status = 500
    code = "internal_error"
    title = "Something went wrong on the server"

    def __init__(self, detail: str = "", *, pointer: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.pointer = pointer


class DatabaseUnavailable(TryOnError):
    status, code, title = 503, "unavailable", "The service is not available for a moment"
