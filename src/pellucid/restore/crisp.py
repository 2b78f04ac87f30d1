"""Leave a clean page as it came, all but its specks.

A page that is born digital, or was made black and white with care, wants nothing but its specks
gone. What a network does to its letters is little, and still costs a reader now and then: the gap
of an e closes, a stop becomes a comma. So where the paper came as white as it goes, and the letters
hardly change, the page stays as it was to the last bit; only cells that become paper, or change by
much, are the network's. One that came black and white stays so. A model's card
says with ``ink`` that it is for pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import scaled, unscaled
from pellucid.restore.blend import blend
from pellucid.restore.cells import in_pixels, over_cells, strips

Map = NDArray[np.bool_]
Samples = NDArray[np.float32]

CELL = 8
"""Side of a cell in pixels."""

WHITE = 0.98
"""Paper is at least as light as this."""

LEAST_PAPER = 0.25
"""Share of the cells that are paper when a page is clean; less is a picture, or white on black."""

CAME_WHITE = 0.985
"""So much of the paper came white. Grain, tint and stains leave next to none; of specks, one pixel
in four thousand may be left."""

LITTLE = 0.01
"""Root mean square of what is changed in the middle one of the cells with print. Clean pages have
half of that; JPEG of quality 85, grain of 0.02 and most faded print more."""

WRONG = 0.15
"""A cell that is changed by more has a speck of two pixels or more beside its print."""


def keep_clean(
    before: NDArray[Any], after: NDArray[Any], card: Mapping[str, Any], *, strength: float = 1.0
) -> bool:
    """Take back, in place, what was done to a page that came clean, all but its specks.

    Args:
        before: The page as it came, (H, W, C), integers or [0, 1].
        after: Cleaned, of the same shape; of the same dtype or float32. Changed in place.
        card: The model's; one without ``ink`` leaves all as it is.
        strength: The share of the change that `after` holds; above 0.

    Returns:
        Whether the page came clean.
    """
    if not card.get("ink"):
        return False
    darkest, made, changed = compared(before, after, strength)
    crisp = strength == 1 and all(_is_crisp(before[rows]) for rows in strips(before, CELL))
    came, goes = darkest >= WHITE, made >= WHITE
    if not _is_clean(came, goes, changed):
        return False
    kept = (came | ~goes) & (changed < WRONG)
    for rows in strips(before, CELL):
        pixels = in_pixels(kept, CELL, rows, before.shape[1])
        blend(before, after, rows, (~pixels).astype(np.float32))
        if crisp:
            after[rows] = unscaled((scaled(after[rows]) >= 0.5).astype(np.float32), after.dtype)
    return True


def _is_crisp(samples: NDArray[Any]) -> bool:
    """Whether every sample is black or white."""
    return bool(np.isin(scaled(samples), (0, 1)).all())


def _is_clean(came: Map, goes: Map, changed: NDArray[np.float32]) -> bool:
    """Whether a page wanted nothing, from its cells: came white, goes white, how much changed."""
    if goes.mean() < LEAST_PAPER or goes.all():
        return False
    return bool(came[goes].mean() >= CAME_WHITE and np.median(changed[~goes]) <= LITTLE)


def compared(
    before: NDArray[Any],
    after: NDArray[Any],
    strength: float,
    seen: Callable[[Samples], Samples] = lambda one: one,
) -> tuple[Samples, Samples, Samples]:
    """Of each cell: how dark a page and the network's answer get, and how far they are apart.

    Args:
        before: The page as it came, (H, W, C), integers or [0, 1].
        after: Cleaned, of the same shape.
        strength: The share of the network's change that `after` holds; above 0.
        seen: Makes of a strip of the page what is to be compared with the answer.

    Returns:
        The darkest sample of what is seen, that of the answer, and the root mean square of their
        difference, each (h, w) of cells.
    """
    found = []
    for rows in strips(before, CELL):
        one = scaled(before[rows])
        made = one + (scaled(after[rows]) - one) / np.float32(strength)
        shown = seen(one)
        sums, counts = (
            over_cells(np.add, each, CELL).sum(axis=2)
            for each in (np.square(made - shown), np.ones_like(made))
        )
        darkest = (over_cells(np.minimum, each, CELL).min(axis=2) for each in (shown, made))
        found.append((*darkest, np.sqrt(sums / counts)))
    shown, made, changed = (np.concatenate(part) for part in zip(*found, strict=True))
    return shown, made, changed
