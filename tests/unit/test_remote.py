"""Services that make pictures elsewhere, against a local server that answers as they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engines import Cost, RunContext, TryOnRequest, TryOnResult
from app.engines.remote import RemoteEngine, client
from app.engines.remote.mapping import FOLDER, dig, fill, read_mapping
from app.errors import EngineError, EngineUnavailable, FailureCode, RunCancelled, SettingsError
from tests.authority import certificate
from tests.provider import KEY, Provider, providing

pytestmark = pytest.mark.slow  # a server each

REQUEST = TryOnRequest(
    person=np.full((128, 96, 3), 90, np.uint8),
    garment=np.full((64, 64, 3), 40, np.uint8),
    category="tops",
    mode="fast",
    seed=7,
)
VERSION = {"version": "c871bb9b0466"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "POLL_S", (0.01, 0.02))
    monkeypatch.setattr(client, "RETRY_S", (0.01, 0.02))
    monkeypatch.setattr(client, "LOOKS_S", 0.01)
    for name in ("FASHN_API_KEY", "REPLICATE_API_TOKEN"):
        monkeypatch.setenv(name, KEY)


class Attempt:
    """One attempt at a session. kept: its checkpoints, in their order."""

    def __init__(self, resume: Mapping[str, Any] | None = None, *, within_s: float = 5) -> None:
        self.kept: list[dict[str, Any]] = []
        self.stages: list[str] = []
        self.cancelled: RunCancelled | None = None
        self.context = RunContext(
            progress=lambda stage, _: self.stages.append(stage),
            check=self._check,
            deadline=time.monotonic() + within_s,
            scratch=Path(),
            job_key="the-job",
            checkpoint=lambda state: self.kept.append(dict(state)),
            resume=resume,
        )

    def _check(self) -> None:
        if self.cancelled is not None:
            raise self.cancelled
        if time.monotonic() > self.context.deadline:
            raise EngineError(FailureCode.ENGINE_TIMEOUT)


def run(
    provider: Provider,
    attempt: Attempt,
    mapping: str = "fashn",
    *,
    request: TryOnRequest = REQUEST,
    **options: Any,
) -> TryOnResult:
    values = VERSION if mapping == "replicate" else {}
    engine = RemoteEngine(mapping, base_url=provider.url, values=values, **options)
    engine.load()
    return engine.run(request, attempt.context)


def refused(provider: Provider, attempt: Attempt, *args: Any, **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        run(provider, attempt, *args, **options)
    return caught.value


def test_fashn_is_asked_in_its_words_and_its_credits_are_noted(provider: Provider) -> None:
    attempt = Attempt()

    result = run(provider, attempt)

    (job,) = provider.jobs.values()
    inputs = job.body["inputs"]
    assert job.body["model_name"] == "tryon-v1.6"
    assert (inputs["mode"], inputs["category"], inputs["seed"]) == ("performance", "tops", 7)
    assert inputs["return_base64"] is True
    assert inputs["model_image"].startswith("data:image/jpeg;base64,")
    assert result.picture.shape == (128, 96, 3)
    assert tuple(result.picture[0, 0]) == (200, 30, 60)
    assert result.cost == Cost(Decimal(1), "credits")
    assert result.details == {"service": "127.0.0.1", "model": "tryon-v1.6", "run": "job-1"}
    assert attempt.kept == [{"phase": "sending"}, {"phase": "sent", "id": "job-1"}]
    assert attempt.stages == ["send", "in_queue", "download"]


def test_replicate_is_asked_in_its_words(provider: Provider) -> None:
    provider.output = provider.url + "/output.png"

    result = run(provider, Attempt(), "replicate")

    (job,) = provider.jobs.values()
    assert job.body["version"] == VERSION["version"]
    assert job.body["input"]["category"] == "upper_body"
    assert job.body["input"]["seed"] == 7
    assert result.cost == Cost(Decimal("8.25"), "s")


@pytest.mark.parametrize("mapping", ["fashn", "replicate"])
def test_a_run_that_was_begun_is_gone_on_with_and_not_sent_again(
    provider: Provider, mapping: str
) -> None:
    first = Attempt()
    run(provider, first, mapping)

    run(provider, Attempt(resume=first.kept[-1]), mapping)

    assert provider.paid == {7: 1}


def test_a_run_that_perhaps_was_taken_is_not_sent_again(provider: Provider) -> None:
    error = refused(provider, Attempt(resume={"phase": "sending"}))

    assert (error.failure, error.retryable) == (FailureCode.ENGINE_ERROR, False)
    assert provider.asked == []


@pytest.mark.parametrize("word", ["lose", "drop", "no-id", "nonsense", "503"])
def test_an_answer_that_is_lost_ends_the_session(provider: Provider, word: str) -> None:
    provider.on_run = [word]

    error = refused(provider, Attempt())

    assert (error.failure, error.retryable) == (FailureCode.ENGINE_ERROR, False)
    assert provider.paid[7] <= 1
    assert len(provider.asked) == 1


@pytest.mark.parametrize("word", ["lose", "drop", "503"])
def test_under_one_key_a_run_may_be_sent_until_it_is_answered(
    provider: Provider, word: str, tmp_path: Path
) -> None:
    provider.on_run, provider.idempotent = [word, word], True
    file = tmp_path / "mapping.toml"
    text = (Path(client.__file__).parent / "fashn.toml").read_text()
    file.write_text(text.replace("[run]\n", '[run]\nidempotency = "Idempotency-Key"\n'))

    run(provider, Attempt(resume={"phase": "sending"}), str(file))

    assert provider.paid == {7: 1}


def test_the_operator_may_choose_at_least_once(provider: Provider) -> None:
    run(provider, Attempt(resume={"phase": "sending"}), repeat_when_unsure=True)

    assert provider.paid == {7: 1}


def test_what_surely_was_not_taken_is_sent_again(provider: Provider) -> None:
    provider.on_run = ["429", "500", "429"]

    run(provider, Attempt())

    assert provider.paid == {7: 1}
    assert sum(method == "POST" for method, _ in provider.asked) == 4


def test_a_service_that_is_busy_for_too_long_is_for_another_attempt(provider: Provider) -> None:
    provider.on_run = ["429-long"]
    attempt = Attempt()

    error = refused(provider, attempt)

    assert (error.failure, error.retryable) == (FailureCode.MODEL_ERROR, True)
    assert attempt.kept[-1] == {}
    run(provider, Attempt(resume=attempt.kept[-1]))
    assert provider.paid == {7: 1}


@pytest.mark.parametrize("word", ["400", "credits"])
def test_a_refusal_is_final(provider: Provider, word: str) -> None:
    provider.on_run = [word]

    error = refused(provider, Attempt())

    assert (error.failure, error.retryable) == (FailureCode.ENGINE_ERROR, False)
    assert provider.paid == {}


def test_a_wrong_key_is_told_to_the_operator_alone(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHN_API_KEY", "another secret")

    error = refused(provider, Attempt())

    assert "UnauthorizedAccess" in error.log
    assert "secret" not in error.log + error.detail
    assert "Unauthorized" not in error.detail


def test_trouble_with_the_status_is_waited_out(provider: Provider) -> None:
    provider.on_status = ["500", "drop", "429"]

    run(provider, Attempt())

    assert provider.paid == {7: 1}


@pytest.mark.parametrize(
    ("name", "code", "again"),
    [
        ("PoseError", "no_person", False),
        ("ContentModerationError", "content_refused", False),
        ("PipelineError", "model_error", True),
        ("NeverHeardOf", "model_error", False),
    ],
)
def test_failures_of_the_service_become_ours(
    provider: Provider, name: str, code: str, again: bool
) -> None:
    provider.ends = name
    attempt = Attempt()

    error = refused(provider, attempt)

    assert (error.failure, error.retryable) == (FailureCode(code), again)
    assert "did not work" not in error.detail + error.log
    assert (attempt.kept[-1] == {}) is again


@pytest.mark.parametrize(
    "output",
    [
        "https://elsewhere.example/a.png",
        "http://cdn.fashn.ai/a.png",
        "https://evilcdn.fashn.ai.example/a.png",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,=",
        "ftp://127.0.0.1/x",
        "",
    ],
)
def test_a_picture_that_is_none_or_lies_elsewhere_is_not_taken(
    provider: Provider, output: str
) -> None:
    provider.output = output

    error = refused(provider, Attempt())

    assert error.failure is FailureCode.ENGINE_ERROR
    assert "example" not in error.log


@pytest.fixture
def storehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Another host, which has pictures; its name is localhost, the other's an address."""
    files = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    with providing(files) as found:
        yield found


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    """FASHN's, of a service that keeps its pictures at localhost."""
    text = (FOLDER / "fashn.toml").read_text("utf-8")
    file = tmp_path / "mapping.toml"
    file.write_text(text.replace('hosts = ["cdn.fashn.ai"]', 'hosts = ["localhost"]'))
    return str(file)


