"""Whether a picture looks drawn: pixel art, a dithered picture, a chart of few colours.

Noise on a photograph makes many colours that lie close together. A picture of few, far apart, was
drawn or reduced to them; its dots and single pixels are meant, and to a network they look like
noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import WHITE, bands

MOST = 32
"""Colours that a drawn picture has at most."""

FEWEST = 32 * MOST
"""Pixels below which few colours say nothing."""

APART = 7 / 255
"""Mean step from one level of a channel to the next, of the way from black to white. Noise leaves
none out: a photograph in the dark may have few levels, but they follow on each other."""

LITTLE = 2 / 255
"""Root mean square of a change that is not worth a word."""


def looks_drawn(samples: NDArray[Any]) -> bool:
    """Whether samples (H, W, C) have few colours that lie apart; never of floats.

    Example:
        >>> board = np.indices((32, 32)).sum(0)[..., None] % 2 * np.uint8(255)
        >>> looks_drawn(board), looks_drawn(np.arange(1024, dtype=np.uint16).reshape(32, 32, 1))
        (True, False)
    """
    height, width = samples.shape[:2]
    if samples.dtype.kind == "f" or height * width < FEWEST:
        return False
    # A photograph is told by a few of its pixels.
    seen = _colours(samples[:: max(1, height // 64), :: max(1, width // 64)])
    for rows in bands(height, width):
        if len(seen) > MOST:
            return False
        seen = np.union1d(seen, _colours(samples[rows]))
    if len(seen) > MOST:
        return False
    white = WHITE[samples.dtype.name]
    levels = [np.unique(seen >> shift & white) / white for shift in _shifts(samples)]
    return any(len(found) > 1 and np.diff(found).mean() >= APART for found in levels)


def _colours(samples: NDArray[Any]) -> NDArray[np.int64]:
    """The colours of some pixels, each as one number."""
    channels = (samples[..., c].astype(np.int64) << by for c, by in enumerate(_shifts(samples)))
    return np.unique(sum(channels))


def _shifts(samples: NDArray[Any]) -> list[int]:
    """Where in such a number each channel's level begins."""
    return [8 * samples.itemsize * channel for channel in range(samples.shape[2])]
