"""Real engine processes, and what a run that fails must never do to the next one, or to us."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from importlib.util import cache_from_source
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from app.config import Settings
from app.engines import Caution, Cost, EngineSpec, child, process, scratch
from app.engines.frames import Maker
from app.engines.mock import FAULTS
from app.engines.process import EngineProcess, Job, Output, Watcher, _Child, _descendants
from app.engines.registry import find
from app.errors import EngineError, EngineUnavailable, FailureCode, RunCancelled
from tests import warm
from tests.conftest import NOT_APPLICABLE
from tests.patience import patient

MEMORY_MB = 256
SEEDS = {fault: seed for seed, fault in enumerate(FAULTS, start=1)}


def photo(image_format: str = "PNG") -> bytes:
    file = BytesIO()
    Image.linear_gradient("L").resize((64, 96)).convert("RGB").save(file, image_format)
    return file.getvalue()


PHOTO = photo()


def of_tests(name: str) -> EngineSpec:
    return find(f"tests.engines_for_tests:{name}")


def ignore(stage: str, fraction: float | None) -> None:
    pass


def run(  # one call of EngineProcess.run, with everything that a test does not care about
    engine: EngineProcess,
    act: str = "auto",
    *,
    timeout_s: float = 10,
    on_progress: Callable[[str, float | None], None] = ignore,
    cancelled: threading.Event | None = None,
    **of_job: Any,
) -> Output:
    job = Job(**{"person": PHOTO, "garment": PHOTO, "category": act, **of_job})
    return engine.run(
        job, Watcher(cancelled or threading.Event(), on_progress), timeout_s=timeout_s
    )


def works(engine: EngineProcess) -> bool:
    return run(engine, seed=99).seed == 99


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def gone(pid: int) -> bool:
    """Ended: at most an entry that its new parent, not we, has still to read."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(fact: Callable[[], bool], *, within_s: float = 5) -> None:
    began = time.monotonic()
    while not fact():
        assert time.monotonic() - began < patient(within_s), "it did not become true in time"
        threading.Event().wait(0.01)


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process, zombie, thread or folder outlives these tests."""
    warm.end_all()
    folder = tmp_path_factory.mktemp("tmp")
    before = children()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        # A dozen processes import NumPy. Where it is not compiled yet, compile it once, also where
        # the environment says not to.
        if not Path(cache_from_source(np.__file__)).exists():
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield
    assert children() == before
    assert not [thread.name for thread in threading.enumerate() if "engine-" in thread.name]
    assert not list(folder.iterdir())


@contextmanager
def closing(engine: EngineProcess) -> Iterator[EngineProcess]:
    try:
        yield engine
    finally:
        engine.close()
        assert not engine.alive


@pytest.fixture(scope="module")
def acts() -> Iterator[EngineProcess]:
    """Shared by all tests, because that is the promise: whatever one run does, the next works."""
    with closing(EngineProcess(of_tests("Acts"), memory_mb=MEMORY_MB)) as engine:
        yield engine


@pytest.fixture(scope="module")
def mock() -> Iterator[EngineProcess]:
    faults = [f"{seed}:{fault}" for fault, seed in SEEDS.items()]
    spec = find("mock", {"seconds": 0, "failure_rate": 0, "faults": faults})
    with closing(EngineProcess(spec, memory_mb=MEMORY_MB)) as engine:
        yield engine


# --- runs that go well ----------------------------------------------------------------------


@pytest.mark.parametrize("output_format", ["jpeg", "png", "webp"])
def test_a_run_gives_a_picture_in_the_format_asked_for(
    acts: EngineProcess, output_format: str
) -> None:
    output = run(acts, seed=7, output_format=output_format)

    with Image.open(BytesIO(output.data)) as picture:
        assert (picture.format or "").lower() == output_format
        assert picture.size == (output.width, output.height) == (64, 96)
        assert not {"exif", "icc_profile", "comment", "xmp"} & set(picture.info)
    assert (output.seed, output.quality) == (7, 0.5)
    assert set(output.timings_s) == {"decode", "act", "encode"}
    assert output.cautions == (Caution("echo", "This is the photo itself."),)


def test_pixels_survive_the_way_through_the_process(acts: EngineProcess) -> None:
    output = run(acts, output_format="png")

    with Image.open(BytesIO(output.data)) as made, Image.open(BytesIO(PHOTO)) as sent:
        assert made.tobytes() == sent.tobytes()


def test_an_engine_gets_no_longer_pictures_than_it_makes_use_of(acts: EngineProcess) -> None:
    file = BytesIO()
    Image.new("RGB", (5000, 50)).save(file, "PNG")

    output = run(acts, person=file.getvalue())

    assert (output.width, output.height) == (4096, 41)


def test_only_a_catalogues_garment_is_kept_and_no_run_can_spoil_it() -> None:
    child._kept.cache_clear()
    child._decode(Job(PHOTO, PHOTO))
    assert child._kept.cache_info().currsize == 0

    first = child._decode(Job(PHOTO, PHOTO, keep_garment=True)).garment
    before = first.copy()
    first[:] = 0
    second = child._decode(Job(PHOTO, PHOTO, keep_garment=True)).garment

    assert (second == before).all()
    assert child._kept.cache_info().hits == 1


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason=NOT_APPLICABLE + "only glibc has to be asked"
)
def test_a_process_that_rests_hands_its_memory_back() -> None:
    others = children()
    with closing(EngineProcess(of_tests("Acts"), memory_mb=1024)) as engine:
        run(engine)
        (pid,) = children() - others
        before = _memory_mb(pid)

        run(engine, category="scatter")

        assert _memory_mb(pid) > before + 64, "nothing was held, so nothing is proved"
        wait_until(lambda: _memory_mb(pid) < before + 32, within_s=20)


def _memory_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / 2**20)


def test_the_process_stays_warm_between_runs(acts: EngineProcess) -> None:
    acts.start()
    before = children()

    run(acts)
    run(acts)

    assert children() == before


def test_what_an_engine_prints_breaks_nothing(
    acts: EngineProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    # A process of its own: the shared one was given the stderr of another moment.
    with closing(EngineProcess(of_tests("Acts"), memory_mb=MEMORY_MB)) as engine:
        run(engine, "print_and_read")

    out, err = capfd.readouterr()
    assert not out
    for line in ("loading", "to stdout", "to descriptor 1", "from a program"):
        assert line in err


def test_progress_arrives_in_order_and_thinned_out(acts: EngineProcess) -> None:
    heard: list[tuple[str, float | None]] = []

    run(acts, "report_each_step", on_progress=lambda *progress: heard.append(progress))

    assert heard[0] == ("steps", 0.0)
    assert heard[-1] == ("last", None)
    assert heard[:-1] == sorted(heard[:-1])
    assert len(heard) < 110


def test_what_an_engine_says_is_made_fit_for_a_row(acts: EngineProcess) -> None:
    heard: list[tuple[str, float | None]] = []

    output = run(acts, "overdo", on_progress=lambda *progress: heard.append(progress))

    assert heard == [("s" * 64, part) for part in (1.0, 0.0, None, 0.5)]
    assert output.quality is None
    assert run(acts, "boast").quality == 1.0
    assert len(output.cautions) <= 20
    assert output.cautions[0].code == "c" * 64
    assert output.cautions[0].message.startswith("ab?c")
    assert len(output.cautions[0].message) <= 500


def test_what_an_engine_says_of_a_failure_is_made_fit_for_a_row(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "refuse_at_length")

    error = caught.value
    assert error.detail.startswith("NobodyNobody")
    assert len(error.detail) <= 500
    assert (error.log, error.stage) == ("?", "x" * 64)


def test_warnings_of_another_kind_fail_the_run_in_the_child(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "warn_in_words")

    assert caught.value.failure is FailureCode.ENGINE_ERROR
    assert "AttributeError" in caught.value.log


def test_no_secret_of_the_server_is_in_an_engines_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = [
        name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)
    ]
    assert len(secrets) >= 3
    monkeypatch.setenv("WEIGHTS_OF_TESTS", "a path")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
        monkeypatch.setenv(name.upper(), "secret")
    heard: list[str] = []

    with closing(EngineProcess(of_tests("Acts"), memory_mb=MEMORY_MB)) as engine:
        run(engine, "tell_environment", on_progress=lambda name, _: heard.append(name))

    assert "WEIGHTS_OF_TESTS" in heard
    assert not [name for name in heard if name.lower() in secrets]


def test_home_and_caches_lie_where_they_go_with_the_process(acts: EngineProcess) -> None:
    heard: list[str] = []

    run(acts, "tell_caches", on_progress=lambda name, _: heard.append(name))

    assert [name for name in heard if "tryonai-engine-" in name and name.endswith("/home")]
    assert "HF_HUB_OFFLINE=1" in heard
    assert "TRYONAI_DEVICE=None" in heard


def test_other_hosts_are_out_of_reach_where_no_egress_is_declared(acts: EngineProcess) -> None:
    heard: list[str] = []

    run(acts, "call_abroad", on_progress=lambda name, _: heard.append(name))
    run(acts, "call_itself")

    assert len(heard) == 1
    assert heard[0].startswith("192.0.2.1: this engine declares no egress")


@pytest.mark.skipif(sys.platform != "linux", reason="only there: programs and sockets by path")
def test_other_programs_and_sockets_are_out_of_reach_where_it_does_not_name_them(
    acts: EngineProcess,
) -> None:
    heard: list[str] = []

    run(acts, "start_others", on_progress=lambda said, _: heard.append(said))
    run(acts, "call_other_sockets", on_progress=lambda said, _: heard.append(said))

    names = [one.partition(": ")[0] for one in heard]
    programs = ["env", "sh", "cat", "ls", "cp"]
    sockets = ["/run/docker.sock", r"\x00a-bus", "a socket of family AF_NETLINK"]
    assert names == programs + sockets
    assert not [one for one in heard if "photo" in one]


@pytest.mark.skipif(sys.platform == "win32", reason="only there is no date")
def test_an_engine_that_does_not_load_without_a_program_says_which() -> None:
    with (
        closing(EngineProcess(of_tests("CompilesAtLoad"), memory_mb=MEMORY_MB)) as engine,
        pytest.raises(EngineUnavailable, match="RuntimeError; it was refused date, see `uses`"),
    ):
        engine.start()

    with closing(EngineProcess(of_tests("CompilesWithAnything"), memory_mb=MEMORY_MB)) as engine:
        engine.start()


def test_a_checkpoint_is_kept_before_the_run_goes_on(acts: EngineProcess) -> None:
    kept: list[str] = []

    first = run_with(acts, "go_on", on_checkpoint=kept.append, key="k")
    second = run_with(acts, "go_on", on_checkpoint=kept.append, resume={"step": 1}, key="k")

    assert kept == ['{"step": 1}', '{"step": 2}']
    assert (first.details, second.details["step"]) == ({"step": "1", "key": "k"}, "2")
    assert first.cost == Cost(Decimal("0.075"), "USD")
    assert first.maker == Maker("acts", "1", {})


def test_a_checkpoint_that_is_refused_ends_the_run(acts: EngineProcess) -> None:
    def refuse(state: str) -> None:
        raise RunCancelled

    with pytest.raises(RunCancelled):
        run_with(acts, "go_on", on_checkpoint=refuse)

    assert works(acts)


def test_a_checkpoint_of_no_plain_values_is_an_engines_mistake(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "keep_nonsense")

    assert caught.value.failure is FailureCode.ENGINE_ERROR
    assert "TypeError" in caught.value.log


@pytest.mark.parametrize("for_good", [True, False])
def test_a_run_hears_whether_it_is_cancelled_for_good(acts: EngineProcess, for_good: bool) -> None:
    heard: list[str] = []
    cancelled = threading.Event()

    def hear(stage: str, _: float | None) -> None:
        heard.append(stage)
        cancelled.set()

    with pytest.raises(RunCancelled):
        run_with(
            acts,
            "tell_of_a_cancel",
            on_progress=hear,
            cancelled=cancelled,
            for_good=lambda: for_good,
        )

    assert heard == ["waiting", f"for good: {for_good}"]


def run_with(  # the same, with what few runs need
    engine: EngineProcess, act: str, *, key: str = "", resume: Any = None, **more: Any
) -> Output:
    job = Job(person=PHOTO, garment=PHOTO, category=act, key=key, resume=resume)
    return engine.run(job, Watcher(**more), timeout_s=10)


def test_signals_meant_for_the_server_leave_a_run_alone(acts: EngineProcess) -> None:
    pid = _pid_of(acts)

    def stop(stage: str, fraction: float | None) -> None:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)

    run(acts, "report_each_step", on_progress=stop)

    assert _pid_of(acts) == pid


def test_the_process_is_ours_wherever_the_server_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)

    with closing(EngineProcess(of_tests("Acts"), memory_mb=MEMORY_MB)) as engine:
        engine.start()


# --- runs that fail in order: the process stays ---------------------------------------------


def test_an_engines_own_error_arrives_whole(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "refuse")

    error = caught.value
    assert error.failure is FailureCode.NO_PERSON
    assert (error.detail, error.log) == ("Nobody is there.", "0 found")
    assert (error.retryable, error.stage) == (True, "x")
    assert acts.alive


@pytest.mark.parametrize("fault", ["retry", "fail"])
def test_a_told_failure_keeps_what_it_says_of_another_attempt(
    mock: EngineProcess, fault: str
) -> None:
    with pytest.raises(EngineError) as caught:
        run(mock, seed=SEEDS[fault])

    assert caught.value.failure is FailureCode.MODEL_ERROR
    assert caught.value.retryable is (fault == "retry")
    assert mock.alive


@pytest.mark.parametrize(
    ("act", "got"),
    [("return_grey", "(4, 4)"), ("return_floats", "float64"), ("return_text", "str")],
)
def test_a_result_that_is_no_picture_fails_the_run(acts: EngineProcess, act: str, got: str) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, act)

    assert caught.value.failure is FailureCode.ENGINE_ERROR
    assert got in caught.value.log
    assert acts.alive


def test_a_run_that_yields_at_its_deadline_keeps_the_process(acts: EngineProcess) -> None:
    assert works(acts)

    with pytest.raises(EngineError) as caught:
        run(acts, "wait", timeout_s=0.5)

    assert caught.value.failure is FailureCode.ENGINE_TIMEOUT
    assert caught.value.stage == "waiting"
    assert acts.alive


# --- runs that break the process: the next gets another -------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "log"),
    [
        ("crash", FailureCode.ENGINE_ERROR, "SIGSEGV"),
        ("exit", FailureCode.ENGINE_ERROR, "status 3"),
        ("memory", FailureCode.ENGINE_OUT_OF_MEMORY, f"at most {MEMORY_MB} MB"),
        ("error", FailureCode.ENGINE_ERROR, "RuntimeError in mock.py:"),
    ],
)
def test_a_run_that_breaks_the_process_fails_alone(
    mock: EngineProcess, fault: str, code: FailureCode, log: str
) -> None:
    with pytest.raises(EngineError) as caught:
        run(mock, seed=SEEDS[fault])

    assert caught.value.failure is code
    assert caught.value.stage == "garment"
    assert log in caught.value.log
    assert not caught.value.retryable
    assert not mock.alive
    assert works(mock)


@pytest.mark.parametrize("fault", ["hang", "hang-hard"])
def test_a_run_that_hangs_is_killed_at_its_deadline(mock: EngineProcess, fault: str) -> None:
    assert works(mock)

    with pytest.raises(EngineError) as caught:  # by itself it would never end
        run(mock, seed=SEEDS[fault], timeout_s=0.3)

    assert caught.value.failure is FailureCode.ENGINE_TIMEOUT
    assert caught.value.stage == "garment"
    assert not caught.value.retryable
    assert works(mock)


@pytest.mark.parametrize(("act", "stays_warm"), [("wait", True), ("hang", False)])
def test_a_cancelled_run_ends_soon(acts: EngineProcess, act: str, stays_warm: bool) -> None:
    cancelled = threading.Event()
    cancelled_at = 0.0

    def cancel(stage: str, fraction: float | None) -> None:
        nonlocal cancelled_at
        cancelled_at = time.monotonic()
        cancelled.set()

    with pytest.raises(RunCancelled):
        run(acts, act, on_progress=cancel, cancelled=cancelled, timeout_s=60)

    assert time.monotonic() - cancelled_at < 30, "not only at its deadline"
    assert acts.alive is stays_warm
    assert works(acts)


def test_a_callback_that_fails_ends_the_run_but_not_the_engine(acts: EngineProcess) -> None:
    def fail(stage: str, fraction: float | None) -> None:
        raise LookupError(stage)

    with pytest.raises(LookupError, match="waiting"):
        run(acts, "wait", on_progress=fail)

    assert works(acts)


def test_a_memory_error_is_out_of_memory(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "run_out_of_memory")

    assert caught.value.failure is FailureCode.ENGINE_OUT_OF_MEMORY
    assert not acts.alive


def test_an_unexpected_error_is_logged_without_its_message(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "tell_a_secret")

    assert "ValueError in engines_for_tests.py:" in caught.value.log
    assert "Acts.tell_a_secret" in caught.value.log
    assert "holiday" not in caught.value.log + caught.value.detail


def test_an_engine_that_leaves_is_an_engine_error(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, "leave")

    assert caught.value.failure is FailureCode.ENGINE_ERROR
    assert "SystemExit" in caught.value.log


def test_a_photo_that_cannot_be_decoded_fails_the_run(acts: EngineProcess) -> None:
    with pytest.raises(EngineError) as caught:
        run(acts, person=b"no photo")

    assert caught.value.failure is FailureCode.ENGINE_ERROR


def test_a_process_killed_by_another_is_named_by_its_signal(acts: EngineProcess) -> None:
    pid = _pid_of(acts)

    with pytest.raises(EngineError) as caught:
        run(acts, "hang", on_progress=lambda *_: os.kill(pid, signal.SIGKILL))

    assert caught.value.failure is FailureCode.ENGINE_ERROR
    assert "SIGKILL" in caught.value.log


def test_a_process_killed_while_idle_is_replaced(acts: EngineProcess) -> None:
    os.kill(_pid_of(acts), signal.SIGKILL)
    wait_until(lambda: not acts.alive)

    assert works(acts)


# --- what an engine leaves behind -----------------------------------------------------------


def run_until_it_hangs(engine: EngineProcess, act: str) -> list[str]:
    """The stages it told of; the run is cancelled and, as it does not yield, killed."""
    heard: list[str] = []
    cancelled = threading.Event()

    def listen(stage: str, fraction: float | None) -> None:
        heard.append(stage)
        if stage == "hanging":
            cancelled.set()

    with pytest.raises(RunCancelled):
        run(engine, act, on_progress=listen, cancelled=cancelled)
    assert not engine.alive
    return heard


def test_what_an_engine_started_ends_with_it(acts: EngineProcess) -> None:
    heard = run_until_it_hangs(acts, "start_programs_and_hang")

    pids = [int(stage) for stage in heard if stage.isdigit()]
    assert len(pids) == 2
    wait_until(lambda: all(map(gone, pids)))


def test_whatever_an_engine_started_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a thread, in a session of its own, or by what was started."""
    program = """
import subprocess, sys, threading, time
def start(**options):
    subprocess.Popen(["/bin/sh", "-c", "sleep 100 & wait"], **options)
start()
thread = threading.Thread(target=lambda: (start(start_new_session=True), time.sleep(100)))
thread.start()
"""
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as started:
        root = psutil.Process(started.pid)
        wait_until(lambda: len(root.children(recursive=True)) == 4)
        family = root.children(recursive=True)
        try:
            assert set(_descendants(root)) == set(family)
            monkeypatch.setattr(process, "_KERNEL_LISTS_CHILDREN", False)
            assert set(_descendants(root)) == set(family)
        finally:
            for one in (*family, root):
                one.kill()
    with pytest.raises(psutil.NoSuchProcess):
        _descendants(root)


