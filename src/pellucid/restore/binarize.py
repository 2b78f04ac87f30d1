"""Black and white pages of one bit: `binarize`.

A cleaned page is even and white, or nearly so: where paper was very dark, some grey may rest. So
each pixel is taken over the paper around it, and one level for the page, which Otsu's rule finds,
parts ink from paper. Read next: `ink`, which knows what paper is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pellucid.restore.cells import strips
from pellucid.restore.ink import CELL, Plane, grey_cells, paper_around

PAPER_SHARE = 0.6
"""Paper is as light as this share of the cells around is not: less than `ink` takes, for dark
places are small on a cleaned page."""

DARKEST_PAPER = 0.5
"""Of what most of the page's paper is; a wide place that is darker is print: a bar, a picture."""

LEVELS = (0.5, 0.8)
"""Where the level may lie, paper being 1: a page without ink would be parted in its grain."""


def binarize(samples: NDArray[Any]) -> Plane:
    """A page in black and white, held in a few bytes a pixel.

    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on
    Systems, Man, and Cybernetics 9, 1979, https://doi.org/10.1109/TSMC.1979.4310076.

    Args:
        samples: (H, W, C), uint8, uint16 or float in [0, 1]; paper light.

    Returns:
        (H, W, 1) uint8, ink 0 and paper 255.

    Example:
        >>> page = np.full((16, 16, 1), 200, np.uint8)
        >>> page[4:6, 4:12] = 60
        >>> int((binarize(page) == 0).sum())
        16
    """
    height, width = samples.shape[:2]
    if not height * width:
        return np.empty((height, width, 1), np.uint8)
    grey = grey_cells(samples)
    paper = paper_around(Image.fromarray(grey), PAPER_SHARE)
    wide = paper.shape[0], grey.shape[1]
    smooth = np.asarray(Image.fromarray(paper).resize(wide[::-1], Image.Resampling.BILINEAR))
    darkest = max(1.0, DARKEST_PAPER * float(np.median(paper)))
    counts = np.zeros(256, np.int64)
    for rows in strips(grey, CELL):
        light = np.maximum(_between(smooth, rows), darkest)
        grey[rows] = np.minimum(grey[rows] * (255 / light) + 0.5, 255)
        counts += np.bincount(grey[rows][: height - rows.start, :width].ravel(), minlength=256)
    low, high = LEVELS
    level = min(max(_otsu(counts), round(255 * low)), round(255 * high))
    for rows in strips(grey, CELL):
        np.multiply(grey[rows] > level, np.uint8(255), out=grey[rows])
    return grey[:height, :width, None]


def _between(cells: Plane, rows: slice) -> NDArray[np.float32]:
    """Some rows of pixels, between the middles of rows of cells."""
    place = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / CELL - 0.5
    place = place.clip(0, len(cells) - 1)
    above = place.astype(int)
    below = np.minimum(above + 1, len(cells) - 1)
    share = (place - above)[:, None]
    between: NDArray[np.float32] = (1 - share) * cells[above] + share * cells[below]
    return between


def _otsu(counts: NDArray[np.int64]) -> int:
    """The last level of the darker side where the two sides' means lie furthest apart."""
    levels = np.arange(256)
    dark = np.cumsum(counts)
    light = counts.sum() - dark
    sums = np.cumsum(counts * levels)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = sums / dark - (sums[-1] - sums) / light
    return int(np.argmax(np.nan_to_num(dark * light * apart**2)))
