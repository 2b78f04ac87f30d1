"""Whether a page lost print when it was cleaned, so that a word is not taken for a stain.

Ink is what is clearly darker than the paper around it and not a speck. The page is looked at in
cells of 8x8 pixels, and cells that held ink and hold hardly any afterwards are lost; where several
of them touch, a word may be gone. A model's card says with ``ink`` that it is for pages. Read next:
`files`, which leaves such a page as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pellucid.images.picture import bands, scaled
from pellucid.restore.cells import strips
from pellucid.restore.neighbours import largest, median, smallest

Plane = NDArray[np.uint8]

CELL = 8
"""Side of a cell in pixels: less than a letter of body text at 150 dots an inch."""

PAPER_CELLS, PAPER_SHARE = 9, 0.8
"""The paper is as light as this share of the cells around is not."""

DARK = 0.5
"""Of the way from paper to the page's ink: from here on a pixel is ink."""

LEAST_CONTRAST = 0.08
"""Between paper and ink, of the way from black to white; a page of less holds no ink."""

HELD, KEPT = 8, 0.25
"""Pixels of ink that make a cell one of print; the share of them that must be left."""

LEAST_CELLS = 4
"""Lost cells that touch; fewer are specks, which are meant to go."""

SHARP = 0.6
"""Ink ends within 5 pixels: there the page goes through so much of its contrast. Stains do not."""

NEAR = 5
"""Side in pixels of what counts as the same place: strokes get thinner when blur is taken away."""

PAPER_WHITE = 0.75
"""A page is mostly lighter than this when it is clean."""

LONG, THIN = 8, 1.7
"""A group of so many cells from end to end, with fewer cells than this for each of them, is a
streak, a fold or a stain's rim and no print."""


@dataclass(frozen=True)
class Ink:
    """What became of a page's ink.

    Attributes:
        removed: Share of it that is gone, from 0 to 1; 0 where there was none.
        lost: Where print went: top, left, height and width in pixels, the largest first.
    """

    removed: float
    lost: tuple[tuple[int, int, int, int], ...]


def ink_lost(before: NDArray[Any], after: NDArray[Any]) -> Ink:
    """What of a page's ink is gone.

    Args:
        before: The page as it came, (H, W, C), paper light.
        after: Cleaned, same shape.
    """
    ink = _ink(before) > 0
    held, kept = _counts(ink), _counts(ink & (largest(_ink(after), NEAR) > 0))
    total = int(held.sum())
    if not total:
        return Ink(0.0, ())
    is_lost = (held >= HELD) & (kept < KEPT * held)
    blocks = [block for block in _touching(is_lost) if _is_print(block)]
    blocks.sort(key=len, reverse=True)
    return Ink(1 - int(kept.sum()) / total, tuple(_box(block) for block in blocks))


def is_page(after: NDArray[Any]) -> bool:
    """Whether a cleaned picture, (H, W, C), is one of print on paper: most of it is white."""
    # A part of the pixels tells, and a large page is not copied.
    some = scaled(after[:: max(1, after.shape[0] // 512), :: max(1, after.shape[1] // 512)])
    return float(np.median(some)) >= PAPER_WHITE


def grey_cells(samples: NDArray[Any]) -> Plane:
    """A page (H, W, C) in greys of 8 bits, its sides made whole cells by repeating its edge."""
    height, width = samples.shape[:2]
    grey = np.empty((height + -height % CELL, width + -width % CELL), np.uint8)
    for rows in bands(height, width):
        mean = scaled(samples[rows]).mean(axis=2, dtype=np.float32)
        grey[rows, :width] = np.rint(255 * np.nan_to_num(mean).clip(0, 1))
    grey[:height, width:] = grey[:height, width - 1 : width]
    grey[height:] = grey[height - 1]
    return grey


def _ink(samples: NDArray[Any]) -> Plane:
    """White where ink is, its sides whole cells; no more than a few bytes a pixel at a time."""
    grey = grey_cells(samples)
    # Specks are no ink; what noise is left after that is averaged away.
    page = Image.fromarray(median(grey)).filter(ImageFilter.BoxBlur(1))
    calm, paper = np.asarray(page), paper_around(page)
    del grey
    levels = np.zeros(511, np.int64)
    for rows in strips(calm, CELL):
        levels += np.bincount(_darkness(calm, paper, rows)[::2, ::2].ravel() + 255, minlength=511)
    most = int(np.searchsorted(np.cumsum(levels), 0.995 * levels.sum())) - 255
    contrast = max(255 * LEAST_CONTRAST, float(most))
    mask = np.empty(calm.shape, np.uint8)
    for rows in strips(calm, CELL):
        first = max(0, rows.start - NEAR // 2)
        part = calm[first : rows.stop + NEAR // 2]
        light, dark = (
            ends(part, NEAR)[rows.start - first :][: len(calm[rows])].astype(np.int16)
            for ends in (largest, smallest)
        )
        is_dark = _darkness(calm, paper, rows) > DARK * contrast
        mask[rows] = 255 * (is_dark & (light - dark > SHARP * contrast))
    return mask


def _darkness(calm: Plane, paper: Plane, rows: slice) -> NDArray[np.int16]:
    """How much darker than the paper each pixel of some rows is."""
    around = paper[rows.start // CELL : rows.stop // CELL].astype(np.int16)
    return around.repeat(CELL, axis=0).repeat(CELL, axis=1) - calm[rows]


def paper_around(page: Image.Image, share: float = PAPER_SHARE) -> Plane:
    """How light the paper is around every cell: as this share of the cells near it is not."""
    margin = PAPER_CELLS // 2
    cells = np.pad(np.asarray(page.reduce(CELL)), margin, "edge")
    rank = round(share * (PAPER_CELLS**2 - 1))
    paper = np.asarray(Image.fromarray(cells).filter(ImageFilter.RankFilter(PAPER_CELLS, rank)))
    inside: Plane = paper[margin:-margin, margin:-margin]
    return inside


def _counts(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How much of each cell is marked, in pixels."""
    height, width = mask.shape
    cells = mask.reshape(height // CELL, CELL, width // CELL, CELL)
    counts: NDArray[np.int64] = cells.sum(axis=(1, 3))
    return counts


def _touching(marked: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Groups of marked cells that touch, at corners too."""
    waiting = {(row, column) for row, column in np.argwhere(marked).tolist()}
    groups: list[list[tuple[int, int]]] = []
    while waiting:
        group = [waiting.pop()]
        for row, column in group:
            around = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & waiting
            waiting -= around
            group.extend(around)
        groups.append(group)
    return groups


def _is_print(group: list[tuple[int, int]]) -> bool:
    """Whether lost cells may have been print and no speck, streak or fold."""
    _, _, height, width = _box(group)
    long = max(height, width) // CELL
    is_line = long >= LONG and len(group) < THIN * long
    return len(group) >= LEAST_CELLS and not is_line


def _box(group: list[tuple[int, int]]) -> tuple[int, int, int, int]:
    cells = np.array(group) * CELL
    top, left = cells.min(0).tolist()
    bottom, right = (cells.max(0) + CELL).tolist()
    return top, left, bottom - top, right - left
