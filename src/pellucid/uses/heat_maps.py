"""Maps of strangeness laid over the pictures, for a person to look at.

The picture is shown in greys; colour begins at half the threshold and is full at one and a half,
on every picture alike, so that a good one stays plain. A line runs around what is above the
threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BEGIN, FULL = 0.5, 1.5
STRONGEST = 0.6
"""How much of the picture the strongest colour hides."""

YELLOW, RED = (255.0, 225.0, 40.0), (225.0, 20.0, 30.0)
LINE = (255, 0, 60)


def overlay(
    pixels: NDArray[np.float32],
    strangeness: NDArray[np.float32],
    threshold: float,
    levels: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.uint8]:
    """The picture under its map, (H, W, 3).

    Args:
        pixels: (H, W, 1 or 3) in its own units.
        strangeness: (H, W), in the units of the threshold.
        threshold: Where the line runs; above 0.
        levels: What is shown black and white.
    """
    grey = (pixels.mean(axis=2) - levels[0]) / (levels[1] - levels[0])
    grey = 255 * np.nan_to_num(grey).clip(0, 1)
    times = strangeness / threshold
    share = ((times - BEGIN) / (FULL - BEGIN)).clip(0, 1)[..., None]
    colour = np.array(YELLOW) * (1 - share) + np.array(RED) * share
    hidden = STRONGEST * share
    shown = grey[..., None] * (1 - hidden) + colour * hidden
    picture: NDArray[np.uint8] = np.rint(shown).astype(np.uint8)
    picture[outline(times > 1, max(1, round(min(grey.shape) / 300)))] = LINE
    return picture


def outline(inside: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """The rim of what is inside, so many pixels thick, outside of it where the picture goes on."""
    grown = inside
    for _ in range(thickness):
        padded = np.pad(grown, 1)
        grown = grown | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return grown & ~inside