@pytest.mark.parametrize("near", [True, False])
def test_a_picture_is_fetched_without_the_key(
    provider: Provider, storehouse: Provider, mapping: str, near: bool
) -> None:
    keeper = provider if near else storehouse
    provider.output = keeper.url + "/output.png"

    result = run(provider, Attempt(), mapping)

    assert result.picture.shape == (128, 96, 3)
    assert keeper.shown == [None]


def test_a_picture_that_has_moved_is_not_followed(
    provider: Provider, storehouse: Provider, mapping: str
) -> None:
    provider.output = provider.url + "/moved.png"
    provider.moved_to = storehouse.url + "/output.png"

    error = refused(provider, Attempt(), mapping)

    assert error.failure is FailureCode.ENGINE_ERROR
    assert (provider.shown, storehouse.asked) == ([None], [])


@pytest.mark.parametrize("for_good", [True, False])
def test_an_erased_session_ends_its_job_and_a_stopped_worker_does_not(
    provider: Provider, for_good: bool
) -> None:
    provider.polls = 10**6
    attempt = Attempt(within_s=30)

    def cancel() -> None:
        while "starting" not in attempt.stages:
            time.sleep(0.005)
        attempt.cancelled = RunCancelled(for_good=for_good)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RunCancelled):
        run(provider, attempt, "replicate")
    thread.join()

    (job,) = provider.jobs.values()
    assert job.cancelled is for_good


