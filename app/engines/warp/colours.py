"""How well a colour fits what was learned from some pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.values import Floats

WORST = 14.0
"""From here on costs rise slowly: a colour never seen may be overruled by shape, but two that were
never seen still compare."""

_TAIL = 0.7

_CELL = 4
"""Colours within a cube of this side, Lab units, count as one: far below what tells two fabrics
apart, and a person has 2,000–6,000 such cells instead of 60,000 pixels."""

_MOST_SAMPLES = 1500
_FEWEST_SAMPLES = 30
_PER_COLOUR = 60
"""Samples for each colour of a mixture, at least."""

_SPREAD = np.diag([140.0, 3.0, 3.0])
"""Added to each covariance: noise, and light and shade that were not among the samples."""

_USUAL_LIGHT = 80.0
"""The lightness, 0–100, at which shade-free hues have the scale of Lab."""

_DARK = 24.0
"""Added to lightness before hues are divided by it: 16 were exact (Lab's offset), but then the
noise of black cloth is taken for colour."""


def shade_free(lab: Floats) -> Floats:
    """Lab with hues that shade does not change: (..., 3) of 8-bit pictures, hues round 0.

    Where less of the same light falls, L + 16 and a and b shrink alike (all are differences of
    cube roots), so a and b divided by L + 16 stay.
    """
    light = lab[..., :1] * np.float32(100 / 255)
    scale = (_USUAL_LIGHT + _DARK) / (light + _DARK)
    return np.concatenate([lab[..., :1], (lab[..., 1:] - 128) * scale], -1).astype(np.float32)


@dataclass(frozen=True)
class Palette:
    """The colours of some pixels. cells: (m, 3), Lab. of: (n,), each pixel's cell."""

    cells: Floats
    of: NDArray[np.intp]

    @classmethod
    def counted(cls, lab: Floats) -> Palette:
        """lab: (n, 3), shade-free."""
        steps = (lab / _CELL + 64).astype(np.int32)
        keys = (steps[:, 0] << 16) | (steps[:, 1] << 8) | steps[:, 2]
        _, first, of = np.unique(keys, return_index=True, return_inverse=True)
        return cls(np.asarray(lab[first], np.float32), of)

    def cost(self, mixture: Mixture | None) -> Floats:
        """(n,): WORST everywhere where nothing was learned."""
        if mixture is None:
            return np.full(len(self.of), WORST, np.float32)
        return mixture.cost(self.cells)[self.of]


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians in Lab. means: (k, 3). whiten: (k, 3, 3). base: (k,)."""

    means: Floats
    whiten: Floats
    base: Floats

    @classmethod
    def learned(cls, samples: Floats, most: int) -> Mixture | None:
        """From (n, 3) Lab colours, at most `most` of them different; None from too few."""
        if len(samples) < _FEWEST_SAMPLES:
            return None
        samples = samples[:: max(1, len(samples) // _MOST_SAMPLES)].astype(np.float32)
        count = int(np.clip(len(samples) // _PER_COLOUR, 1, most))
        labels = _clusters(samples, count)
        means, whiten, base = [], [], []
        for i in range(count):
            own = samples[labels == i]
            if len(own) < 8:
                continue
            covariance = np.cov(own.T) + _SPREAD
            means.append(own.mean(0))
            whiten.append(np.linalg.cholesky(np.linalg.inv(covariance)))
            share = len(own) / len(samples)
            base.append(0.5 * np.linalg.slogdet(covariance)[1] - np.log(share))
        return cls(*(np.asarray(value, np.float32) for value in (means, whiten, base)))

    def cost(self, colours: Floats) -> Floats:
        """(n,) for (n, 3): the negative logarithm of the likelihood, hardly above WORST."""
        best = np.full(len(colours), 1e9, np.float32)
        for mean, whiten, base in zip(self.means, self.whiten, self.base, strict=True):
            away = (colours - mean) @ whiten
            np.minimum(best, 0.5 * (away * away).sum(1) + base, out=best)
        over = best > WORST
        best[over] = WORST + _TAIL * np.log1p(best[over] - WORST)
        return best


def typical(samples: Floats, count: int) -> Floats:
    """(k, 3): at most `count` colours that stand for (n, 3)."""
    samples = samples[:: max(1, len(samples) // _MOST_SAMPLES)].astype(np.float32)
    count = min(count, len(samples))
    labels = _clusters(samples, count)
    return np.stack(
        [samples[labels == i].mean(0) for i in range(count) if (labels == i).any()]
    ).astype(np.float32)


def _clusters(samples: Floats, count: int) -> NDArray[np.int32]:
    cv2.setRNGSeed(0)  # k-means draws its first centres
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    empty = np.zeros((len(samples), 1), np.int32)
    _, labels, _ = cv2.kmeans(samples, count, empty, criteria, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(labels.ravel(), np.int32)
