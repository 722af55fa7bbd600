"""The network of the engine fashn, its way from noise to a picture, and its file of weights.

What was compared with FASHN's own program, and how close it came: docs/adr/0021-fashn.md. The file
is collected only where tests with torch are asked for (tests/conftest.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from app.engines.fashn import FashnEngine, sampler
from app.engines.fashn.architecture import Architecture
from app.engines.fashn.network import Conditions, Network
from app.errors import EngineUnavailable
from tests import fashn_weights
from tests.fashn_weights import SIZES, TINY

pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]

SMALL = replace(TINY, height=96, width=64, patch=8)

Drawn: TypeAlias = tuple[Network, Conditions, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the small network's file, and the file's digest."""
    where = tmp_path_factory.mktemp("weights")
    return where, fashn_weights.write(where, TINY)


# --- the network and the way ----------------------------------------------------------------


def test_names_and_sizes_are_those_of_the_published_file() -> None:
    """As several projects have written down its header: 366 tensors, 971,814,240 numbers."""
    with torch.device("meta"):
        found = Network(Architecture()).state_dict()

    count: dict[str, int] = {}
    for name, one in found.items():
        family = name.partition(".")[0]
        count[family] = count.get(family, 0) + one.numel()
    assert len(found) == 366
    assert count == {
        **{"x_embedder": 1_291_520, "garment_embedder": 738_560, "t_embedder": 1_968_640},
        **{"y_embedder": 5_120, "x_patch_mixer": 98_361_344, "double_blocks": 472_170_496},
        **{"single_blocks": 393_445_376, "final_layer": 3_832_752, "patch_mixer_token": 432},
    }
    assert tuple(found["double_blocks.7.txt_attn.norm.key_norm.scale"].shape) == (128,)
    assert tuple(found["final_layer.adaLN_modulation.1.weight"].shape) == (2560, 1280)


AT = [(0, 0, 0), (0, 40, 20), (1, 50, 33), (1, 95, 63), (2, 10, 60), (2, 70, 5)]
"""Channel, row, column."""


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """A network with weights by a formula, conditions and a beginning by another."""
    network = Network(SMALL)
    network.load_state_dict(fashn_weights.tensors(SMALL))

    def waves(number: int, channels: int) -> Any:
        y, x = torch.meshgrid(torch.arange(96.0), torch.arange(64.0), indexing="ij")
        across, down = (
            [5 + number + c for c in range(channels)],
            [7 + 2 * c for c in range(channels)],
        )
        return torch.stack(
            [torch.sin(x / a + y / d + number) for a, d in zip(across, down, strict=True)]
        )[None]

    given = Conditions(waves(1, 3), waves(2, 3), waves(3, 1), waves(4, 1), torch.tensor([2]))
    return network.eval(), given, waves(5, 3)


def test_the_network_computes_what_fashns_own_does(drawn: Drawn) -> None:
    """The numbers came out of FASHN's program, with these weights."""
    network, given, begin = drawn

    with torch.inference_mode():
        way = network(begin, torch.tensor([0.3]), given)

    fashns = [-0.33567, -0.17781, 0.0059, -0.03685, -0.01147, 0.013]
    assert [way[(0, *at)].item() for at in AT] == pytest.approx(fashns, abs=2e-5)
    assert way.std().item() == pytest.approx(0.161976, abs=2e-6)


def test_the_way_ends_where_fashns_own_does(drawn: Drawn) -> None:
    network, given, begin = drawn
    done: list[int] = []

    picture = sampler.sample(
        network, given, begin, steps=5, on_step=done.append, between=lambda: None
    )

    fashns = [-1.0, -0.04795, 0.90218, 0.56948, -0.98186, -0.69071]
    assert [picture[(0, *at)].item() for at in AT] == pytest.approx(fashns, abs=5e-5)
    assert done == [1, 2, 3, 4, 5]


def test_the_last_step_needs_no_guidance(drawn: Drawn) -> None:
    network, given, begin = drawn
    counts: list[int] = []

    def counting(noisy: Any, *more: Any) -> Any:
        counts.append(len(noisy))
        return network(noisy, *more)

    sampler.sample(
        counting,  # type: ignore[arg-type]
        given,
        begin,
        steps=3,
        on_step=lambda _: None,
        between=lambda: None,
    )

    assert counts == [2, 2, 1]


def test_steps_are_shorter_near_the_noise() -> None:
    assert sampler.schedule(4) == pytest.approx([0, 0.069227785, 0.182425524, 0.400978973, 1])


def test_noise_is_its_seeds_own() -> None:
    first, again, other = (sampler.noise(SMALL, seed) for seed in (7, 7, 2**32 - 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(1, abs=0.03)


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRYONAI_DEVICE", "cpu")


# --- loading --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_embedder__weight": None}, r"it has no y_embedder\.weight\."),
        ({"y_embedder__bias": torch.zeros(3)}, r"nothing takes its y_embedder\.bias\."),
        (
            {"y_embedder__weight": torch.zeros(3)},
            r"y_embedder\.weight is \[3\] and should be \[4, 24\]",
        ),
    ],
)
def test_a_file_of_another_network_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path, on_the_cpu: None
) -> None:
    sha256 = fashn_weights.write(tmp_path, TINY, **changes)
    engine = FashnEngine(tmp_path, sha256=sha256, licence="MIT", network=SIZES)

    with pytest.raises(EngineUnavailable, match=f"of another network: .*{said}"):
        engine.load()


def test_the_published_sizes_do_not_fit_a_small_file(
    folder: tuple[Path, str], on_the_cpu: None
) -> None:
    where, sha256 = folder

    with pytest.raises(EngineUnavailable, match=r"it has no double_blocks.*and \d+ more"):
        FashnEngine(where, sha256=sha256, licence="MIT").load()


def test_what_is_no_file_of_tensors_is_refused(tmp_path: Path, on_the_cpu: None) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"<html>404</html>")
    digest = hashlib.sha256(b"<html>404</html>").hexdigest()

    with pytest.raises(EngineUnavailable, match="no safetensors file"):
        FashnEngine(tmp_path, sha256=digest, licence="MIT").load()


@pytest.mark.parametrize(
    ("device", "said"), [(None, r'devices = \["cpu"\]'), ("cuda", "torch finds none")]
)
def test_without_a_card_it_says_so(
    device: str | None,
    said: str,
    folder: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where, sha256 = folder
    if torch.cuda.is_available():
        pytest.skip("does not apply: there is a card")
    if device is None:
        monkeypatch.delenv("TRYONAI_DEVICE", raising=False)
    else:
        monkeypatch.setenv("TRYONAI_DEVICE", device)

    with pytest.raises(EngineUnavailable, match=said):
        FashnEngine(where, sha256=sha256, licence="MIT", network=SIZES).load()
