"""What was taken away from a picture, to look at, and whether there is structure in it.

Noise does not know where edges are. Where what was removed is stronger than elsewhere along the
edges of the picture, some of it was picture: the "method noise" of A. Buades, B. Coll, J.-M. Morel,
"A non-local algorithm for image denoising", CVPR 2005, https://doi.org/10.1109/CVPR.2005.38. Read
next: `files`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import Picture, scaled

Plane = NDArray[np.float32]

SUSPICIOUS = 0.2
"""From here on detail may have gone. On seven validation photographs with white or photon noise,
256x256: the noise itself within 0.08 of 0, our networks below 0 (they leave noise beside edges),
Gaussian blur and a median filter from 0.1 to 0.8."""

BLOCK = 8
FEWEST_BLOCKS = 64
LARGEST = 2048
"""Side of the part that is looked at, from the middle of a larger picture."""


def structure(before: NDArray[Any], after: NDArray[Any]) -> float | None:
    """How far what was removed follows the edges of what is left: -1 to 1, 0 for noise alone.

    The correlation over blocks of 8x8 pixels, by rank, between the mean square of what was removed
    and that of the restored picture's differences from pixel to pixel; what both owe to the
    block's brightness is taken out first, since photon noise is stronger where it is light.

    Args:
        before: The picture as it came, (H, W, C); blocks with samples that are not finite are left
            out.
        after: Restored, same shape.

    Returns:
        None where there are too few blocks to tell, or nothing was removed.
    """
    one, other = _plane(before), _plane(after)
    height, width = (side // BLOCK * BLOCK for side in one.shape)
    if height * width < FEWEST_BLOCKS * BLOCK**2:
        return None
    one, other = one[:height, :width], other[:height, :width]
    edges = np.zeros_like(other)
    with np.errstate(invalid="ignore"):
        edges[:-1] = np.square(np.diff(other, axis=0))
        edges[:, :-1] += np.square(np.diff(other, axis=1))
        found = [_blocks(plane) for plane in (np.square(one - other), edges, other)]
    whole = np.isfinite(found).all(axis=0)
    removed, edge, light = (values[whole] for values in found)
    if whole.sum() < FEWEST_BLOCKS or not removed.max() > 0 or not edge.max() > 0:
        return None
    light = _ranks(light)
    terms = np.stack([light**power for power in range(4)], axis=1)
    left = [
        values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
        for values in (_ranks(removed), _ranks(edge))
    ]
    spread = np.sqrt(np.square(left[0]).sum() * np.square(left[1]).sum())
    return float((left[0] * left[1]).sum() / spread) if spread > 0 else None


def residual(before: Picture, after: Picture, *, signed: bool) -> Picture:
    """What was removed, as a picture of its own.

    Args:
        before: As it came.
        after: Restored, with samples of the same shape.
        signed: True gives float samples, before minus after, in the picture's own units; False a
            picture of 8 bits to look at, in which 128 is nothing and the way from black to white
            is that of the picture.
    """
    removed = scaled(before.samples) - scaled(after.samples)
    if not signed:
        if before.samples.dtype.kind == "f":
            known = before.samples[np.isfinite(before.samples)]
            low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
            removed = removed / max(float(high - low), 1e-12)
        shown = np.nan_to_num(128 / 255 + removed, nan=128 / 255).clip(0, 1)
        removed = np.rint(255 * shown).astype(np.uint8)
    plain = Picture(removed, dpi=before.dpi, orientation=before.orientation, page=before.page)
    return plain if signed else replace(plain, bits=8)


def _plane(samples: NDArray[Any]) -> Plane:
    """The middle of a picture, its channels' mean."""
    top, left = (max(0, (side - LARGEST) // 2) for side in samples.shape[:2])
    part = scaled(samples[top : top + LARGEST, left : left + LARGEST])
    mean: Plane = part.mean(axis=2, dtype=np.float32)
    return mean


def _blocks(plane: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The mean of every block, flat."""
    height, width = plane.shape
    blocks = plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3), dtype=np.float64).ravel()
    return means


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each among all, from -1/2 to 1/2; equal ones share theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - (counts + 1) / 2
    ranks: NDArray[np.float64] = middles[index] / max(1, len(values) - 1) - 0.5
    return ranks
