"""Noise as photographs really carry it: counted by a sensor, interpolated, developed, resized.

White Gaussian noise is what denoisers are scored on; a network that knows nothing else takes the
blots of a real camera for detail. So with scanners. Read next: `degrade`, whose table names them.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pellucid.errors import OptionError
from pellucid.learn.draws import Strength, normal, per_picture, uniform

_GAMMA = 2.2
_LUMA = (0.299, 0.587, 0.114)


def camera(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Noise of a camera: photons and electronics in raw light, then mosaic, white balance, gamma.

    The picture is taken back to raw light, where noise of variance ``sigma^2 raw + read^2`` is
    added; then it is developed again, so that noise is uneven over brightness, strongest in red and
    blue, and smooth over two pixels, as the cells of one colour are that far apart. The read noise
    goes with sigma as it does over real sensors. T. Brooks et al., "Unprocessing images for learned
    raw denoising", CVPR 2019, https://arxiv.org/abs/1811.11127.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1] with 1 or 3 channels.
        sigma: Standard deviation of the photon noise at white, in raw light; a good camera in
            daylight has 0.01, a telephone at night 0.1.
        generator: Where the draws come from: noise, and each picture's own white balance, colour
            matrix and mosaic.

    Returns:
        Damaged image, same shape; never negative, for light is not, but it may exceed 1.

    Example:
        >>> camera(torch.full((1, 3, 2, 2), 0.5), sigma=0.0).unique()
        tensor([0.5000])
    """
    batch, channels = x.shape[:2]
    if channels not in (1, 3):
        raise OptionError(f"camera takes 1 or 3 channels, not {channels}; use another degradation")
    colour = x.expand(-1, 3, -1, -1).clamp(min=0)
    drawn = uniform((5, batch, 1, 1, 1), x, generator)
    gains = torch.cat([1.2 + 1.2 * drawn[0], torch.ones_like(drawn[0]), 1.2 + 1.2 * drawn[1]], 1)
    mixing = 0.35 * drawn[2]
    linear = colour**_GAMMA
    # The colour matrix (1 + 3k) I - k J and its inverse: each colour less a share of their sum.
    raw = (linear + mixing * linear.sum(1, keepdim=True)) / (1 + 3 * mixing) / gains
    level = per_picture(sigma, x)
    read = level**4.36 * math.exp(1.2)  # a variance; the fit of Brooks et al. to real sensors
    noise = normal(raw, generator) * (level**2 * raw + read).sqrt()
    noise = _demosaicked(noise, drawn[3:]) * gains
    noise = (1 + 3 * mixing) * noise - mixing * noise.sum(1, keepdim=True)
    # What noise adds, and not the developed picture: without noise nothing changes, to the bit.
    change = (linear + noise).clamp(min=0) ** (1 / _GAMMA) - linear ** (1 / _GAMMA)
    if channels == 1:
        change = (change * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return x + change


def grain(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Noise in blots, as enlarging, reducing or a filter leaves it: correlated in space and colour.

    Each picture draws the width of its blots (a Gaussian of 0.3 to 1.2 pixels) and how alike the
    noise of its colours is (from not at all to grey).

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        sigma: Standard deviation of every sample, on the [0, 1] scale.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape, not clipped.

    Example:
        >>> grain(torch.full((1, 1, 2, 2), 0.5), sigma=0.0).unique()
        tensor([0.5000])
    """
    batch, channels = x.shape[:2]
    if batch == 0:
        return x.clone()
    drawn = uniform((2, batch), x, generator)
    widths, alike = 0.3 + 0.9 * drawn[0], per_picture(drawn[1], x)
    noise = _blots(x, channels + 1, widths, generator)
    noise = alike.sqrt() * noise[:, :1] + (1 - alike).sqrt() * noise[:, 1:]
    return x + noise * per_picture(sigma, x)


def mri(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Magnitude noise of MRI as scanners leave it: `rician`, its noise in blots.

    Interpolation and filters, which most scanners apply before anyone sees a slice, correlate the
    noise of neighbours in both parts of the complex signal. Each picture draws the width of its
    blots (a Gaussian of 0.3 to 0.9 pixels).

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        sigma: Standard deviation of each of the two parts, on the [0, 1] scale.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape, never negative, not clipped at 1.

    Example:
        >>> mri(torch.full((1, 1, 2, 2), 0.5), sigma=0.0).unique()
        tensor([0.5000])
    """
    batch, channels = x.shape[:2]
    if batch == 0:
        return x.clone()
    widths = 0.3 + 0.6 * uniform((batch,), x, generator)
    noise = _blots(x, 2 * channels, widths, generator) * per_picture(sigma, x)
    return (x + noise[:, :channels]).hypot(noise[:, channels:])


def _blots(x: Tensor, planes: int, widths: Tensor, generator: Generator | None) -> Tensor:
    """Noise (B, planes, H, W) of standard deviation 1, smoothed over a width for each picture."""
    batch, _, height, width = x.shape
    # Blots reach over the edge, so that noise there is as strong as elsewhere.
    edge = 5
    sheet = normal(x.new_empty(batch, planes, height + 2 * edge, width + 2 * edge), generator)
    steps = torch.arange(-edge, edge + 1, device=x.device)
    kernels = torch.exp(-0.5 * (steps / widths[:, None]) ** 2).to(x)
    kernels = (kernels / kernels.norm(dim=1, keepdim=True)).repeat_interleave(planes, 0)
    rows = sheet.reshape(1, -1, height + 2 * edge, width + 2 * edge)
    rows = F.conv2d(rows, kernels[:, None, :, None], groups=rows.shape[1])
    rows = F.conv2d(rows, kernels[:, None, None, :], groups=rows.shape[1])
    return rows.reshape(batch, planes, height, width)


def _demosaicked(noise: Tensor, phase: Tensor) -> Tensor:
    """Noise (B, 3, H, W) of the cells of a Bayer mosaic, filled in bilinearly between them.

    `phase` (2, B, 1, 1, 1) in [0, 1) says where each picture's mosaic begins.
    """
    shift = (2 * phase).floor()
    rows = (torch.arange(noise.shape[2], device=noise.device).view(1, 1, -1, 1) + shift[0]) % 2
    columns = (torch.arange(noise.shape[3], device=noise.device) + shift[1]) % 2
    red = (rows == 0) & (columns == 0)
    blue = (rows == 1) & (columns == 1)
    cells = torch.cat([red, ~(red | blue), blue], 1).to(noise)
    wide = noise.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    near = noise.new_tensor([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    kernels = torch.stack([wide, near, wide])[:, None]
    # Beyond the edge lie more cells of the same mosaic, mirrored; one pixel has no mirror image.
    mode = "reflect" if min(noise.shape[2:]) > 1 else "replicate"
    return F.conv2d(F.pad(noise * cells, (1, 1, 1, 1), mode=mode), kernels, groups=3)
