"""The request header `Prefer` (RFC 7240)."""

from __future__ import annotations

from collections.abc import Iterable


def parse(headers: Iterable[str]) -> dict[str, str]:
    """What is preferred, by name in lower case; the value is empty where none was given.

    Of a name that comes twice the first counts (section 2). What cannot be read is left out, as a
    preference may always be: parameters, and a comma inside of quotes, which nothing of ours has.
    """
    found: dict[str, str] = {}
    for part in ",".join(headers).split(","):
        name, _, value = part.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def wait_s(preferred: dict[str, str], *, most: int) -> int | None:
    """For how long the client would wait, whole seconds up to `most`; None where it does not say.

    Source: RFC 7240, section 4.3.
    """
    text = preferred.get("wait", "")
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text.lstrip("0")[:9] or "0"), most)