def test_a_fork_that_holds_the_pipes_hides_no_crash(acts: EngineProcess) -> None:
    heard: list[str] = []

    with pytest.raises(EngineError) as caught:
        run(acts, "fork_and_die", on_progress=lambda stage, _: heard.append(stage))

    assert "status 3" in caught.value.log
    wait_until(lambda: gone(int(heard[0])))


def test_files_of_a_run_are_gone_when_it_returns(acts: EngineProcess) -> None:
    folder = _folder_of(acts)

    for _ in range(2):  # the second wants an empty folder
        run(acts, "leave_files")
        assert not list(folder.iterdir())


def test_files_of_a_killed_run_are_gone_when_it_returns(acts: EngineProcess) -> None:
    folder = _folder_of(acts)

    assert "left files" in run_until_it_hangs(acts, "leave_files_and_hang")

    assert not folder.exists()


def test_a_process_that_dies_while_idle_leaves_nothing(acts: EngineProcess) -> None:
    pid = _pid_of(acts)
    folder = _folder_of(acts)
    assert folder.exists()

    os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not psutil.pid_exists(pid) and not folder.exists())


# --- engines that do not load ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (of_tests("NotInstalled"), "run scripts/fetch_weights.py"),
        (of_tests("BreaksAtLoad"), "OSError"),
        (of_tests("DiesAtLoad"), "status 7"),
        (of_tests("IsNotThere"), "IsNotThere"),
        (find("mock", {"faults": ["1:melt"]}), "crash, exit"),
    ],
)
def test_an_engine_that_cannot_load_says_why(spec: EngineSpec, reason: str) -> None:
    with closing(EngineProcess(spec, memory_mb=MEMORY_MB)) as engine:
        with pytest.raises(EngineUnavailable) as unavailable:
            engine.start()
        assert reason in unavailable.value.detail
        assert "/a/path" not in unavailable.value.detail

        with pytest.raises(EngineUnavailable) as unavailable:
            run(engine)
        assert reason in unavailable.value.detail


