"""What a code costs in bits, and the rounding that training has to see through.

Densities here are over whole numbers: a density on the line, integrated over bins of width one.
Trained with noise of that width they cost what their rounded values cost later (Ballé et al. 2017,
https://arxiv.org/abs/1611.01704). Read next: `codec`, whose gains decide how fine the bins are.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALES = 64
"""Gaussians that a codec tells apart; their deviations are spaced evenly in the logarithm."""

NARROWEST, WIDEST = 0.11, 256.0
"""Their first and last deviation: below the first, a bin holds all."""

STEP = math.log(WIDEST / NARROWEST) / (SCALES - 1)
"""Logarithm of the ratio of two neighbours: 13 %."""

TAILS = ((0.94, 1.0), (0.06, 2.5))
"""Each Gaussian is two around one mean: their shares, and their deviations as factors.

What the prior misses lies further out than one Gaussian allows: after 4,000 steps 1.2 % of the
values at the highest quality were beyond 4.3 deviations, where 0.002 % should be, and each took an
escape. The second takes 3 % off the smallest files and 8 % off the largest; a share of a tenth
would take more off the large, but every value that is nothing would cost a hundredth of a bit.
"""

_LEAST = 1e-9
"""Probability below which a value costs no more: 30 bits, about what an escape takes."""

_SHARPEST = 0.05
"""Narrowest logistic: at a bin's width of one, nothing is gained below."""


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        (x,) = ctx.saved_tensors
        # A step goes against the gradient.
        outwards = (x < ctx.low) & (gradient > 0) | (x > ctx.high) & (gradient < 0)
        return gradient.masked_fill(outwards, 0), None, None


def bounded(x: Tensor, low: float, high: float = math.inf) -> Tensor:
    """`x` clamped, with a gradient that still leads values outside back in.

    Ballé et al. 2018, https://arxiv.org/abs/1802.01436, bound scales so; a plain clamp would leave
    outside for good what is there once.
    """
    out: Tensor = _Bounded.apply(x, low, high)  # type: ignore[no-untyped-call]
    return out


def rounded(x: Tensor) -> Tensor:
    """Whole numbers, halves to the even one, whose gradient is that of `x`.

    Example:
        >>> rounded(torch.tensor([0.4, 0.5, 1.5]))
        tensor([0., 0., 2.])
    """
    if not x.requires_grad:
        return x.round()
    return x.detach().round() + (x - x.detach())


def exact(x: Tensor) -> AbstractContextManager[Any]:
    """Within it autocast is off: rates in bfloat16 would be wrong by more than they change."""
    kind = x.device.type
    on = not torch.compiler.is_exporting() and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()


def widened(x: Tensor) -> Tensor:
    """At least float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def gaussian_bits(distance: Tensor, index: Tensor) -> Tensor:
    """Bits of values under Gaussians with `TAILS`, integrated over bins of width one.

    Args:
        distance: Value minus mean.
        index: Which of the `SCALES` deviations, from 0; between two of them in training.

    Returns:
        Same shape, from 0 to 30.
    """
    inverse = torch.exp(-STEP * index) / (NARROWEST * math.sqrt(2))
    away = distance.abs()
    mass = torch.zeros_like(away)
    for share, factor in TAILS:
        # On the side where both are small, their difference keeps its digits.
        near, far = (((away + side) * inverse / factor).erfc() for side in (-0.5, 0.5))
        mass = mass + share / 2 * (near - far)
    return -bounded(mass, _LEAST).log2()


class Logistics(nn.Module):
    """One density for each quality and channel: a mixture of three logistics.

    Ballé et al. 2018 learn a small network for each channel. Three logistics bend as far as such
    densities ask for, their distribution function is closed, so that integer tables follow from it
    directly, and all channels are one operation. They are also how PixelCNN++ tells discrete
    values (Salimans et al. 2017, https://arxiv.org/abs/1701.05517).

    Args:
        deviations: For each quality, about how wide the values are at the start.
        channels: Channels of the code.
    """

    def __init__(self, deviations: list[float], channels: int) -> None:
        super().__init__()
        self.shape = (len(deviations), channels, 3)
        start = torch.tensor(deviations).view(-1, 1, 1).expand(self.shape)
        # Flat, since an optimiser for matrices must not take them for one.
        self.weights = nn.Parameter(torch.zeros(start.numel()))
        self.means = nn.Parameter((start * torch.tensor([-1.0, 0.0, 1.0])).flatten())
        self.log_scales = nn.Parameter((start / 2).log().flatten())

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, which sum to one, means and scales, each (Q, C, 3)."""
        weights = self.weights.view(self.shape).softmax(-1)
        scales = bounded(self.log_scales, math.log(_SHARPEST)).view(self.shape).exp()
        return weights, self.means.view(self.shape), scales

    def bits(self, code: Tensor, quality: Tensor) -> Tensor:
        """Bits of each value of a code (B, C, h, w), each picture at its quality (B,)."""
        weights, means, scales = (part[quality][..., None, None] for part in self.parts())
        away = (code[:, :, None] - means).abs()
        # As in `gaussian_bits`: a logistic is even, and both ends are taken on the smaller tail.
        mass = F.sigmoid((0.5 - away) / scales) - F.sigmoid((-0.5 - away) / scales)
        return -bounded((weights * mass).sum(2), _LEAST).log2()
