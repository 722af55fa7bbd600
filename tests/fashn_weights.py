"""A small network for the engine fashn: weights by a formula, the same on every machine.

What it draws is noise; the way there is that of the published network.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from app.engines.fashn.architecture import Architecture, architecture

SIZES: dict[str, Any] = {
    **{"patch": 96, "hidden": 24, "heads": 2, "axes": [4, 4, 4], "frequencies": 32},
    **{"mixers": 2, "pairs": 2, "blocks": 2},
}
"""On pictures of the published network's size, with 54 tokens of them."""

TINY = architecture(SIZES)


def tensors(sizes: Architecture) -> dict[str, Any]:
    """All parameters, by name, float32."""
    import torch  # noqa: PLC0415 - not everybody has it

    from app.engines.fashn.network import Network  # noqa: PLC0415

    with torch.device("meta"):
        wanted = Network(sizes).state_dict()
    return {
        name: _scattered(number, name, tuple(one.shape))
        for number, (name, one) in enumerate(sorted(wanted.items()))
    }


def _scattered(number: int, name: str, shape: tuple[int, ...]) -> Any:
    """Between -1 and 1, and smaller where many are added up; those of norms lie around 1."""
    import torch  # noqa: PLC0415

    count = torch.Size(shape).numel()
    steps = torch.arange(count, dtype=torch.float64) + 1000.0 * number
    found = 2 * (torch.sin(12.9898 * steps) * 43758.5453).frac().abs() - 1
    if name.endswith(".scale"):
        found = 1 + 0.2 * found
    elif len(shape) > 1:
        found *= (3 / torch.Size(shape[1:]).numel()) ** 0.5
    if name.startswith("final_layer.linear"):
        found *= 0.1  # most pixels stay between black and white
    return found.reshape(shape).float()


def write(folder: Path, sizes: Architecture, **changes: Any) -> str:
    """Write the file; its digest. changes: tensors by name, None leaves one out."""
    from safetensors.torch import save_file  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    named = {name.replace("__", "."): one for name, one in changes.items()}
    kept = {name: one for name, one in {**tensors(sizes), **named}.items() if one is not None}
    save_file(kept, folder / "model.safetensors")
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
