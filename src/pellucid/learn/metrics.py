"""How near a restored image is to the clean one: a pure function per metric, one score an image.

Every function takes two tensors (B, C, H, W), values in [0, 1] (nothing is clipped here), and
returns float32 (B,). They agree with scikit-image and need only torch: importing torchmetrics
costs 1.6 s, and its SSIM refuses or mirrors away the small images that autoencoders train on.
Read next: ``report/evaluate.py``, which says when an image is rounded or clipped before scoring.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.errors import DataError

PSNR_CAP = 100.0
"""PSNR of identical images in dB: a finite number, so that means and JSON stay readable."""

WINDOW = 11
SIGMA = 1.5
BAND = 1 << 18
"""Samples of an image that `ssim` works on at a time."""


def mae(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error of each image, (B,).

    Example:
        >>> mae(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25))
        tensor([0.2500])
    """
    restored, clean = _checked(restored, clean)
    return (restored - clean).abs().flatten(1).mean(1)


def rmse(restored: Tensor, clean: Tensor) -> Tensor:
    """Root of the mean squared error of each image, (B,).

    Example:
        >>> rmse(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25))
        tensor([0.2500])
    """
    return _mse(*_checked(restored, clean)).sqrt()


def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, (B,), for a data range of 1.

    Never above `PSNR_CAP`: identical images would be infinite, which spoils a mean and is not
    JSON. The cap lies far above what 8 bits can show (rounding alone limits to 59 dB).

    Example:
        >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))
        tensor([20.])
        >>> psnr(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
        tensor([100.])
    """
    error = _mse(*_checked(restored, clean))
    return -10 * torch.log10(error.clamp(min=10 ** (-PSNR_CAP / 10)))


def ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """Structural similarity of each image, (B,), at most 1 (identical).

    The published form: Gaussian window of 11x11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, data
    range 1, averaged over channels and over the places where the window fits; what scikit-image
    gives with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``. A side shorter
    than the window is mirrored at its borders (edge pixel repeated) and averaged over all its
    pixels, so that every size down to 1x1 has a score.

    Wang, Bovik, Sheikh, Simoncelli, 2004, https://doi.org/10.1109/TIP.2003.819861

    Example:
        >>> ssim(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
        tensor([1.])
    """
    restored, clean = _checked(restored, clean)
    x, y = _at_least_the_window(restored), _at_least_the_window(clean)
    batch, channels, height, width = x.shape
    # Band by band: thirty maps of a whole photograph take gigabytes, and leave the cache.
    step = max(128, BAND // (batch * channels * width))
    sums = [
        _similarity(x[:, :, top : top + step + WINDOW - 1], y[:, :, top : top + step + WINDOW - 1])
        for top in range(0, height - WINDOW + 1, step)
    ]
    total = torch.stack(sums).sum(0)
    return total / (channels * (height - WINDOW + 1) * (width - WINDOW + 1))


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "psnr": psnr,
    "ssim": ssim,
    "rmse": rmse,
    "mae": mae,
}


def _checked(restored: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32: half precision has too few digits for a mean over an image."""
    if restored.shape != clean.shape or clean.ndim != 4:
        raise DataError(
            f"images to compare have shapes {tuple(restored.shape)} and {tuple(clean.shape)}; "
            "both must be the same (B, C, H, W)"
        )
    return restored.float(), clean.float()


def _mse(restored: Tensor, clean: Tensor) -> Tensor:
    return (restored - clean).square().flatten(1).mean(1)


def _similarity(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the similarity map of each image, (B,)."""
    moments = _blurred(torch.cat([x, y, x * x, y * y, x * y]))
    mean_x, mean_y, xx, yy, xy = moments.chunk(5)
    # Rounding can leave a variance of a flat patch a hair below zero.
    variances = (xx - mean_x**2).clamp(min=0) + (yy - mean_y**2).clamp(min=0)
    covariance = xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * structure).flatten(1).sum(1)


def _at_least_the_window(x: Tensor) -> Tensor:
    """Sides shorter than the window, mirrored by its radius (torch's own padding cannot repeat)."""
    for axis in (2, 3):
        size = x.shape[axis]
        if size < WINDOW:
            place = torch.arange(-(WINDOW // 2), size + WINDOW // 2, device=x.device) % (2 * size)
            x = x.index_select(axis, torch.minimum(place, 2 * size - 1 - place))
    return x


def _blurred(x: Tensor) -> Tensor:
    """Gaussian means at every place where the window fits, (B, C, H - 10, W - 10).

    Sums of shifted views, both arms of the window at once: on a CPU 5 to 70 times faster than a
    convolution with one channel, which oneDNN does slowly.
    """
    radius = WINDOW // 2
    weights = [math.exp(-0.5 * (offset / SIGMA) ** 2) for offset in range(-radius, radius + 1)]
    total = sum(weights)
    for axis in (2, 3):
        size = x.shape[axis] - 2 * radius
        mean = x.narrow(axis, radius, size) * (weights[radius] / total)
        for near in range(radius):
            pair = x.narrow(axis, near, size) + x.narrow(axis, 2 * radius - near, size)
            mean.add_(pair, alpha=weights[near] / total)
        x = mean
    return x
