"""Celery as the doorbell: nothing is lost or done twice, whoever dies (docs/adr/0016)."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from typing import Any

import psutil
import pytest

from tests.flows.conftest import Program, Run, Serve, Server, Shopper, Sql, wait_for
from tests.servers import Redis

pytestmark = pytest.mark.cluster

LEASE_S = 3


@pytest.fixture
def with_celery(redis: Redis) -> dict[str, Any]:
    """The settings of a cluster's processes."""
    return {"task_queue": "celery", "redis_url": redis.url, "lease_seconds": LEASE_S}


@pytest.fixture
def server(serve: Serve, with_celery: dict[str, Any]) -> Server:
    return serve(**with_celery).ready()


def children(worker: Program) -> list[psutil.Process]:
    """Celery's child processes that are ready to work, without their engines."""
    return psutil.Process(worker.pid).children()


def started(shopper: Shopper, session_id: str) -> Any:
    """Until its engine runs."""
    return wait_for(lambda: shopper.see(session_id)["stage"])


def test_sessions_are_worked_on_by_its_workers_alone(
    server: Server, run: Run, with_celery: dict[str, Any], sql: Sql
) -> None:
    ids = [server.shopper.submit() for _ in range(20)]
    assert not server.children(), "a server has no engine"

    run("worker", "--concurrency", "2", **with_celery)

    for session_id in ids:
        assert server.shopper.wait(session_id, "completed")["attempts"] == 1
    workers = sql("SELECT count(DISTINCT claimed_by) FROM tryon_sessions")
    assert workers[0][0] == 2


def test_a_message_names_a_session_and_nothing_of_its_shopper(server: Server, redis: Redis) -> None:
    from redis import Redis as Client  # noqa: PLC0415 - needs the extra's packages

    session_id = server.shopper.submit()
    wait_for(lambda: redis.tell("LLEN", "tryonai.mock") == ":1")

    with Client.from_url(redis.url) as client:
        (message,) = client.lrange("tryonai.mock", 0, -1)
    args, named, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    assert (args, named) == ([session_id], {})
    assert server.shopper.token.encode() not in message


def test_a_killed_child_loses_nothing(
    server: Server, run: Run, with_celery: dict[str, Any]
) -> None:
    worker = run("worker", **with_celery, mock_seconds=2)
    session_id = server.shopper.submit()
    started(server.shopper, session_id)

    children(worker)[0].kill()
    began = time.monotonic()

    assert server.shopper.wait(session_id, "completed")["attempts"] == 2
    assert time.monotonic() - began < LEASE_S + 10 + 2


def test_a_killed_worker_loses_nothing_and_leaves_nothing(
    server: Server, run: Run, with_celery: dict[str, Any]
) -> None:
    worker = run("worker", **with_celery, mock_seconds=2)
    session_id = server.shopper.submit()
    started(server.shopper, session_id)
    family = worker.children()
    assert len(family) >= 2, "a child and its engine"

    worker.kill()
    run("worker", **with_celery)

    wait_for(lambda: not any(one.is_running() and one.status() != "zombie" for one in family))
    assert server.shopper.wait(session_id, "completed")["attempts"] == 2


def test_a_stop_lets_what_is_in_work_finish(
    server: Server, run: Run, with_celery: dict[str, Any]
) -> None:
    worker = run("worker", **with_celery, mock_seconds=1.5)
    session_id, waiting = server.shopper.submit(), server.shopper.submit()
    started(server.shopper, session_id)

    worker.terminate()

    assert worker.wait() == 0
    session = server.shopper.see(session_id)
    assert (session["status"], session["attempts"]) == ("completed", 1)
    assert server.shopper.see(waiting)["status"] == "created", "nothing new is begun"


def test_a_session_is_made_while_redis_is_away_and_completed_when_it_is_back(
    server: Server, run: Run, with_celery: dict[str, Any], redis: Redis
) -> None:
    run("worker", **with_celery)
    server.shopper.wait(server.shopper.submit(), "completed")
    redis.kill()

    began = time.monotonic()
    session_id = server.shopper.submit()
    assert time.monotonic() - began < 1
    redis.start()

    server.shopper.wait(session_id, "completed", within_s=60)


def test_a_worker_that_could_not_acknowledge_takes_the_next_message(
    server: Server, run: Run, with_celery: dict[str, Any], redis: Redis
) -> None:
    """Redis goes in the middle of a run, so that only its end meets the broken connection."""
    worker = run("worker", **with_celery, mock_seconds=2)
    first = server.shopper.submit()
    server.shopper.wait(first, "processing", within_s=60)
    redis.kill()
    server.shopper.wait(first, "completed", within_s=60)
    wait_for(lambda: "Couldn't ack" in worker.text)
    redis.start()

    second = server.shopper.submit()

    server.shopper.wait(second, "completed", within_s=40)
    for _ in range(3):
        server.shopper.wait(server.shopper.submit(), "completed")
    assert worker.text.count("broker lost") == 1


def test_what_redis_has_forgotten_is_rung_for_again(
    server: Server, run: Run, with_celery: dict[str, Any], redis: Redis
) -> None:
    ids = [server.shopper.submit() for _ in range(3)]
    wait_for(lambda: redis.tell("LLEN", "tryonai.mock") == ":3")
    redis.tell("FLUSHALL")

    run("worker", **with_celery)

    for session_id in ids:
        assert server.shopper.wait(session_id, "completed")["attempts"] == 1


def test_a_worker_takes_the_sessions_of_its_engines(
    serve: Serve, run: Run, with_celery: dict[str, Any], sql: Sql
) -> None:
    """As a machine with a GPU would."""
    other = "tests.engines_for_tests:Echo"
    server = serve(**with_celery, engines=f"mock,{other}").ready()
    run("worker", "--engines", other, **with_celery, engines=f"mock,{other}")

    echo, mock = server.shopper.submit(engine="acts"), server.shopper.submit()

    server.shopper.wait(echo, "completed")
    assert server.shopper.see(mock)["status"] == "created"


def test_an_erasure_ends_the_run(server: Server, run: Run, with_celery: dict[str, Any]) -> None:
    worker = run("worker", **with_celery, mock_seconds=60)
    session_id = server.shopper.submit()
    started(server.shopper, session_id)

    assert server.shopper.delete(session_id).status_code == 204

    wait_for(lambda: '"cancelled"' in worker.text or "outcome=cancelled" in worker.text, within_s=2)


def test_sigquit_puts_back_what_is_in_work(
    server: Server, run: Run, with_celery: dict[str, Any]
) -> None:
    worker = run("worker", **with_celery, mock_seconds=60)
    session_id = server.shopper.submit()
    started(server.shopper, session_id)

    os.kill(worker.pid, signal.SIGQUIT)
    worker.wait(within_s=20)
    run("worker", **with_celery)

    assert server.shopper.wait(session_id, "completed")["attempts"] == 2
