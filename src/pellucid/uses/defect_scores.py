"""How well scores tell good from bad: areas under curves, the best F1, overlap with each defect.

Pure functions of numbers, higher is stranger. Every pixel of a test set is counted into a table of
fixed size, so that a thousand large pictures take no more memory than ten. Read next: `detect`,
which makes the scores, and `defect_report`, which tells them by kind of defect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.errors import DataError, optional

FALSE_POSITIVES = 0.3
"""Share of good pixels up to which PRO is averaged."""

_SHIFT = 11
_BINS = (0x7F800000 >> _SHIFT) + 1
"""A float's first 21 bits: neighbours differ by a part in 4,096, at every magnitude."""

Array = NDArray[Any]


def auroc(scores: ArrayLike, anomalous: ArrayLike) -> float:
    """Chance that an anomalous one scores above a good one, ties as half; NaN without both kinds.

    Args:
        scores: (N,), higher is stranger.
        anomalous: (N,), true or false.

    Example:
        >>> auroc([0.1, 0.4, 0.3, 0.9], [False, False, True, True])
        0.75
    """
    values, flags = _pair(scores, anomalous)
    _, place = np.unique(values, return_inverse=True)
    return _area(np.bincount(place[~flags]), np.bincount(place[flags]))


def f1_max(scores: ArrayLike, anomalous: ArrayLike) -> tuple[float, float]:
    """The best F1 of any threshold, and that threshold (what reaches it is called anomalous).

    NaN both without an anomalous one.

    Example:
        >>> f1_max([0.1, 0.4, 0.3, 0.9], [False, False, True, True])
        (0.8, 0.3)
    """
    values, flags = _pair(scores, anomalous)
    levels, place = np.unique(values, return_inverse=True)
    count = len(levels)
    best, where = _best_f1(
        np.bincount(place[~flags], minlength=count), np.bincount(place[flags], minlength=count)
    )
    return (best, float(levels[where])) if where >= 0 else (np.nan, np.nan)


def regions(mask: Array) -> tuple[Array, int]:
    """The connected defects of a mask (H, W), numbered from 1 (corners connect), and how many.

    Raises:
        MissingExtraError: SciPy, of the extra 'train', is not installed.
    """
    labels, count = optional("scipy.ndimage", "train").label(mask, structure=np.ones((3, 3)))
    return labels, int(count)


@dataclass(eq=False)
class PixelTally:
    """Pixel scores of any number of pictures, counted by value. Two are added with ``+``.

    Scores are kept to a part in 4,096. They must not be negative.
    """

    good: Array = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    bad: Array = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    covered: Array = field(default_factory=lambda: np.zeros(_BINS))
    defects: int = 0

    def add(self, scores: Array, mask: Array | None = None) -> None:
        """Count one picture.

        Args:
            scores: (H, W), finite, from 0.
            mask: (H, W), true on defects; None for a good picture.

        Raises:
            DataError: Sizes differ, or a score is negative or no number.
        """
        values = np.ascontiguousarray(scores, np.float32) + np.float32(0)  # no minus zero
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise DataError("pixel scores must be finite numbers from 0 up")
        keys = values.view(np.uint32) >> _SHIFT
        if mask is None:
            self.good += np.bincount(keys.ravel(), minlength=_BINS)
            return
        mask = np.asarray(mask, bool)
        if mask.shape != values.shape:
            raise DataError(f"the mask is {mask.shape} but the scores are {values.shape}")
        self.good += np.bincount(keys[~mask], minlength=_BINS)
        self.bad += np.bincount(keys[mask], minlength=_BINS)
        labels, count = regions(mask)
        sizes = np.bincount(labels[mask], minlength=count + 1)
        share = 1 / np.maximum(sizes, 1)
        self.covered += np.bincount(keys[mask], share[labels[mask]], minlength=_BINS)
        self.defects += count

    def __add__(self, other: PixelTally) -> PixelTally:
        return PixelTally(
            self.good + other.good,
            self.bad + other.bad,
            self.covered + other.covered,
            self.defects + other.defects,
        )

    def auroc(self) -> float:
        """As `auroc`, over pixels."""
        return _area(self.good, self.bad)

    def f1_max(self) -> float:
        """As `f1_max`, over pixels."""
        return _best_f1(self.good, self.bad)[0]

    def pro(self, limit: float = FALSE_POSITIVES) -> float:
        """Mean share of each defect that is found, averaged over false positives up to `limit`.

        Every connected defect counts alike, however large. NaN without defects or good pixels.
        Bergmann et al. 2020, https://arxiv.org/abs/1911.02357
        """
        if not self.defects or not self.good.sum():
            return float("nan")
        used = np.flatnonzero((self.good > 0) | (self.covered > 0))[::-1]
        false = np.append(0, np.cumsum(self.good[used]) / self.good.sum())
        found = np.append(0, np.cumsum(self.covered[used]) / self.defects)
        end = int(np.searchsorted(false, limit, side="right"))
        at_limit = np.interp(limit, false, found)
        area = np.trapezoid(np.append(found[:end], at_limit), np.append(false[:end], limit))
        return float(area / limit)


def _pair(scores: ArrayLike, anomalous: ArrayLike) -> tuple[Array, Array]:
    values, flags = np.asarray(scores, np.float64), np.asarray(anomalous, bool)
    if values.shape != flags.shape or values.ndim != 1:
        raise DataError(f"{values.shape} scores and {flags.shape} answers; both must be (N,)")
    return values, flags


def _area(good: Array, bad: Array) -> float:
    """Area under the curve for counts at each value, the lowest first."""
    count = max(len(good), len(bad))
    good = np.pad(good, (0, count - len(good))).astype(np.float64)
    bad = np.pad(bad, (0, count - len(bad))).astype(np.float64)
    pairs = good.sum() * bad.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(good) - good
    return float((bad * (below + good / 2)).sum() / pairs)


def _best_f1(good: Array, bad: Array) -> tuple[float, int]:
    """The best F1 and at which value; NaN and -1 without a bad one."""
    all_bad = bad.sum()
    if not all_bad:
        return float("nan"), -1
    found, false = np.cumsum(bad[::-1])[::-1], np.cumsum(good[::-1])[::-1]
    f1 = 2 * found / np.maximum(all_bad + found + false, 1)
    where = int(np.argmax(f1))
    return float(f1[where]), where
