"""`serve --workers N`: several processes behind one port, looked after by another."""

from __future__ import annotations

import psutil
import pytest

from tests.flows.conftest import Run, Server, alive, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def server(run: Run) -> Server:
    server = run("serve", "--port", "0", "--workers", "2")
    assert isinstance(server, Server)
    return server.ready()


def answering(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.pid).children()
    return [one for one in children if alive(one) and "serve" in " ".join(one.cmdline())]


def test_one_that_is_killed_is_started_again_and_no_session_is_lost(server: Server) -> None:
    before = answering(server)
    assert len(before) == 2
    session_id = server.shopper.submit()

    before[0].kill()

    wait_for(lambda: len(set(answering(server)) - set(before)) == 1, within_s=30)
    server.shopper.http.close()
    assert "process.died" in server.text
    again = server.ready().shopper
    again.wait(session_id, "completed", within_s=30)
    assert server.text.count("is ready") == 1


def test_a_stop_ends_all_of_them(server: Server) -> None:
    family = psutil.Process(server.pid).children(recursive=True)

    server.terminate()

    assert server.wait() == 0
    wait_for(lambda: not any(map(alive, family)))
    assert "Traceback" not in server.text


def test_a_stop_right_after_a_death_is_one_like_any_other(server: Server) -> None:
    answering(server)[0].kill()
    wait_for(lambda: "process.died" in server.text, within_s=30)
    wait_for(lambda: len(answering(server)) == 2, within_s=30)  # the new one is still starting

    server.terminate()

    assert server.wait() == 0
    assert "Traceback" not in server.text


def test_they_do_not_outlive_who_looks_after_them(server: Server) -> None:
    family = psutil.Process(server.pid).children(recursive=True)

    server.kill()

    wait_for(lambda: not any(map(alive, family)))


def test_a_wrong_setting_is_told_once(run: Run) -> None:
    server = run("serve", "--port", "0", "--workers", "3", engines="nothing:Here")

    assert server.wait() == 1
    assert server.text.count("tryonai:") == 1
