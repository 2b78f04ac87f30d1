"""Give black and white back as black and white where faint noise lies on it.

A one-bit page that was sent as JPEG, or copied with a little noise, still tells what was black and
what was white to the last pixel, as long as next to no sample lies half-way between. A network that
restores greys is less sure at every edge of a letter. So such a page becomes what it was; only
cells where the network changes much, or sees something on empty paper, are the network's. Read
next: `crisp`, which leaves pages alone that are clean as they come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import scaled, unscaled
from pellucid.restore.cells import in_pixels, strips
from pellucid.restore.crisp import CAME_WHITE, CELL, LEAST_PAPER, WHITE, WRONG, Map, compared

MIDDLE = (0.4, 0.6)
"""Samples between are neither black nor white."""

UNDECIDED = 1e-4
"""So many of them may be. White noise of 0.1 leaves a third of it, one of 0.11 too many; soft edges
of letters are a hundred times as many."""

LITTLE = 0.06
"""Root mean square of what the network makes of the middle one of the cells with print, less black
and white: 0.03 where that is what it is, 0.2 where print is faded."""

SEEN = 0.95
"""What is darker, in the answer of the network, on paper far from print, is a mark too light for
black: the line of a form, a pencil's."""

MARKS = 1e-3
"""Share of the cells with such marks from which on a page is not black and white."""


def keep_levels(
    before: NDArray[Any], after: NDArray[Any], card: Mapping[str, Any], *, strength: float = 1.0
) -> None:
    """Make a page black and white, in place, if that is what it was before faint noise.

    Args:
        before: The page as it came, (H, W, C), integers or [0, 1]. Only grey ones (C = 1) are
            looked at.
        after: Cleaned, of the same shape; of the same dtype or float32. Changed in place.
        card: The model's; one without ``ink`` leaves all as it is.
        strength: The share of the change that `after` holds; above 0.
    """
    if not card.get("ink") or before.shape[2] != 1 or not _is_decided(before):
        return
    darkest, made, changed = compared(before, after, strength, seen=_levels)
    white, paper = darkest >= WHITE, made >= WHITE
    marks = _far_from(~white) & (made < SEEN)
    if not LEAST_PAPER <= paper.mean() < 1 or marks.mean() > MARKS:
        return
    if white[paper].mean() < CAME_WHITE or np.median(changed[~paper]) > LITTLE:
        return
    kept = (white | ~paper) & (changed < WRONG) & ~marks
    for rows in strips(before, CELL):
        one = scaled(before[rows])
        was = one + np.float32(strength) * (_levels(one) - one)
        pixels = in_pixels(kept, CELL, rows, before.shape[1])
        after[rows] = unscaled(np.where(pixels, was, scaled(after[rows])), after.dtype)


def _levels(one: NDArray[np.float32]) -> NDArray[np.float32]:
    return (one >= 0.5).astype(np.float32)


def _is_decided(samples: NDArray[Any]) -> bool:
    """Whether next to no sample is in the middle; one that is not finite counts."""
    low, high = MIDDLE
    open_still = 0
    for rows in strips(samples, CELL):
        one = scaled(samples[rows])
        open_still += one.size - int(((one <= low) | (one >= high)).sum())
        if open_still > UNDECIDED * samples.size:
            return False
    return True


def _far_from(cells: Map) -> Map:
    """Cells that are none of these, nor have one beside or across."""
    wide = np.pad(cells, 1)
    near = wide[:-2] | wide[1:-1] | wide[2:]
    far: Map = ~(near[:, :-2] | near[:, 1:-1] | near[:, 2:])
    return far
