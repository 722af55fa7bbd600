"""The commands: what is wrong is said in a sentence, with what to do, and never as a traceback."""

from __future__ import annotations

import json
import pkgutil
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.__main__ import _parser, main
from app.commands.serving import listen
from app.errors import TryOnError
from tests.flows.conftest import Run, Serve, wait_for


def test_every_command_is_there() -> None:
    """They are named by words, and loaded only when somebody asks for one."""
    (commands,) = (
        action.choices for action in _parser()._actions if isinstance(action.choices, dict)
    )
    named = {one.get_default("command") for one in commands.values()}

    assert len(named) == len(commands)
    assert all(map(callable, (pkgutil.resolve_name(f"app.commands.{name}") for name in named)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "99999"),
        ("serve", "--port", "-1"),
        ("worker", "--concurrency", "0"),
        ("worker", "--concurrency", "-3"),
        ("worker", "--concurrency", "65"),
        ("worker", "--concurrency", "²"),
    ],
)
def test_a_number_out_of_bounds_is_wrong_usage(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "use a number from" in capsys.readouterr().err


def test_a_port_that_somebody_took_a_moment_ago_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(TryOnError, match="Set HOST or PORT"):
        listen("127.0.0.1", first.getsockname()[1])


@pytest.mark.slow
def test_a_database_that_is_away_is_told_with_its_reason(run: Run) -> None:
    with _nobody_listens() as port:
        url = f"postgresql://me:secret@127.0.0.1:{port}/shop"
        init = run("init-db", database_url=url)

        assert init.wait() == 1

    assert "tryonai: The database is away." in init.text
    assert "connection refused" in init.text.lower()
    assert "Traceback" not in init.text
    assert "secret" not in init.text


def test_the_doctor_tells_the_reason_once_and_what_to_do(run: Run) -> None:
    with _nobody_listens() as port:
        url = f"postgresql://me:secret@127.0.0.1:{port}/shop"
        table = run("doctor", database_url=url)
        values = run("doctor", "--json", database_url=url)

        assert (table.wait(), values.wait()) == (1, 1)

    lines = dict(re.findall(r"^(\w+) +(.+)$", table.text, re.MULTILINE))
    assert "connection refused" in lines["database"].lower()
    assert "Look at DATABASE_URL" in lines["database"]
    assert table.text.count("is away") == 1
    for name in ("queue", "worker", "clock", "keys"):
        assert lines[name].endswith("Not known without the database.")
    told = json.loads(values.text[values.text.index("{") :])
    assert "Look at DATABASE_URL" in told["parts"]["database"]["detail"]
    assert "secret" not in table.text + values.text


def test_a_server_that_waits_for_its_database_logs_why_and_tells_nobody_else(serve: Serve) -> None:
    with _nobody_listens() as port:
        server = serve(
            database_url=f"postgresql://me:secret@127.0.0.1:{port}/shop", worker_concurrency=0
        ).ready()

        answer = server.shopper.health()

        wait_for(lambda: "events.disconnected" in server.text)
    assert answer.status_code == 503
    assert str(port) not in answer.text
    for event in ("database.away", "events.disconnected"):
        (line, *_) = [line for line in server.text.splitlines() if event in line]
        assert "connection refused" in line.lower()
    assert "secret" not in server.text


@contextmanager
def _nobody_listens() -> Iterator[int]:
    """A port that refuses: bound, so that nobody else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
