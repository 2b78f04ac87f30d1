"""How wrong a reconstruction is at each pixel: squared, by structure, by gradients.

Every function takes two batches (B, C, H, W) in [0, 1] and returns a map (B, H, W) from 0 (the
same). Read next: `pixel_reconstruction`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_SSIM_SIDE = 11
_SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))


def squared(restored: Tensor, clean: Tensor) -> Tensor:
    """Squared difference, mean over channels.

    Example:
        >>> squared(torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1, 2), 0.5))
        tensor([[[0.2500, 0.2500]]])
    """
    return (restored - clean).square().mean(1)


def structural(restored: Tensor, clean: Tensor) -> Tensor:
    """1 less the structural similarity of 11x11 squares, mean over channels; at most 2.

    Bergmann et al. 2019, https://arxiv.org/abs/1807.02011, find defects with it. Squares of equal
    weight, mirrored at the borders.
    """
    mean_x, mean_y = _box(restored), _box(clean)
    # Rounding can leave a variance of a flat patch a hair below zero.
    variance_x = (_box(restored * restored) - mean_x**2).clamp(min=0)
    variance_y = (_box(clean * clean) - mean_y**2).clamp(min=0)
    covariance = _box(restored * clean) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    likeness = likeness / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return (1 - likeness).clamp(min=0).mean(1)


def gradient(restored: Tensor, clean: Tensor) -> Tensor:
    """1 less the similarity of gradient magnitudes, mean over four scales; at most 1.

    Xue et al. 2014, https://arxiv.org/abs/1308.3052; at several scales as in RIAD (Zavrtanik,
    Kristan, Skocaj 2021, https://doi.org/10.1016/j.patcog.2020.107706).
    """
    size = clean.shape[-2:]
    total = torch.zeros_like(clean[:, 0])
    scales = 0
    x, y = restored.mean(1, keepdim=True), clean.mean(1, keepdim=True)
    while scales < 4 and min(x.shape[-2:]) >= 4:
        g, h = _slope(x), _slope(y)
        # The constant of the paper (0.0026 for a filter of a third of this one's weight).
        unlike = 1 - (2 * g * h + 0.0026) / (g**2 + h**2 + 0.0026)
        total = total + F.interpolate(unlike, size=size, mode="bilinear", align_corners=False)[:, 0]
        x, y, scales = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2), scales + 1
    return total.clamp(min=0) / max(scales, 1)


ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": squared,
    "ssim": structural,
    "gradient": gradient,
}


def _box(x: Tensor) -> Tensor:
    """Means over squares, everywhere."""
    side = min(_SSIM_SIDE, *((size // 2) * 2 - 1 for size in x.shape[-2:]))
    if side < 3:
        return x
    return F.avg_pool2d(F.pad(x, (side // 2,) * 4, mode="reflect"), side, 1)


def _slope(x: Tensor) -> Tensor:
    """Magnitude of the gradient, (B, 1, H, W)."""
    across = torch.tensor(_SOBEL, dtype=x.dtype, device=x.device).view(1, 1, 3, 3) / 4
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    squares = F.conv2d(padded, across).square() + F.conv2d(padded, across.mT).square()
    # The root has no slope at nothing, which training would make NaN.
    return (squares + 1e-8).sqrt()
