"""Take no more from one place than from the others: noise lies all over a picture.

A network sees a hundred pixels around each pixel. Where all of them are speckled rock or the pile
of a carpet, texture looks like noise to it; seen beside the rest of the picture it does not. So
what would be changed is measured block by block, and a block that would be changed by much more
than the picture's others gets only a share of its change. A model's card may say, as ``evens``, how
many times more that is.

What counts as the others: the block in the middle of them all, or, where that is more, the quieter
ones among those of like brightness, since a camera's noise depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError
from pellucid.images.picture import scaled
from pellucid.restore.blend import blend
from pellucid.restore.cells import over_cells, strips

SIDE = 16
"""Of a block, in pixels."""

FEWEST = 64
"""Blocks with anything in them, as 128x128 pixels have; fewer say too little of a picture."""

GROUPS = 8
"""Of like brightness, each with as many blocks."""

QUIET = 0.3
"""Where in a group, from its quietest block to its loudest, noise is looked for: texture that fills
less than two thirds of a brightness is seen."""

Map = NDArray[np.float64]


def even(before: NDArray[Any], after: NDArray[Any], card: Mapping[str, Any]) -> None:
    """Take back, in place, what would be taken from single places only.

    Args:
        before: The picture as it came, (H, W, C).
        after: Restored, of the same shape; of the same dtype or, beside integers, float32. Changed
            in place.
        card: The model's; one without ``evens`` leaves all as it is.

    Raises:
        CheckpointError: The card's ``evens`` is not a number of 1 or more.
    """
    if card.get("evens") is None:
        return
    try:
        times = float(card["evens"])
        if not times >= 1:
            raise ValueError("it must be 1 or more")
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the model's card is damaged: evens is {card['evens']} ({error}); export it again"
        ) from error
    kept = shares(*_blocks(before, after), times)
    for rows in strips(before, SIDE) if (kept < 1).any() else ():
        share = _spread(kept, rows, before.shape[1])
        if (share < 1).any():
            blend(before, after, rows, share[..., None])


def shares(changes: Map, brightness: Map, varied: NDArray[np.bool_], times: float) -> Map:
    """How much of its change each block may keep, from 0 to 1.

    Args:
        changes: Root mean square of the change in each block, (h, w).
        brightness: Mean of each block, same shape.
        varied: Where a block is not one flat colour. Flat ones (what was drawn, or is all white)
            hold no noise and say nothing of the others; where there are no others, nothing is
            noise and no block keeps any.
        times: How far above the others a block may be.

    Example:
        >>> changes = np.full((10, 10), 0.02)
        >>> changes[4, 4] = 0.1  # texture
        >>> kept = shares(changes, np.full((10, 10), 0.5), changes > 0, times=1.25)
        >>> kept[4, 4].round(2), kept[0, 0]
        (np.float64(0.25), np.float64(1.0))
    """
    if not varied.any():
        return np.zeros_like(changes)
    if varied.sum() < FEWEST:
        return np.ones_like(changes)
    levels, found = brightness[varied], changes[varied]
    groups = np.array_split(np.argsort(levels, kind="stable"), GROUPS)
    centres = [levels[group].mean() for group in groups]
    quiet = [np.quantile(found[group], QUIET) for group in groups]
    usual = np.maximum(np.median(found), np.interp(brightness, centres, quiet))
    return np.minimum(1.0, times * usual / np.maximum(changes, 1e-12))


def _blocks(before: NDArray[Any], after: NDArray[Any]) -> tuple[Map, Map, NDArray[np.bool_]]:
    """Of each block: the change, the brightness, and whether it is more than one flat colour."""
    changes, brightness, varied = [], [], []
    for rows in strips(before, SIDE):
        one, other = scaled(before[rows]), scaled(after[rows])
        if before.dtype.kind == "f":
            finite = np.isfinite(one)
            one, other = np.where(finite, one, 0), np.where(finite, other, 0)
        changes.append(np.sqrt(_means(np.square(other - one))))
        brightness.append(_means(one))
        span = over_cells(np.maximum, one, SIDE) - over_cells(np.minimum, one, SIDE)
        varied.append(span.max(axis=2) > 0)
    return np.concatenate(changes), np.concatenate(brightness), np.concatenate(varied)


def _means(pixels: NDArray[Any]) -> Map:
    """The mean of each block over its pixels and channels, (h, w)."""
    height, width, channels = pixels.shape
    sums = over_cells(np.add, pixels, SIDE).sum(axis=2, dtype=np.float64)
    high, wide = (np.diff([*range(0, side, SIDE), side]) for side in (height, width))
    means: Map = sums / (channels * high[:, None] * wide[None, :])
    return means


def _spread(blocks: Map, rows: slice, width: int) -> NDArray[np.float32]:
    """A number for each pixel of the rows, bilinear between the middles of the blocks."""
    high = _between(blocks, np.arange(rows.start, rows.stop), axis=0)
    return _between(high, np.arange(width), axis=1).astype(np.float32)


def _between(values: Map, places: NDArray[Any], axis: int) -> Map:
    last = values.shape[axis] - 1
    at = np.clip((places - (SIDE - 1) / 2) / SIDE, 0, last)
    low = np.minimum(at.astype(int), max(last - 1, 0))
    weight = np.expand_dims(at - low, 1 - axis)
    left, right = values.take(low, axis), values.take(np.minimum(low + 1, last), axis)
    mixed: Map = left + weight * (right - left)
    return mixed
