"""The codec that first tells where the picture is busy: a few values for each 64x64 pixels.

From those comes, for each value of the code, a Gaussian: the code of a plain sky costs next to
nothing. What computes it is made to be repeated in whole numbers, bit by bit: were the machine
that decodes to find another Gaussian than the one that encoded, all that follows would be lost.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pellucid.learn.draws import uniform
from pellucid.learn.models.blocks import Reach, convolution
from pellucid.learn.models.codec import LAMBDAS, Codec, Gains, check_width, settle
from pellucid.learn.models.cosines import STRIDE
from pellucid.learn.models.entropy import (
    NARROWEST,
    SCALES,
    STEP,
    Logistics,
    bounded,
    gaussian_bits,
    rounded,
)

GRAIN = 256.0
"""Activations of the prior are multiples of one over this once they are whole numbers."""

FINE_GRAIN = 2.0**16
"""What the code is scaled by for the stages to come are multiples of one over this."""

STAGES = 6
"""In so many steps the code is told, low frequencies first."""

CEILING = (2**15 - 1) / GRAIN
"""Where its magnitudes end."""

_SPREAD = 8.0
"""Factor of the channels that say how wide: one more of them is only 13 % wider, and weights are
learnt best about one large. They are written with the factor in them."""


class Magnitude(nn.Module):
    """What is left without the sign.

    It is what the width of a distribution follows, and unlike a rectifier no rate can shut it: with
    rectifiers nine units of ten came to be closed, and the prior told little of where it was.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return x.abs()


