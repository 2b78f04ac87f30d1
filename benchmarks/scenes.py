"""Noisy pictures of any size to measure on, made of one photograph that comes with scikit-learn.

Made without torch, so that a process that measures memory does not measure torch's.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid import images
from pellucid.errors import MissingExtraError
from pellucid.images.picture import scaled

Samples = NDArray[np.uint8]


def photograph(height: int, width: int, channels: int = 3, source: Path | None = None) -> Samples:
    """(H, W, C) of 8 bits: the photograph, mirrored again and again as far as it takes."""
    if source is None:
        found = find_spec("sklearn")
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError(
                "the photograph comes with scikit-learn, which is not installed; "
                "run: pip install 'pellucid[train]'"
            )
        source = Path(found.submodule_search_locations[0], "datasets", "images", "china.jpg")
    samples = images.read(source).samples
    if samples.dtype != np.uint8:
        samples = np.rint(np.clip(scaled(samples), 0, 1) * 255).astype(np.uint8)
    if channels == 1:
        samples = np.rint(samples.mean(axis=2, keepdims=True)).astype(np.uint8)
    elif samples.shape[2] == 1:
        samples = samples.repeat(3, axis=2)
    for axis, side in enumerate((height, width)):
        # Mirrored, so that no edge arises that the photograph does not have.
        place = np.arange(side) % (2 * samples.shape[axis])
        samples = samples.take(np.minimum(place, 2 * samples.shape[axis] - 1 - place), axis)
    return samples


def noisy(samples: Samples, sigma: float, seed: int = 0) -> Samples:
    """With Gaussian noise, `sigma` of 255, clipped and rounded as files are; band by band."""
    chance = np.random.default_rng(seed)
    damaged = np.empty_like(samples)
    for top in range(0, len(samples), 256):
        band = samples[top : top + 256]
        noise = chance.standard_normal(band.shape, np.float32) * np.float32(sigma)
        damaged[top : top + 256] = np.clip(np.rint(band + noise), 0, 255).astype(np.uint8)
    return damaged


def psnr(restored: Samples, clean: Samples) -> float:
    """Of two pictures of 8 bits, in dB; infinite where they are the same."""
    error = np.mean((restored.astype(np.float64) - clean) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
