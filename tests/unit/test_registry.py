"""How an engine is found, named and judged before anything starts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.config import load_settings
from app.engines import EngineInfo, EngineSpec, Licence, Weight, guard, registry
from app.errors import SettingsError
from app.runtime import offered_engines

ACTS = "tests.engines_for_tests:Acts"
GOOD = EngineInfo("good", "1", "Good", (Licence("good", "MIT"),))
DIGEST = "0" * 64


class Made:
    """An engine with the info that a test wants."""

    def __init__(self, **changes: Any) -> None:
        self.info = replace(GOOD, **changes)


def offer(**changes: Any) -> registry.OfferedEngine:
    return registry.offer(EngineSpec("word", "tests.unit.test_registry:Made", changes))


def settings(tmp_path: Path, tables: str = "", **more: Any) -> Any:
    file = tmp_path / "engines.toml"
    file.write_text(tables)
    return load_settings(_env_file=None, engines_file=file, **more)


def test_an_engine_found_by_its_path_has_the_name_that_it_gives_itself() -> None:
    offered = registry.offer(registry.find(ACTS))

    assert (offered.spec.name, offered.info.name) == ("acts", "acts")


def test_an_installed_package_names_its_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "of_somebody-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: of-somebody\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(f"[tryonai.engines]\nacting = {ACTS}\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    assert registry.find("acting").target == ACTS
    with pytest.raises(SettingsError, match="fashn, acting"):
        registry.find("actinf")


def test_a_table_names_its_engine_and_its_figures_win(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        f'[one]\nengine = "{ACTS}"\nconcurrency = 2\nmemory_mb = 9\ntimeout_s = 0.5\n'
        'secrets = ["A_TOKEN"]\ndevices = ["cuda:1", "cpu"]\n'
        '[mock]\noptions = { seconds = 7 }\n[other]\nengine = "mock"\n',
        engine="one",
        engines="mock,other,one",
    )

    offered = offered_engines(found)

    assert list(offered) == ["one", "mock", "other"]
    spec = offered["one"].spec
    assert (spec.name, offered["one"].info.name, spec.target) == ("one", "one", ACTS)
    assert (spec.concurrency, spec.memory_mb, spec.timeout_s) == (2, 9, 0.5)
    assert (spec.secrets, spec.devices) == (("A_TOKEN",), ("cuda:1", "cpu"))
    assert offered["mock"].spec.options["seconds"] == 7
    assert offered["mock"].spec.options["failure_rate"] == 0.1
    assert offered["other"].info.name == "other"


def test_what_an_engine_asks_for_holds_where_the_operator_says_nothing() -> None:
    spec = offer(concurrency=1, memory_mb=5, timeout_s=3.0).spec

    assert (spec.concurrency, spec.memory_mb, spec.timeout_s) == (1, 5, 3.0)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("[one]\none", "no TOML"),
        ("one = 1", "must be a table"),
        ("[One]", "no name"),
        ("[one]\nspeed = 1", "has no speed"),
        ("[one]\nconcurrency = 0", "above 0"),
        ('[one]\nconcurrency = "2"', "type int"),
        ("[one]\nsecrets = [1]", "list of texts"),
        ('[one]\ndevices = ["gpu"]', "cuda:0"),
        ('[one]\nengine = "nowhere:Nothing"', "ModuleNotFoundError"),
        ('[one]\nengine = "app.engines.mock:MockEngine"\noptions = { x = 1 }', "TypeError"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, tables: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        offered_engines(settings(tmp_path, tables, engines="one"))

    assert said in caught.value.detail


def test_two_engines_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='two are called "acts"'):
        offered_engines(settings(tmp_path, engines=f"{ACTS},tests.engines_for_tests:Echo"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Über"}, "is no name"),
        ({"title": ""}, "title"),
        ({"licences": ()}, "licences is empty"),
        ({"licences": ("MIT",)}, "tuple of Licence"),
        ({"weights": (Weight("w", "abc", "MIT"),)}, "sha256 of w"),
        ({"categories": ("hats",)}, "categories"),
        ({"modes": ()}, "modes is empty"),
        ({"needs": ("luck",)}, "needs"),
        ({"egress": "a host"}, "egress"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_an_info_that_does_not_hold_together_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        offer(**changes)

    assert said in caught.value.detail


def test_an_engine_without_an_info_is_told() -> None:
    with pytest.raises(SettingsError, match="no EngineInfo"):
        registry.offer(EngineSpec("word", "builtins:object"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"licences": (Licence("code", "CC-BY-NC-SA-4.0"),)}, "code is under CC-BY-NC-SA-4.0"),
        (
            {"weights": (Weight("ok.bin", DIGEST, "MIT"), Weight("nc.bin", DIGEST, "Own-1.0"))},
            "nc.bin is under Own-1.0",
        ),
        ({"licences": (Licence("code", "MIT", commercial=False),)}, "code is under MIT"),
    ],
)
def test_what_may_not_be_used_commercially_is_refused_with_the_file(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        registry.check_licences(offer(**changes))

    assert reason in caught.value.detail
    assert "ALLOW_NONCOMMERCIAL" in caught.value.detail


def test_a_licence_that_somebody_has_read_may_be_called_commercial() -> None:
    registry.check_licences(offer(licences=(Licence("code", "OpenRAIL-M", commercial=True),)))


def test_the_operator_may_allow_what_is_not_commercial(tmp_path: Path) -> None:
    word = "tests.unit.test_registry:Noncommercial"
    with pytest.raises(SettingsError, match="Own-1"):
        offered_engines(settings(tmp_path, engines=word))

    allowed = settings(tmp_path, engines=word, allow_noncommercial=True)

    assert list(offered_engines(allowed)) == ["research-only"]


class Noncommercial:
    info = replace(GOOD, name="research-only", licences=(Licence("code", "Own-1.0"),))


def test_what_the_preflight_step_brings_counts_among_the_weights() -> None:
    files = [weight.file for weight in offer(needs=("person",)).info.weights]

    assert "pose_landmark_full.tflite" in files


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "pgpassword", "SENTRY_DSN", "DATABASE_URL"),
        *("REDIS_URL", "API_KEYS"),
    ],
)
def test_what_looks_like_a_secret_is_for_who_was_named_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "secret")

    def found(*allowed: str) -> bool:
        return name in guard.environment(tmp_path, allowed=allowed, device=None, offline=True)

    assert not found()
    assert found(name)


@pytest.mark.parametrize(
    ("device", "shown"), [("cuda:1", "1"), ("cpu", ""), ("cuda", None), (None, None)]
)
def test_a_process_sees_its_own_card_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str | None, shown: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    found = guard.environment(tmp_path, allowed=(), device=device, offline=True)

    assert found.get("CUDA_VISIBLE_DEVICES") == shown


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), (b"x", False)],
)
def test_only_this_machine_is_near(host: object, local: bool) -> None:
    assert guard.is_local(host) is local