def test_a_cancelled_run_waits_for_no_answer(provider: Provider) -> None:
    attempt = Attempt(within_s=30)
    provider.on_run = ["held"]
    steps: list[str] = []

    def cancel(step: str, _seed: int) -> None:
        steps.append(step)
        attempt.cancelled = RunCancelled()

    provider.at = cancel

    with pytest.raises(RunCancelled):
        run(provider, attempt)

    assert "answered" not in steps
    provider.go_on.set()


def test_a_late_run_ends_its_job(provider: Provider) -> None:
    provider.polls = 10**6

    error = refused(provider, Attempt(within_s=0.3), "replicate")

    assert error.failure is FailureCode.ENGINE_TIMEOUT
    (job,) = provider.jobs.values()
    assert job.cancelled


def test_without_its_key_it_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASHN_API_KEY")

    with pytest.raises(EngineUnavailable, match="FASHN_API_KEY"):
        RemoteEngine("fashn").load()


def test_an_engine_says_where_photos_go_and_whose_terms_hold() -> None:
    info = RemoteEngine("fashn").info

    assert info.egress is not None
    assert info.egress.host == "api.fashn.ai"
    assert RemoteEngine("replicate", values=VERSION).info.licences[0].licence == "CC-BY-NC-SA-4.0"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("", {}, "fashn, replicate"),
        ("nowhere.toml", {}, "FileNotFoundError"),
        ("replicate", {}, "values for version"),
        ("fashn", {"base_url": "file:///etc"}, "base_url"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_one_sentence(
    name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        read_mapping(name, **{"base_url": "", "values": {}, **options})


def test_a_mapping_that_lacks_something_names_it(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('name = "x"\nversion = "1"\n')

    with pytest.raises(SettingsError, match="run"):
        read_mapping(str(file), base_url="", values={})


def test_a_template_keeps_types_and_what_it_does_not_know() -> None:
    filled = fill({"a": "{seed}", "b": ["x{seed}", "{other}"], "c": 1}, {"seed": 7})

    assert filled == {"a": 7, "b": ["x7", "{other}"], "c": 1}


def test_digging_finds_what_is_there_and_nothing_else() -> None:
    answer = {"a": [{"b": 1}]}

    assert dig(answer, "a.0.b") == 1
    assert dig(answer, "a.1.b") is dig(answer, "a.x") is dig(answer, "") is dig(None, "a") is None
