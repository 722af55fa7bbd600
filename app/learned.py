"""LPIPS, FID and KID: measures made by networks that were trained on other people's pictures.

They need the extra `evaluate` and the networks' files, in a folder that the operator names: nothing
is fetched. Figures are comparable only with figures of the same files, so their digests go along.
What was decided, and what else there was: docs/adr/0025-measures-by-networks.md.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.engines import Rgb

    Features: TypeAlias = NDArray[np.float32]

FILES_IN = "checkpoints"
"""Below the folder, as in torch's own cache: where torchvision looks before it would fetch."""

ALEXNET = ("alexnet-owt-7be5be79.pth",)
INCEPTION = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""The names that torchvision, torch-fidelity and pytorch-fid give them; the last part is the first
eight digits of the SHA-256."""

LIBRARIES = ("torch", "torchvision", "torchmetrics", "torch-fidelity")

FEATURES = 2048
"""Of Inception's last pooling, in which FID and KID are defined."""

SUBSET, SUBSETS = 1000, 100
"""Of KID, where there are more pictures: the figures of the paper and of all implementations."""

_INSTALL = (
    "pip install torch torchvision torchmetrics torch-fidelity (the extra `evaluate`; where there "
    "is no graphics card, torch and torchvision from https://download.pytorch.org/whl/cpu)"
)
_NO_SUCH_FILE = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError)
"""What loading raises where a file is torn, or is another network's."""

_Network = TypeVar("_Network")


class Lpips:
    """How far two pictures are apart to the eye, from 0.

    Source: Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric,
    2018, version 0.1 on AlexNet, the usual one in papers of the field; by torchmetrics.
    """

    def __init__(self, file: Path) -> None:
        import torch  # noqa: PLC0415 - an extra, and seconds to import
        from torchmetrics.image.lpip import (  # noqa: PLC0415
            LearnedPerceptualImagePatchSimilarity,
        )

        torch.hub.set_dir(str(file.parent.parent))
        self._metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)

    def between(self, truth: Rgb, made: Rgb) -> float:
        """truth, made: of one size, 64 pixels a side or more."""
        return float(self._metric(_batch(truth) / 255, _batch(made) / 255))


class Inception:
    """What FID and KID compare: sets of pictures, by what Inception sees in each.

    Sources: Heusel et al., GANs trained by a two time-scale update rule, 2017; Bińkowski et al.,
    Demystifying MMD GANs, 2018; by torchmetrics, on torch-fidelity's network, whose resizing is
    that of the first implementation, without antialiasing.
    """

    def __init__(self, file: Path) -> None:
        from torchmetrics.image.fid import NoTrainInceptionV3  # noqa: PLC0415

        self._network = NoTrainInceptionV3(
            "inception-v3-compat", [str(FEATURES)], str(file), antialias=False
        )

    def features(self, picture: Rgb) -> Features:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            found: Features = self._network(_batch(picture))[0].numpy()
        return found

    def fid(self, real: Sequence[Features], made: Sequence[Features]) -> float | None:
        """From 0; biased upwards the more the fewer pictures there are. None below two of each."""
        from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: PLC0415

        if min(len(real), len(made)) < 2:
            return None
        distance = FrechetInceptionDistance(feature=_as_given(len(real[0])))
        _fill(distance, real, made)
        return float(distance.compute())

    def kid(self, real: Sequence[Features], made: Sequence[Features]) -> float | None:
        """Not biased, so that it may be a little below 0. None below two pictures of each."""
        import torch  # noqa: PLC0415
        from torchmetrics.image.kid import KernelInceptionDistance  # noqa: PLC0415

        size = min(SUBSET, len(real), len(made))
        if size < 2:
            return None
        only_one = size == max(len(real), len(made))
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance`")  # of its memory
            torch.manual_seed(0)
            distance = KernelInceptionDistance(
                feature=_as_given(len(real[0])),
                subsets=1 if only_one else SUBSETS,
                subset_size=size,
            )
            _fill(distance, real, made)
            return float(distance.compute()[0])


@dataclass
class Learned:
    """What there is of it. weights: the SHA-256 of each file that was used.

    libraries: their versions, which decide the figures, too.
    remarks: sentences for the report, why something is missing among them.
    """

    lpips: Lpips | None = None
    inception: Inception | None = None
    weights: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def load(folder: Path | None) -> Learned:
    """folder: as torch's own cache, with the files in `checkpoints/`; None: there is none."""
    found = Learned()
    reason = "--metric-weights names no folder of networks" if folder is None else _not_usable()
    if folder is None or reason:
        found.remarks.append(f"LPIPS, FID and KID were not computed: {reason}.")
        return found
    found.libraries = {name: metadata.version(name) for name in LIBRARIES}
    found.lpips = _loaded(found, "LPIPS was", folder, _alexnet(), Lpips)
    found.inception = _loaded(found, "FID and KID were", folder, INCEPTION, Inception)
    return found


def _alexnet() -> tuple[str]:
    """The file that this torchvision takes, and would fetch if it were not there."""
    from torchvision.models import AlexNet_Weights  # noqa: PLC0415

    return (AlexNet_Weights.DEFAULT.url.rpartition("/")[2],)


def _not_usable() -> str:
    """Why the libraries cannot be used; empty where they can."""
    try:
        import torch  # noqa: F401, PLC0415
        import torch_fidelity  # noqa: F401, PLC0415
        import torchmetrics  # noqa: F401, PLC0415
        import torchvision  # noqa: F401, PLC0415
    except ImportError as exc:
        return f"{exc.name} is not installed: {_INSTALL}"
    except RuntimeError as exc:  # how torchvision says that it was built for another torch
        return f"torchvision was made for another torch ({exc}): {_INSTALL}"
    return ""


def _loaded(
    found: Learned,
    subject: str,
    folder: Path,
    names: Sequence[str],
    network: Callable[[Path], _Network],
) -> _Network | None:
    import torch  # noqa: PLC0415

    files = [folder / FILES_IN / name for name in names]
    file = next((one for one in files if one.is_file()), None)
    if file is None:
        found.remarks.append(f"{subject} not computed: {files[0]} is missing.")
        return None
    try:
        # The libraries load whatever a pickle says; a file that passes this has values only.
        torch.load(file, map_location="cpu", weights_only=True)
        made = network(file)
    except _NO_SUCH_FILE as exc:
        found.remarks.append(
            f"{subject} not computed: {file} is torn, or no such network ({type(exc).__name__}); "
            "fetch it anew."
        )
        return None
    digest = _sha256(file)
    found.weights[file.name] = digest
    said = file.stem.rpartition("-")[2]
    if not digest.startswith(said):
        found.remarks.append(
            f"{file.name} is not the published file, whose SHA-256 begins with {said}: figures are "
            "comparable with those of this very file only."
        )
    return made


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _batch(picture: Rgb) -> Any:
    """(1, 3, h, w) uint8, as networks take it."""
    import torch  # noqa: PLC0415

    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]


def _as_given(features: int) -> Any:
    """A network for torchmetrics that takes features for pictures: they were looked at before."""
    import torch  # noqa: PLC0415

    network: Any = torch.nn.Identity()
    network.num_features = features
    return network


def _fill(distance: Any, real: Sequence[Features], made: Sequence[Features]) -> None:
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    distance.update(torch.from_numpy(np.stack(real)), real=True)
    distance.update(torch.from_numpy(np.stack(made)), real=False)
