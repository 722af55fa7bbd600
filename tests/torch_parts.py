"""PyTorch for tests marked `torch`, and networks without training for `python -m app evaluate`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from app.learned import ALEXNET, FILES_IN, INCEPTION


def import_torchvision() -> Any:
    """Whatever torch it was built for: none of its own operators is used here.

    The package index has it for CUDA's torch alone. Beside another one its library does not load,
    and it misses the operators when it says of what shape their results are.
    """
    import torch  # noqa: PLC0415 - an extra

    while True:
        try:
            import torchvision  # noqa: PLC0415
        except RuntimeError as exc:
            missing = re.search(r"operator (torchvision::\w+) does not exist", str(exc))
            if missing is None:
                raise
            torch.library.define(missing[1], "(Tensor x) -> Tensor")
            for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
        else:
            return torchvision


def write_networks(folder: Path) -> None:
    """AlexNet and Inception as they are before training, in the files that the libraries read."""
    torchvision = import_torchvision()
    import torch  # noqa: PLC0415
    from torch_fidelity.feature_extractor_inceptionv3 import (  # noqa: PLC0415
        FeatureExtractorInceptionV3,
    )

    class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, values: object) -> None:
            """As it is."""

    files = folder / FILES_IN
    files.mkdir(parents=True)
    torch.manual_seed(0)
    values = torchvision.models.alexnet(weights=None).state_dict()
    for name in values:
        if name.startswith("classifier"):  # 220 MB that no measure looks at
            values[name] = torch.zeros(1).expand(values[name].shape)
    torch.save(values, files / ALEXNET[0])
    nothing = files / "nothing.pth"
    torch.save({}, nothing)
    network = Untrained("untrained", ["2048"], str(nothing))
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):  # else what goes in is lost on the way
            torch.nn.init.kaiming_normal_(part.weight)
    torch.save(network.state_dict(), files / INCEPTION[0])
    nothing.unlink()
