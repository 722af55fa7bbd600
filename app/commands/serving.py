"""`serve`, `worker`, `cluster`: what runs until it is ended."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress

from app import __version__, metrics_folder, supervisor
from app import cluster as clusters
from app.config import Settings
from app.errors import DatabaseUnavailable, TryOnError

# What a client may take for an answer that is under way when the server ends.
CLOSE_CONNECTIONS_S = 3

MANY_FILES = 16_384


def serve(settings: Settings, options: argparse.Namespace) -> int:
    """Answer HTTP until SIGTERM or Ctrl-C; then finish or release what is in work."""
    host = options.host or settings.host
    port = settings.port if options.port is None else options.port
    if options.child is not None:
        listener = socket.socket(fileno=int(options.listener))
        return _serve(settings, listener, on_ready=_supervised(options.child))
    listener = listen(host, port)

    def announce() -> None:
        _print_addresses(host, listener.getsockname()[1])

    if options.workers > 1:
        return _serve_many(settings, listener, options.workers, on_ready=announce)
    return _serve(settings, listener, on_ready=announce)


def _supervised(pipes: str) -> Callable[[], None]:
    return supervisor.attach(pipes)


def _serve_many(
    settings: Settings, listener: socket.socket, count: int, *, on_ready: Callable[[], None]
) -> int:
    """The same in several processes, which share the socket; this one only looks after them."""
    if sys.platform == "win32":
        raise TryOnError("Several processes share a socket on Linux and macOS alone.")
    _allow_files()
    with listener, metrics_folder.shared(settings.data_dir):
        from app.runtime import open_runtime  # now, because what counts must know the folder

        with open_runtime(settings) as runtime:
            # Once, and before they start; an embedded database is kept for as long as they run.
            with suppress(DatabaseUnavailable):
                runtime.prepare()
            runtime.close_connections()
            command = supervisor.command_line("serve", f"--listener={listener.fileno()}")
            listening = (listener.fileno(),)
            return supervisor.Supervisor(
                command, count=count, shared=listening, on_ready=on_ready
            ).run()


def _serve(settings: Settings, listener: socket.socket, *, on_ready: Callable[[], None]) -> int:
    import uvicorn

    from app.http import BoundedHttpProtocol
    from app.main import create_app, settle
    from app.runtime import serving

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            settle()
            on_ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Or the server would wait for them until its patience ends.
            runtime.waits.release()
            if runtime.cache is not None:
                runtime.cache.release()
            await super().shutdown(sockets)

    _allow_files()
    signal.signal(signal.SIGTERM, _end)  # also while we start
    with listener, serving(settings, concurrency=settings.worker_concurrency) as runtime:
        config = uvicorn.Config(
            create_app(settings, runtime),
            http=BoundedHttpProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whose word counts for the client's address is TRUSTED_PROXIES's business alone.
            proxy_headers=False,
            timeout_graceful_shutdown=CLOSE_CONNECTIONS_S,
        )
        server = Server(config)
        # uvicorn takes the signal over once its loop runs. An exception in between would break the
        # loop ("this event loop is already running", exit status 1), so a signal is only noted. And
        # raised again by uvicorn at its end it must not break off what we still have to stop.
        signal.signal(signal.SIGTERM, server.handle_exit)
        server.run(sockets=[listener])
    return 0


def _allow_files() -> None:
    """As many open files as we may have: each poll that waits holds one, and shells allow 1,024."""
    if sys.platform == "win32":
        return
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Not more than anybody needs: some programs walk through all that there could be.
    enough = MANY_FILES if most == resource.RLIM_INFINITY else min(most, MANY_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, enough), most))


def _end(*_: object) -> None:
    """Unwind from wherever we are; a second signal must not break the unwinding off."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.exit(0)


def work(settings: Settings, options: argparse.Namespace) -> int:
    """Work until SIGTERM or Ctrl-C."""
    if options.engines:
        settings = settings.model_copy(update={"engines": options.engines})
    concurrency = options.concurrency or max(1, settings.worker_concurrency)
    if settings.task_queue == "celery":
        return _work_for_celery(settings, concurrency)
    from app.runtime import serving

    woken, waker = socket.socketpair()
    waker.setblocking(False)
    # Written to as the signal arrives: waiting for an Event would miss one that comes just before.
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with ExitStack() as stack:
        for one in (woken, waker):
            stack.enter_context(one)
        if settings.metrics_port is not None:
            stack.enter_context(_metrics(settings, settings.metrics_port))
        stack.enter_context(serving(settings, concurrency=concurrency))
        print(f"Working with {concurrency} slot(s); Ctrl-C ends.", flush=True)
        woken.recv(1)
    return 0


def _work_for_celery(settings: Settings, concurrency: int) -> int:
    with ExitStack() as stack:
        stack.enter_context(metrics_folder.shared(settings.data_dir))
        from app import celery_app  # now, because what counts must know the folder

        if settings.metrics_port is not None:
            stack.enter_context(_metrics(settings, settings.metrics_port))
        print(f"Working with {concurrency} process(es); Ctrl-C ends.", flush=True)
        return celery_app.work(settings, concurrency=concurrency)


def _metrics(settings: Settings, port: int) -> AbstractContextManager[object]:
    from app.metrics_server import answering

    listener = listen(settings.host, port)
    print(f"Metrics: {_base(settings.host, listener.getsockname()[1])}/metrics", flush=True)
    token = settings.metrics_token
    return answering(listener, token=None if token is None else token.get_secret_value())


def cluster(settings: Settings, options: argparse.Namespace) -> int:
    """Until Ctrl-C or SIGTERM, which end all of it."""
    from app.runtime import open_runtime

    signal.signal(signal.SIGTERM, _end)
    with open_runtime(settings) as runtime:
        runtime.prepare()  # once, before two of them want it
        runtime.close_connections()
        clusters.demo(
            settings.data_dir / "cluster",
            port=settings.port if options.port is None else options.port,
            tell=lambda line: print(line, flush=True),
        )
    return 0


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is started, so that a taken one is one clear sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # only this tells that somebody else has bound it a moment ago
    except OSError as exc:
        listener.close()
        raise TryOnError(
            f"Cannot listen on {host}:{port} ({exc.strerror}). Set HOST or PORT, "
            "or end the program that uses it."
        ) from exc
    return listener


def _print_addresses(host: str, port: int) -> None:
    base = _base(host, port)
    print(
        f"TryOnAI {__version__} is ready.\n"
        f"  page    {base}/\n  API     {base}/api/docs\n  health  {base}/api/health\n"
        "Ctrl-C ends it.",
        flush=True,
    )


def _base(host: str, port: int) -> str:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