def test_an_engine_too_large_to_load_says_so() -> None:
    with (
        closing(EngineProcess(of_tests("LoadsForEver"), memory_mb=1)) as engine,
        pytest.raises(EngineUnavailable, match="at most 1 MB"),
    ):
        engine.start()


def test_options_that_cannot_travel_start_no_process() -> None:
    before = children()
    spec = EngineSpec("odd", "tests.engines_for_tests:Acts", {"callback": lambda: None})

    with (
        closing(EngineProcess(spec, memory_mb=MEMORY_MB)) as engine,
        pytest.raises(Exception, match=r"[Pp]ickle"),
    ):
        engine.start()

    assert children() == before


def test_a_cancelled_run_leaves_a_loading_engine_to_the_next() -> None:
    cancelled = threading.Event()
    cancelled.set()

    with closing(EngineProcess(of_tests("LoadsForEver"), memory_mb=MEMORY_MB)) as engine:
        with pytest.raises(RunCancelled):
            run(engine, cancelled=cancelled)

        assert engine.alive


# --- turns and ends -------------------------------------------------------------------------


@contextmanager
def running(engine: EngineProcess, act: str) -> Iterator[threading.Event]:
    """A run in another thread, in the middle of it; the event cancels it. It must be cancelled."""
    begun, cancelled, was_cancelled = (threading.Event() for _ in range(3))

    def work() -> None:
        try:
            run(engine, act, on_progress=lambda *_: begun.set(), cancelled=cancelled)
        except RunCancelled:
            was_cancelled.set()

    runner = threading.Thread(target=work)
    runner.start()
    try:
        assert begun.wait(10)
        yield cancelled
    finally:
        cancelled.set()
        runner.join(10)
    assert was_cancelled.is_set()


