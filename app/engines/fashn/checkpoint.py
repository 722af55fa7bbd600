"""A network out of a file of weights: all names and shapes are compared before anything is read."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from app.engines.fashn.architecture import Architecture
from app.engines.fashn.network import Network
from app.errors import EngineUnavailable


def read(path: Path, sizes: Architecture, *, device: torch.device, dtype: torch.dtype) -> Network:
    """Raises EngineUnavailable where the file is of no such network."""
    with torch.device("meta"):  # nothing is allocated, nor drawn at random
        network = Network(sizes)
    try:
        _compare(path, network)
        tensors = load_file(path, device=str(device))
    except SafetensorError as exc:
        raise EngineUnavailable(f"fashn's {path.name} is no safetensors file.") from exc
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.to(dtype=dtype).eval().requires_grad_(False)


def _compare(path: Path, network: Network) -> None:
    wanted = {name: list(one.shape) for name, one in network.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if lacking := sorted(wanted.keys() - found.keys()):
        raise _another(path, f"it has no {lacking[0]}", len(lacking))
    if unknown := sorted(found.keys() - wanted.keys()):
        raise _another(path, f"nothing takes its {unknown[0]}", len(unknown))
    odd = sorted(name for name, shape in wanted.items() if found[name] != shape)
    if odd:
        shapes = f"is {found[odd[0]]} and should be {wanted[odd[0]]}"
        raise _another(path, f"its {odd[0]} {shapes}", len(odd))


def _another(path: Path, fault: str, count: int) -> EngineUnavailable:
    more = f", and {count - 1} more are wrong like that" if count > 1 else ""
    return EngineUnavailable(f"fashn's {path.name} is of another network: {fault}{more}.")
