"""`python -m app cluster --demo`: a whole cluster by one command, which leaves nothing behind."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from app import leash
from tests import pictures
from tests.flows.conftest import PHOTO, URL, Run, Server, alive, wait_for
from tests.servers import program

pytestmark = pytest.mark.cluster

# Those who work end within 15 s, and only then what they need.
END_S = 30


@pytest.fixture
def demo(run: Run, tmp_path: Path) -> Server:
    program("redis-server")
    program("weed")
    tmp_path.chmod(0o711)
    # With the database of its own: also that has to end.
    server = run("cluster", "--demo", "--port", "0", database_url=None, lease_seconds=30)
    assert isinstance(server, Server)
    return server.ready(within_s=120)  # seven programs, one after the other


def listening(family: list[psutil.Process]) -> set[str]:
    """The names of those that hold a port."""
    return {
        one.name()
        for one in family
        if alive(one)
        and any(con.status == psutil.CONN_LISTEN for con in one.net_connections("tcp"))
    }


def try_on(demo: Server) -> bytes:
    """The picture that is made of two drawn ones."""
    shopper = demo.shopper
    garment = pictures.png(pictures.cut_out(seed=1))
    answer = shopper.http.post(
        URL,
        files={
            "person_image": ("me.jpg", PHOTO, "image/jpeg"),
            "garment_image": ("shirt.png", garment, "image/png"),
        },
        data={"user_token": shopper.token},
    )
    assert answer.status_code == 201, answer.text
    session = shopper.wait(answer.json()["id"], "completed", within_s=30)
    picture = shopper.http.get(session["output_image_url"])
    assert picture.status_code == 200
    return picture.content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_pictures_go_in_one_comes_out_and_nothing_is_left(
    demo: Server, number: signal.Signals
) -> None:
    family = demo.children()
    assert try_on(demo).startswith(b"\xff\xd8")
    assert {"redis-server", "weed"} < listening(family)
    family += [one for one in demo.children() if one not in family]

    psutil.Process(demo.pid).send_signal(number)

    assert demo.wait(END_S) == (0 if number == signal.SIGTERM else -number)
    wait_for(lambda: not [one for one in family if alive(one)], within_s=END_S)


def test_one_that_ends_takes_the_others_with_it_and_is_named(demo: Server) -> None:
    family = demo.children()
    (holder,) = [one for one in family if {leash.__file__, "worker"} <= {*one.cmdline()}]

    holder.children()[0].kill()

    assert demo.wait(END_S) == 1
    assert "tryonai: The worker has ended" in demo.text
    wait_for(lambda: not [one for one in family if alive(one)], within_s=END_S)
