"""The transform that JPEG has, on larger blocks and their colours: where a learned codec begins.

Read next: `codec`, whose convolutions correct what this leaves.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 16
"""Pixels of a side that one value of the code stands for."""

_COLOUR = 4.0
"""Differences between colours are as wide as grey values at this many times the frequency."""

_WIDTH = 4.0
"""Deviation of the cosine transform's values over their frequency, on photographs: 4.0 at one cycle
in 32 pixels, 2.2 at two, 0.57 at eight."""

_FLAT = 0.16
"""What the mean of a block counts as, in frequency."""


class CosineTransform(nn.Module):
    """The lowest frequencies of blocks of 16x16 pixels and their colours, and back.

    Ahmed, Natarajan, Rao 1974, https://doi.org/10.1109/T-C.1974.223784: orthonormal, so an error of
    the values is one of the pixels, and nothing in it is learnt.

    Args:
        image_channels: 1 or 3.
        latents: How many are kept, the widest on photographs first; where there are fewer, the
            rest is nothing.
    """

    basis: Tensor

    def __init__(self, image_channels: int, latents: int) -> None:
        super().__init__()
        space, colour = _cosines(STRIDE), _cosines(image_channels)
        waves = torch.einsum("cd,ui,vj->cuvdij", colour, space, space)
        order, widths = _by_frequency(image_channels, latents)
        self.widths = widths + widths[-1:] * (latents - len(order))
        self.missing = latents - len(order)
        basis = waves.flatten(3).flatten(0, 2)[order]
        # Not in the weights: known beforehand, also where a model is made without values.
        self.register_buffer("basis", basis[..., None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Values (B, M, H/16, W/16) of images (B, C, H, W)."""
        values = F.conv2d(F.pixel_unshuffle(x, STRIDE), self.basis)
        return F.pad(values, (0, 0, 0, 0, 0, self.missing)) if self.missing else values

    def inverse(self, values: Tensor) -> Tensor:
        """Images of values; what was not kept is missing."""
        kept = values[:, : len(self.basis)]
        return F.pixel_shuffle(F.conv2d(kept, self.basis.transpose(0, 1)), STRIDE)


def _cosines(count: int) -> Tensor:
    """The orthonormal cosine transform of so many values, (frequency, place)."""
    at = (torch.arange(count, device="cpu") + 0.5) * math.pi / count
    waves = torch.cos(torch.arange(count, device="cpu")[:, None] * at) * math.sqrt(2 / count)
    waves[0] /= math.sqrt(2)
    return waves


def _by_frequency(image_channels: int, most: int) -> tuple[list[int], list[float]]:
    """Which waves are widest on photographs, and about how wide they are."""
    found = []
    sides = product(range(image_channels), range(STRIDE), range(STRIDE))
    for number, (colour, down, across) in enumerate(sides):
        frequency = max(math.hypot(down, across), _FLAT) * (_COLOUR if colour else 1)
        found.append((frequency, number))
    found.sort()
    return [number for _, number in found[:most]], [_WIDTH / f for f, _ in found[:most]]
