"""SIGTERM: nothing new is begun, what is in work is finished or released, and nothing is lost."""

from __future__ import annotations

import threading
import time

from app.commands.serving import CLOSE_CONNECTIONS_S
from app.database import Db
from app.runtime import WORKER_GRACE_S
from app.services.queue import Bell
from app.services.storage import LocalStorage
from app.services.worker import Worker
from tests.flows.conftest import Run, Serve, Shopper, Sql, wait_for, working

MOST_S = 15
"""A stopped server is gone after this."""


def test_an_idle_server_ends_at_once(serve: Serve) -> None:
    server = serve().ready()
    server.shopper.get()  # leaves a connection open

    server.terminate()

    assert server.wait(within_s=3) == 0


def test_a_server_that_is_just_starting_ends_too(serve: Serve) -> None:
    server = serve()
    wait_for(lambda: "postgres" in server.text or server.children() or server.text)

    server.terminate()

    assert server.wait(within_s=5) == 0


def test_a_signal_just_before_the_loop_does_not_break_it(serve: Serve) -> None:
    server = serve(ends_before_loop=True)

    assert server.wait(within_s=5) == 0
    assert "the loop begins" in server.text, "an exception inside the loop would break that"
    assert "Traceback" not in server.text


def test_what_is_nearly_done_is_finished(serve: Serve, shopper: Shopper) -> None:
    # Longer than uvicorn takes to close, a few tenths of a second: only then the worker stops.
    server = serve(mock_seconds=1.5).ready()
    session_id, waiting = server.shopper.submit(), server.shopper.submit()
    wait_for(lambda: server.shopper.see(session_id)["stage"])

    server.terminate()

    assert server.wait() == 0
    session = shopper.see(session_id)
    assert (session["status"], session["attempts"]) == ("completed", 1)
    assert shopper.see(waiting)["status"] == "created", "nothing new is begun"


def test_what_takes_longer_is_released_and_another_finishes_it(
    serve: Serve, run: Run, shopper: Shopper
) -> None:
    grace_s = 0.2
    ids = [shopper.submit(), shopper.submit()]
    programs = [
        serve(mock_seconds=30, grace_s=grace_s),
        run("worker", mock_seconds=30, grace_s=grace_s),
    ]
    for session_id in ids:
        wait_for(lambda one=session_id: shopper.see(one)["stage"])  # type: ignore[misc]

    for program in programs:
        program.terminate()
        began = time.monotonic()
        assert program.wait() == 0
        rest_s = time.monotonic() - began - grace_s
        assert WORKER_GRACE_S + CLOSE_CONNECTIONS_S + rest_s < MOST_S

    run("worker")
    for session_id in ids:
        session = shopper.wait(session_id, "completed", within_s=4)  # and not after its lease
        assert session["attempts"] >= 2


def test_an_engine_that_is_still_loading_keeps_nobody(run: Run, shopper: Shopper) -> None:
    name = "tests.engines_for_tests:LoadsForEver"
    worker = run("worker", engine=name, engines=name, grace_s=0.2)
    wait_for(worker.children)

    worker.terminate()

    assert worker.wait(within_s=3) == 0


def test_a_session_whose_engine_is_still_loading_is_released(
    run: Run, shopper: Shopper, sql: Sql
) -> None:
    name = "tests.engines_for_tests:LoadsForEver"
    session_id = shopper.submit()
    sql("UPDATE tryon_sessions SET engine = 'acts', attempts = 2")
    worker = run("worker", engine="mock", engines=f"mock,{name}", grace_s=0.2)
    shopper.wait(session_id, "processing")

    worker.terminate()

    assert worker.wait(within_s=3) == 0
    assert shopper.see(session_id)["status"] == "created"


class _StopsInBetween(Bell):
    """A bell whose slot is told to stop at the very moment when it is about to clear it."""

    def __init__(self) -> None:
        super().__init__()
        self.worker: Worker | None = None
        self.rung = threading.Event()

    def slot(self) -> threading.Event:
        bell = self

        class Slot(threading.Event):
            def clear(self) -> None:
                if bell.worker is not None and not bell.rung.is_set():
                    stop = {"target": bell.worker.stop, "kwargs": {"grace_s": 5}}
                    threading.Thread(**stop).start()  # type: ignore[arg-type]
                    bell.rung.wait()
                super().clear()

        self._slots.append(Slot())
        return self._slots[-1]

    def ring(self) -> None:
        super().ring()
        self.rung.set()


def test_a_stop_between_two_looks_is_not_slept_through(db: Db, storage: LocalStorage) -> None:
    bell = _StopsInBetween()
    with working(db, storage, bell=bell) as worker:
        wait_for(lambda: worker.alive)
        bell.worker = worker
        bell._slots[0].set()

        wait_for(lambda: not worker.alive, within_s=3)
