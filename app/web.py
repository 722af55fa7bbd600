"""The browser page: what its build has left in `frontend/dist`, or a small page that says why not.

The files are read once, when the application is made, and served from memory: a build under a
running server never shows half a page, and no path of a request ever reaches the disk.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from app.config import ROOT
from app.errors import NotFound

DIST = ROOT / "frontend" / "dist"
_NOT_BUILT = Path(__file__).parent / "page" / "not-built.html"

# Python's own table is the system's, and there a registry may say that a script is plain text.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_ALREADY_SMALL = frozenset({".ico", ".jpg", ".png", ".webp", ".woff2"})

# The names in `assets/` carry a digest of their content: what has one name never changes.
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
# Scripts, styles and fonts from here and nowhere else; previews of photos are blobs.
_POLICY = (
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_POLICY_NOT_BUILT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class WebFile:
    """One file of the page. packed: the same with gzip, where that is smaller."""

    body: bytes = field(repr=False)
    packed: bytes | None = field(repr=False)
    headers: Mapping[str, str]

    def answer(self, asked: Headers) -> Response:
        if self.headers["ETag"] in _tags(asked.getlist("if-none-match")):
            return Response(status_code=304, headers=self.headers)
        if self.packed is not None and _takes_gzip(asked.get("accept-encoding", "")):
            return Response(self.packed, headers={**self.headers, "Content-Encoding": "gzip"})
        return Response(self.body, headers=self.headers)


def install(app: FastAPI, folder: Path = DIST) -> None:
    """Add the page's routes. They come last: a route of the API with the same path wins.

    A route for each, and nothing mounted at `/`: that would match whatever a route of the API
    refuses, and answer 404 where 405 is meant.
    """
    files = read_build(folder)
    if files is None:
        app.add_route("/", _not_built, include_in_schema=False)
        return
    assets = {path: file for path, file in files.items() if path.startswith("assets/")}

    async def asset(request: Request) -> Response:
        file = assets.get("assets/" + request.path_params["name"])
        if file is None:
            raise NotFound("The page has no such file; it may be of an older build: reload.")
        return file.answer(request.headers)

    app.add_route("/assets/{name:path}", asset, include_in_schema=False)
    for path in files.keys() - assets.keys():
        at = "/" if path == "index.html" else f"/{path}"
        app.add_route(at, _giving(files[path]), include_in_schema=False)


@cache
def read_build(folder: Path) -> Mapping[str, WebFile] | None:
    """Every file of a build by its path in the folder, or None where there is no page."""
    if not (folder / "index.html").is_file():
        return None
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    return {path: _read(file, path) for path, file in sorted(found.items()) if file.is_file()}


def _read(file: Path, path: str) -> WebFile:
    body, kind = file.read_bytes(), file.suffix
    # Without a time in it the same file has the same bytes.
    packed = None if kind in _ALREADY_SMALL else gzip.compress(body, 9, mtime=0)
    headers = {
        "Content-Type": _TYPES.get(kind, "application/octet-stream"),
        "Cache-Control": _FOR_EVER if path.startswith("assets/") else _ASK_EACH_TIME,
        # Weak, because it names the content, packed or not.
        "ETag": f'W/"{hashlib.sha256(body).hexdigest()[:32]}"',
        "Vary": "Accept-Encoding",
        **_SAFE,
    }
    if kind == ".html":
        headers["Content-Security-Policy"] = _policy(body)
    return WebFile(body, packed if packed and len(packed) < len(body) else None, headers)


def _policy(page: bytes) -> str:
    """The policy of a page: of scripts in it those alone that the build has put there.

    A digest allows one text and no other (CSP level 3, section 6.7.3.3). A browser reads every
    line ending as one character, so a page that was built on Windows has the same digest.
    """
    scripts = _INLINE_SCRIPT.findall(page.replace(b"\r\n", b"\n"))
    digests = (hashlib.sha256(text).digest() for text in scripts)
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    return "; ".join((*_POLICY, " ".join(("script-src 'self'", *allowed))))


def _giving(file: WebFile) -> Callable[[Request], Awaitable[Response]]:
    async def give(request: Request) -> Response:
        return file.answer(request.headers)

    return give


async def _not_built(request: Request) -> Response:
    here = html.escape(f"{request.url.scheme}://{request.url.netloc}")
    return Response(
        _NOT_BUILT.read_text("utf-8").replace("http://localhost:8000", here),
        media_type="text/html",
        headers={
            "Content-Security-Policy": _POLICY_NOT_BUILT,
            "Cache-Control": "no-store",
            **_SAFE,
        },
    )


def _tags(lines: list[str]) -> set[str]:
    """The entity tags of an If-None-Match, compared weakly (RFC 9110, section 8.8.3.2)."""
    tags = (tag.strip() for tag in ",".join(lines).split(","))
    return {tag if tag.startswith("W/") else f"W/{tag}" for tag in tags}


def _takes_gzip(header: str) -> bool:
    """Whether an Accept-Encoding allows gzip: named, and not with a weight of nought."""
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
