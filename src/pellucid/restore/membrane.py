"""What lies in the middle of a hole that is too deep for a network: a smooth surface across it.

Known pixels are averaged down to ever larger squares until every square knows something, and what
a square lacks comes back down from the larger ones, as in the push-pull of Gortler, Grzeszczuk,
Szeliski, Cohen 1996, https://doi.org/10.1145/237170.237200. Read next: `inpaint`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.restore.cells import over_cells, strips

SIDE = 16
"""Side in pixels of the smallest squares."""

Values = NDArray[np.float64]


def membrane(samples: NDArray[Any], lost: NDArray[np.bool_], places: NDArray[np.bool_]) -> Values:
    """Samples for some of the missing pixels.

    Args:
        samples: (H, W, C), of any dtype; only what is known and finite counts.
        lost: (H, W), True where a pixel is missing; not everywhere.
        places: (H, W), True where an answer is wanted.

    Returns:
        (N, C), in the order of ``np.nonzero(places)``, between the least and the largest sample
        that is known.

    Example:
        >>> lost = np.zeros((64, 64), bool)
        >>> lost[8:56, 8:56] = True
        >>> membrane(np.full((64, 64, 1), 7, np.uint8), lost, lost).round(6).max()
        np.float64(7.0)
    """
    sums, counts = [], []
    for rows in strips(samples, SIDE):
        known = ~lost[rows, :, None] & np.isfinite(samples[rows]).all(axis=2, keepdims=True)
        sums.append(over_cells(np.add, np.where(known, samples[rows], 0.0).astype(float), SIDE))
        counts.append(over_cells(np.add, known.astype(float), SIDE))
    surface = _pulled(np.concatenate(sums), np.concatenate(counts) / SIDE**2)
    down, across = np.nonzero(places)
    return _between(surface, (down + 0.5) / SIDE - 0.5, (across + 0.5) / SIDE - 0.5)


def _pulled(sums: Values, weights: Values) -> Values:
    """A value for every square, (h, w, C), of its sum and of how much it knows, from 0 to 1."""
    counts = weights * SIDE**2
    values = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    high, wide = weights.shape[:2]
    if max(high, wide) == 1 or (weights > 0).all():
        return values
    pads = ((0, high % 2), (0, wide % 2), (0, 0))
    sure = np.minimum(weights, 1)
    coarse = [_halved(np.pad(part, pads)) for part in (values * sure, sure)]
    # A large square that holds one whole small one knows enough.
    cut = np.maximum(coarse[1], 1)
    larger = _pulled(coarse[0] / cut * SIDE**2, coarse[1] / cut)
    rows, columns = np.mgrid[0:high, 0:wide].reshape(2, -1)
    above = _between(larger, (rows + 0.5) / 2 - 0.5, (columns + 0.5) / 2 - 0.5)
    return sure * values + (1 - sure) * above.reshape(values.shape)


def _halved(values: Values) -> Values:
    """Sums of two by two."""
    found: Values = values.reshape(len(values) // 2, 2, -1, 2, values.shape[2]).sum(axis=(1, 3))
    return found


def _between(values: Values, rows: Values, columns: Values) -> Values:
    """Bilinear values (N, C) at places counted in squares; at the ends those of the last."""
    mixed = np.zeros((len(rows), values.shape[2]))
    parts = []
    for places, count in ((rows, values.shape[0]), (columns, values.shape[1])):
        at = np.clip(places, 0, count - 1)
        low = np.minimum(at.astype(int), max(count - 2, 0))
        share = at - low
        parts.append(((low, 1 - share), (np.minimum(low + 1, count - 1), share)))
    for row, down in parts[0]:
        for column, across in parts[1]:
            mixed += values[row, column] * (down * across)[:, None]
    return mixed
