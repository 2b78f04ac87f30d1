"""A picture in square cells, a strip of whole cells at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import BAND_PIXELS


def strips(samples: NDArray[Any], side: int) -> Iterator[slice]:
    """Whole rows of cells, about a million pixels at a time.

    Args:
        samples: (H, W) or (H, W, C).
        side: Of a cell, in pixels; the last ones may be smaller.
    """
    height, width = samples.shape[:2]
    step = max(1, BAND_PIXELS // (side * width)) * side
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def over_cells(ufunc: np.ufunc, pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """A ufunc over the pixels of each cell: (h, w, C) of (H, W, C)."""
    height, width = pixels.shape[:2]
    high = ufunc.reduceat(pixels, np.arange(0, height, side), axis=0)
    found: NDArray[Any] = ufunc.reduceat(high, np.arange(0, width, side), axis=1)
    return found


def in_pixels(cells: NDArray[np.bool_], side: int, rows: slice, width: int) -> NDArray[np.bool_]:
    """The cells of a strip as pixels: (h, width, 1) of (H / side, W / side)."""
    strip = cells[rows.start // side : -(-rows.stop // side)]
    tall = strip.repeat(side, axis=0)[: rows.stop - rows.start]
    return tall.repeat(side, axis=1)[:, :width, None]