def test_a_run_waits_for_the_one_before(acts: EngineProcess) -> None:
    with running(acts, "wait") as cancelled:
        threading.Timer(0.1, cancelled.set).start()

        assert works(acts)


def test_a_run_that_waits_for_its_turn_can_be_cancelled(acts: EngineProcess) -> None:
    mine = threading.Event()
    mine.set()

    with running(acts, "wait"), pytest.raises(RunCancelled):
        run(acts, cancelled=mine)


def test_closing_cancels_the_run_in_hand_and_is_final() -> None:
    with (
        closing(EngineProcess(of_tests("Acts"), memory_mb=MEMORY_MB)) as engine,
        running(engine, "hang"),
    ):
        engine.close()

        assert not engine.alive
    with pytest.raises(RunCancelled):
        run(engine)
    with pytest.raises(EngineUnavailable):
        engine.start()


SERVER = """
import sys, threading, psutil
from app.engines.registry import find
from app.engines.process import EngineProcess, Job, Watcher

told = threading.Semaphore(0)
engines = []
def work(act):
    engine = EngineProcess(find("tests.engines_for_tests:Acts"), memory_mb=256)
    engines.append(engine)
    engine.start()
    if act == "idle":
        return told.release()
    job = Job({photo!r}, {photo!r}, category=act)
    engine.run(job, Watcher(on_progress=lambda *_: told.release()), timeout_s=60)

for act in sys.argv[1:]:
    threading.Thread(target=work, args=[act]).start()
    told.acquire()
print(*(child.pid for child in psutil.Process().children()), flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize(
    "engines",
    [
        ["wait"],
        ["leave_files_and_hang"],
        # The later child must not hold the earlier one's pipe: neither would see its end.
        ["idle", "idle", "idle"],
    ],
)
def test_no_engine_outlives_a_killed_server(engines: list[str], tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", SERVER.format(photo=PHOTO), *engines],
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == len(engines)
        assert not any(map(gone, pids))
        server.kill()

    wait_until(lambda: all(map(gone, pids)), within_s=2)
    assert not list(tmp_path.iterdir())


def test_the_next_server_removes_what_a_killed_one_and_its_engines_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", SERVER.format(photo=PHOTO), "leave_files_and_hang"],
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert scratch.remove_leftovers() == 0, "it is in use"
        os.kill(child, signal.SIGSTOP)  # so that it cannot clean up
        server.kill()
        server.wait()
        os.kill(child, signal.SIGKILL)
    assert list(tmp_path.rglob("photo"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"{scratch.PREFIX}link").symlink_to(elsewhere)

    assert scratch.remove_leftovers() == 1

    assert not list(tmp_path.rglob("photo"))
    assert not list(elsewhere.iterdir())


def _pid_of(engine: EngineProcess) -> int:
    """The process behind it; ours, so that nobody else's is ever signalled."""
    return _child_of(engine)._process.pid


def _folder_of(engine: EngineProcess) -> Path:
    return _child_of(engine).scratch


def _child_of(engine: EngineProcess) -> _Child:
    engine.start()
    child = engine._child
    assert child is not None
    return child
