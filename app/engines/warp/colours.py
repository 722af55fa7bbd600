"""How well a colour fits what was learned from some pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.values import Floats

WORST = 14.0
"""The highest cost: a colour never seen costs no more, so that shape can overrule it."""

_MOST_SAMPLES = 3000
_FEWEST_SAMPLES = 30
_PER_COLOUR = 60
"""Samples for each colour of a mixture, at least."""

_SPREAD = np.diag([20.0, 4.0, 4.0])
"""Added to each covariance, Lab²: noise, and light that was not among the samples."""


@dataclass(frozen=True)
class Colours:
    """A mixture of Gaussians in Lab. means: (k, 3). whiten: (k, 3, 3). base: (k,)."""

    means: Floats
    whiten: Floats
    base: Floats

    @classmethod
    def learned(cls, samples: Floats, most: int) -> Colours | None:
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
        """The negative logarithm of the likelihood, (h, w), at most WORST."""
        flat = colours.reshape(-1, 3)
        best = np.full(len(flat), WORST, np.float32)
        for mean, whiten, base in zip(self.means, self.whiten, self.base, strict=True):
            away = (flat - mean) @ whiten
            np.minimum(best, 0.5 * np.einsum("ij,ij->i", away, away) + base, out=best)
        return best.reshape(colours.shape[:2])


def _clusters(samples: Floats, count: int) -> NDArray[np.int32]:
    cv2.setRNGSeed(0)  # k-means draws its first centres
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.5)
    empty = np.zeros((len(samples), 1), np.int32)
    _, labels, _ = cv2.kmeans(samples, count, empty, criteria, 2, cv2.KMEANS_PP_CENTERS)
    return np.asarray(labels.ravel(), np.int32)
