"""Float pictures that networks were not made for: any range, NaN, a hot pixel.

A scientist's picture may count photons or kelvins and mark what is missing by NaN. Networks know
[0, 1]; this decides how to get there and back without losing a value. Read next: `denoise`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ImageError
from pellucid.images.picture import bands

Pixels = NDArray[np.float32]

NEAR_ZERO = 0.25
"""Share of a picture's range. One that begins no further above zero than this counts from zero:
then magnitudes and photons keep their meaning, which noise depends on."""


LEAST = 1 / 255
"""A picture of less range than this has a unit of its own, as volts or reflectance may be: on the
[0, 1] scale it would be one flat colour."""


def prepared(
    samples: NDArray[Any], warn: Callable[[str], None]
) -> tuple[NDArray[Any], tuple[np.float32, np.float32] | None]:
    """What a network can be given of a picture's samples.

    Args:
        samples: (H, W, C), any dtype of `Picture`; integers come back as they are.
        warn: Told what stays as it was.

    Returns:
        Samples without NaN, the very array where there are none; and the values to be taken for 0
        and 1, None where the samples are on that scale already.

    Raises:
        ImageError: Nothing is finite.
    """
    if samples.dtype.kind != "f":
        return samples, None
    height, width = samples.shape[:2]
    missing = sum(int((~np.isfinite(samples[rows])).sum()) for rows in bands(height, width))
    if missing == samples.size:
        raise ImageError("the picture has no finite sample: all are NaN or infinite")
    if missing:
        warn(f"{missing} samples are NaN or infinite and stay as they are")
        samples = _filled(samples)
    low, high = float(samples.min()), float(samples.max())
    if _is_unit(samples, low, high):
        return samples, None
    sparse = samples[:: max(1, height // 1000), :: max(1, width // 1000)]
    floor, ceiling = (float(value) for value in np.quantile(sparse, (0.001, 0.999)))
    spread = ceiling - floor
    if 0 < 4 * spread < high - low:
        # A hot pixel must not squeeze everything else into a few grey levels.
        low, high = max(low, floor - spread / 2), min(high, ceiling + spread / 2)
        outside = sum(
            int(((samples[rows] < low) | (samples[rows] > high)).sum())
            for rows in bands(height, width)
        )
        warn(f"{outside} samples lie far outside the others ({low:g} to {high:g}) and stay as are")
    if 0 < low <= NEAR_ZERO * (high - low):
        low = 0.0
    if not high > low:
        high = low + 1.0
    return samples, (np.float32(low), np.float32(high))


def _is_unit(samples: Pixels, low: float, high: float) -> bool:
    """Whether floats are meant to be in [0, 1].

    Noise alone may leave it, but not the means of small squares, and not by more than one.
    """
    if low < -1 or high > 2 or 0 < high - low < LEAST:
        return False
    if low >= 0 and high <= 1:
        return True
    height, width = (max(8, side // 8 * 8) for side in samples.shape[:2])
    if min(samples.shape[:2]) < 8:
        means = samples.mean(axis=(0, 1), keepdims=True)
    else:
        squares = samples[:height, :width].reshape(height // 8, 8, width // 8, 8, -1)
        means = squares.mean(axis=(1, 3))
    return bool(means.min() >= -0.1 and means.max() <= 1.1)


def _filled(samples: Pixels) -> Pixels:
    """A copy where NaN and infinities take the mean of their neighbours, or of everything."""
    filled = samples.copy()
    hole = ~np.isfinite(filled)
    mean = filled[~hole].mean(dtype=np.float64)
    for _ in range(8):
        places = np.argwhere(hole)
        if not len(places):
            return filled
        total = np.zeros(len(places))
        count = np.zeros(len(places))
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                y = (places[:, 0] + down).clip(0, filled.shape[0] - 1)
                x = (places[:, 1] + right).clip(0, filled.shape[1] - 1)
                known = ~hole[y, x, places[:, 2]]
                total[known] += filled[y, x, places[:, 2]][known]
                count[known] += 1
        reached = places[count > 0]
        filled[tuple(reached.T)] = total[count > 0] / count[count > 0]
        hole[tuple(reached.T)] = False
    filled[hole] = mean
    return filled
