"""The application: lifespan, middleware, routers, problems, documentation, the page.

`uvicorn app.main:app`, `python -m app serve`, or `cd app && python main.py`.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Started as a file, Python looks for modules beside it; ours are one folder up.
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from app.__main__ import main

    raise SystemExit(main(["serve"]))

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, Response

from app import __version__, logs, problems, web
from app.config import Settings, load_settings
from app.document import describe
from app.middleware.edge import Cors, ProcessEdge
from app.middleware.lenient import Lenient
from app.middleware.limits import Limits
from app.middleware.logging import RequestLogging
from app.routers import catalogue, health, receipts, tryon
from app.runtime import Runtime, offered_engines, serving
from app.services.ratelimit import ClientAddress, Limiter, RateLimiter

MAX_FILES = 2
MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
FORM_OVERHEAD_BYTES = 64 * 1024

_DOCS_FILES = Path(fastapi_offline.__file__).parent / "static"
_DOCS_SCRIPT = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
# Both are made with scripts and styles in the page, and ReDoc's search with a worker.
_DOCS_PAGE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_EXPOSED = [
    "Location",
    "Retry-After",
    "ETag",
    "Date",
    "RateLimit",
    "RateLimit-Policy",
    "X-Request-ID",
    "Idempotency-Replayed",
    "Preference-Applied",
]

DESCRIPTION = """
Self-hosted virtual try-on. Send a shopper's photo and a garment, get a session at once, poll it,
and fetch the picture; after the time of `expires_at` everything is erased.

Every error is `application/problem+json` with a `code` that never changes its meaning.
"""


def create_app(
    settings: Settings, runtime: Runtime | None = None, *, page: Path = web.DIST
) -> FastAPI:
    """The ASGI application.

    runtime: parts that run already; without them they start and stop with the application.
    page: the folder of the built browser page.
    """
    limiter = _limiter(settings)
    create_bytes = MAX_FILES * settings.max_file_bytes + FORM_OVERHEAD_BYTES
    app = FastAPI(
        title="TryOnAI",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # The framework's own would send what was refused, with the values, wherever a variable of
        # its says so. Ours is `tracing`.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
        lifespan=_lifespan(settings, runtime, limiter),
        form_limits={
            "max_files": MAX_FILES,
            "max_fields": MAX_FIELDS,
            "max_part_size": MAX_FIELD_BYTES,
        },
        middleware=[
            Middleware(RequestLogging, clients=ClientAddress(settings.trusted_proxies)),
            # Around everything that answers, so that a page can read errors too.
            Middleware(
                Cors,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=[
                    *("X-User-Token", "X-Request-ID", "If-None-Match"),
                    *("Idempotency-Key", "Prefer"),
                ],
                expose_headers=_EXPOSED,
            ),
            Middleware(ProcessEdge),
            Middleware(Limits, limiter=limiter, create_bytes=create_bytes),
            Middleware(Lenient),
        ],
    )
    problems.install(app)
    app.router.routes.extend(_routes().routes)
    _add_documentation(app, settings)
    web.install(app, page)
    return app


@cache
def _routes() -> APIRouter:
    """The API's routes, the same in every application: each would make them anew, in 20 ms."""
    api = APIRouter()
    for router in (tryon.router, receipts.router, catalogue.router, health.router):
        api.include_router(router)
    return api


def _lifespan(
    settings: Settings, runtime: Runtime | None, limiter: Limiter | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            if limiter is not None:
                closing.push_async_callback(limiter.close)
            if runtime is not None:
                app.state.runtime = runtime
                yield
                return
            logs.configure(style=settings.log_format, level=settings.log_level)
            with ExitStack() as stack:
                parts = serving(settings, concurrency=settings.worker_concurrency)
                app.state.runtime = await run_in_threadpool(stack.enter_context, parts)
                settle()
                yield
                await run_in_threadpool(stack.close)

    return lifespan


def settle() -> None:
    """Tell the garbage collector that what start-up made is there to stay, and to look less often.

    It took a twentieth of a create's CPU. What requests leave behind goes by reference counts;
    cycles wait a few requests longer now.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _limiter(settings: Settings) -> Limiter | None:
    if not settings.rate_limit_enabled:
        return None
    rates = {"create": settings.rate_limit_create, "other": settings.rate_limit_other}
    if settings.redis_url is None:
        return RateLimiter(**rates)
    from app.services.shared_limit import SharedLimiter  # noqa: PLC0415 - a laptop has no Redis

    return SharedLimiter(settings.redis_url.get_secret_value(), **rates)


def _add_documentation(app: FastAPI, settings: Settings) -> None:
    """Swagger UI and ReDoc from our own server: they work without a network."""
    described = cache(partial(describe, app, engines=list(offered_engines(settings))))
    app.openapi = described  # type: ignore[method-assign] # FastAPI's documented way
    files = "/api/docs/assets"

    @app.get(f"{files}/redoc.standalone.js", include_in_schema=False)
    async def redoc_script() -> Response:
        return Response(_redoc_script(), media_type="text/javascript", headers=_DOCS_SCRIPT)

    app.mount(files, StaticFiles(directory=_DOCS_FILES), name="docs-assets")

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/api/openapi.json",
            title="TryOnAI API",
            swagger_js_url=f"{files}/swagger-ui-bundle.js",
            swagger_css_url=f"{files}/swagger-ui.css",
            swagger_favicon_url=f"{files}/favicon.png",
        )
        page.headers.update(_DOCS_PAGE)
        return page

    @app.get("/api/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        page = get_redoc_html(
            openapi_url="/api/openapi.json",
            title="TryOnAI API",
            redoc_js_url=f"{files}/redoc.standalone.js",
            redoc_favicon_url=f"{files}/favicon.png",
            with_google_fonts=False,
        )
        page.headers.update(_DOCS_PAGE)
        return page


@cache
def _redoc_script() -> bytes:
    """ReDoc's, which would fetch its maker's logo from another host; an empty one does."""
    script = (_DOCS_FILES / "redoc.standalone.js").read_bytes()
    return script.replace(b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"data:image/svg+xml,")


def __getattr__(name: str) -> FastAPI:
    """`app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = create_app(load_settings())
    return app