class PriorLayer(nn.Module):
    """A 3x3 convolution with a bias for every quality.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out, before the shuffle.
        qualities: How many there are.
        shuffle: 2 doubles the size, 1 keeps it.
        last: Signs stay.
    """

    def __init__(
        self, inputs: int, outputs: int, *, qualities: int, shuffle: int = 1, last: bool = False
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        settle(self.convolution, 0.1 if last else 1.0)
        self.shape, self.shuffle, self.last = (qualities, outputs), shuffle, last
        # Flat, since an optimiser for matrices must not take it for one.
        self.bias = nn.Parameter(torch.zeros(qualities * outputs))

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """Features (B, C, h, w) of pictures at the qualities (B,)."""
        x = self.convolution(x) + self.bias.view(self.shape)[quality][..., None, None]
        if not self.last:
            x = x.abs().clamp(max=CEILING)
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x


class HyperpriorCodec(Codec):
    """A codec with a mean and scale hyperprior, and a code told in stages, low frequencies first.

    Ballé et al. 2018, https://arxiv.org/abs/1802.01436, Minnen, Ballé, Toderici 2018,
    https://arxiv.org/abs/1809.02736, and Minnen, Singh 2020, https://arxiv.org/abs/2007.08739:
    each stage knows all values of those before, near and far. The prior's arithmetic is bounded so
    that it can be done in whole numbers (Ballé, Johnston, Minnen 2019,
    https://openreview.net/forum?id=S1zz2i0cY7): weights in steps of 2**-12, activations in steps of
    2**-8, magnitudes that end at 128.
    By default it takes 58 thousand multiplications a pixel, in colour.

    Args:
        channels: Widths at a half, a quarter and an eighth of the size. The prior's is the second.
        latents: Channels of the code, at a sixteenth of the size.
        blocks: Residual blocks before the image, at half the size.
        hyper_latents: Channels of the code's own code, at a sixty-fourth.
        lambdas: For each quality, rising, what a squared error of one grey level of 255, mean over
            pixels, is worth in bits a pixel.
        quality: Which of them `forward` and `encode` take, counted from 1; None is the highest.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "hyperprior"

    def __init__(
        self,
        *,
        channels: tuple[int, int, int] = (64, 128, 256),
        latents: int = 320,
        blocks: int = 0,
        hyper_latents: int = 96,
        lambdas: tuple[float, ...] = LAMBDAS,
        quality: int | None = None,
        image_channels: int = 1,
    ) -> None:
        check_width("hyper_latents", hyper_latents)
        super().__init__(
            channels=channels,
            latents=latents,
            blocks=blocks,
            lambdas=lambdas,
            quality=quality,
            image_channels=image_channels,
            multiple_of=4 * STRIDE,
        )
        _, middle, coarse = channels
        count = self.qualities
        self.hyper_analysis = nn.Sequential(
            convolution(latents, coarse),
            Magnitude(),
            convolution(coarse, coarse, stride=2),
            Magnitude(),
            convolution(coarse, hyper_latents, stride=2),
        )
        settle(self.hyper_analysis)
        self.hyper_gains = Gains([1.0] * count, hyper_latents)
        self.hyper_inverse_gains = Gains([1.0] * count, hyper_latents)
        self.density = Logistics([1.0] * count, hyper_latents)
        self.prior = nn.ModuleList(
            PriorLayer(inputs, 4 * middle, qualities=count, shuffle=2)
            for inputs in (hyper_latents, middle)
        )
        edges = bounds(latents)
        self.spans = edges[:-1], edges[1:]
        self.stages = nn.ModuleList()
        told = [
            [index_of(gain * width) / _SPREAD for width in self.transform.widths]
            for gain in self.fineness
        ]
        for start, stop in zip(*self.spans, strict=True):
            first = PriorLayer(middle + start, middle, qualities=count)
            last = PriorLayer(middle, 2 * (stop - start), qualities=count, last=True)
            with torch.no_grad():
                spreads = torch.tensor([row[start:stop] for row in told])
                last.bias.view(count, 2, -1)[:, 1] = spreads
            self.stages.append(nn.ModuleList((first, last)))

    @property
    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Of each stage, what takes all that is known and what tells the next values."""
        found = []
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            first, last = stage
            found.append((first, last))
        return found

    @property
    def halo(self) -> int:
        """How far a pixel's influence reaches, through the code's own code and all stages."""
        reach = self.reach_hyper()
        for _ in range(2):
            reach.conv(3)
            reach.up()
        for _ in range(2 * len(self.stages)):
            reach.conv(3)
        return reach.radius + self.reach_out().radius

    def reach_hyper(self) -> Reach:
        """How far a value of the code's own code sees, in pixels of the image."""
        reach = self.reach_in()
        reach.conv(3, 2)
        reach.down()
        reach.conv(3)
        reach.down()
        return reach

    def hyper_of(self, latents: Tensor, quality: Tensor) -> Tensor:
        """The code's own code, (B, N, h/4, w/4), with its gain, not rounded."""
        made: Tensor = self.hyper_gains(self.hyper_analysis(latents / self.widths), quality)
        return made

    def walk(
        self, symbols: Tensor, latents: Tensor, quality: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Stage after stage: what is told of the next values, and what they round to.

        Args:
            symbols: The code's own code, whole numbers.
            latents: The code with its gain, not rounded, (B, M, h, w).
            quality: Of each picture, (B,), from 0.

        Returns:
            Mean and index of the deviation of each value, and its rounded value; like `latents`.
        """
        x = symbols * self.hyper_scales()[quality][..., None, None]
        for layer in self.prior:
            x = layer(x, quality)
        out, back = (table[quality][..., None, None] for table in self.latent_scales())
        means, indices, codes = [], [], []
        for (first, last), start, stop in zip(self.pairs, *self.spans, strict=True):
            mean, spread = last(first(x, quality), quality).chunk(2, 1)
            mean = mean * out[:, start:stop]
            code = rounded(latents[:, start:stop] - mean) + mean
            known = (code * back[:, start:stop]).clamp(-CEILING, CEILING)
            x = torch.cat((x, known), 1)
            means.append(mean)
            indices.append(bounded(_SPREAD * spread, 0, SCALES - 1))
            codes.append(code)
        return torch.cat(means, 1), torch.cat(indices, 1), torch.cat(codes, 1)

    def hyper_scales(self) -> Tensor:
        """What a step of the code's own code stands for, (Q, N), multiples of 2**-8."""
        return rounded(self.hyper_inverse_gains.table() * GRAIN) / GRAIN

    def latent_scales(self) -> tuple[Tensor, Tensor]:
        """From what stages know and tell, about one wide, to the code and back, both (Q, M).

        Multiples of 2**-8 and of 2**-16.
        """
        out = self.gains.table() * self.widths.flatten()
        back = self.inverse_gains.table() / self.widths.flatten()
        return rounded(out * GRAIN) / GRAIN, rounded(back * FINE_GRAIN) / FINE_GRAIN

    def whole_prior(self) -> dict[str, tuple[Tensor, Tensor, int]]:
        """By name, each layer of the prior and of the stages.

        Returns:
            Weights (O, I, 3, 3), biases (Q, O) and the shuffle.
        """
        named = {f"prior_{number}": layer for number, layer in enumerate(self.prior)}
        for number, (first, last) in enumerate(self.pairs):
            named |= {f"stage_{number}_first": first, f"stage_{number}_last": last}
        found = {}
        for name, layer in named.items():
            assert isinstance(layer, PriorLayer)
            weight, bias = layer.convolution.weight.detach(), layer.bias.detach().view(layer.shape)
            if layer.last:
                factor = torch.ones(layer.shape[1])
                factor[layer.shape[1] // 2 :] = _SPREAD
                weight, bias = weight * factor.view(-1, 1, 1, 1), bias * factor
            found[name] = (weight, bias, layer.shuffle)
        return found

    def coded(
        self, latents: Tensor, quality: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Bits of each picture, (B,), and the rounded code that synthesis gets."""
        hyper = self.hyper_of(latents, quality)
        noise = uniform(tuple(hyper.shape), hyper, generator) - 0.5
        side = self.density.bits(hyper + noise, quality)
        latents = self.gains(latents, quality)
        mean, index, code = self.walk(rounded(hyper), latents, quality)
        noise = uniform(tuple(code.shape), code, generator) - 0.5
        bits = gaussian_bits(latents - mean + noise, index)
        return bits.flatten(1).sum(1) + side.flatten(1).sum(1), code

    def code_of(self, latents: Tensor, quality: Tensor) -> Tensor:
        """The rounded code alone."""
        symbols = rounded(self.hyper_of(latents, quality))
        return self.walk(symbols, self.gains(latents, quality), quality)[2]


def bounds(latents: int) -> list[int]:
    """Where the stages begin and end: each is told by those before it.

    Values come lowest frequency first, so that equal rings of frequency are squares apart.
    """
    found = {round(latents * (stage / STAGES) ** 2) for stage in range(1, STAGES)}
    return sorted({0, latents} | (found - {0}))


def index_of(width: float) -> float:
    """Which of the scales is so wide, between two of them, at least the first."""
    return max(0.0, math.log(width / NARROWEST) / STEP)
