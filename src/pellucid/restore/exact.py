"""The codec's prior in whole numbers: what is coded with is the same on every machine.

An entropy decoder that is told another distribution than the encoder reads nonsense from there on,
and float convolutions differ in their last digits between machines, libraries and numbers of
threads (Ballé, Johnston, Minnen 2019, "Integer networks for data compression with latent-variable
models", ICLR). So mean and scale of every latent come from fixed-point numbers here. They are
held in float64, where each sum is a whole number below 2**53 and so exact in any order; `Prior`
refuses weights that could exceed that. The latents are told in stages, each by those before it
(Minnen, Singh 2020, https://arxiv.org/abs/2007.08739). Read next: `codec_arrays`, which reads the
prior from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError

Integers = NDArray[np.int32]

SymbolsOf = Callable[[slice, Integers, NDArray[np.uint8]], Integers]
"""Given which latents, their means and the rows of the table: the symbols, all (m, h, w)."""

WEIGHT_BITS, ACTIVATION_BITS, SCALE_BITS = 12, 8, 16
"""Weights are counted in units of 2**-12, activations of 2**-8, and so biases of 2**-20; what
latents are scaled back by in units of 2**-16."""

LARGEST = 2**15 - 1
"""Of the activations between layers, which have no sign."""

LARGEST_SYMBOL = 2**15 - 1
"""Of the hyper-latents on either side of 0; more never helps and could overflow."""

LARGEST_MEAN = 2**22
"""Of a latent's mean on either side of 0, in units of 2**-8."""

SCALES = 64
"""How many widths of the distribution there are."""

_EXACT = 2**53
_BAND = 2**22
"""Numbers that are gathered for one matrix product, which bounds the memory of a large picture."""


@dataclass(frozen=True)
class Layer:
    """A convolution of 3x3 with zeros around the picture.

    Args:
        weight: (out, in, 3, 3), whole numbers.
        bias: (qualities, out), whole numbers.
        shuffle: Then depth becomes space, this many times in height and width.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    shuffle: int


@dataclass(frozen=True)
class Stage:
    """What tells the next latents from all that is known: two layers without a shuffle.

    Args:
        first: Takes the features and the latents of all stages before.
        last: Gives means and then scales, two numbers a latent of this stage.
    """

    first: Layer
    last: Layer


@dataclass(frozen=True)
class Prior:
    """Mean and scale of the latents, from the hyper-latents' symbols and the latents before them.

    Args:
        scale: (qualities, N), whole numbers: a symbol times this is the first layer's input.
        layers: Give the features that all stages see.
        stages: In the order of the latents; at least one.
        out: (qualities, M), whole numbers: from means that a stage gives to latents, by 2**-8.
        back: (qualities, M), whole numbers: from latents to what later stages see, by 2**-16.

    Raises:
        CheckpointError: Sums could grow beyond what float64 holds exactly.
    """

    scale: NDArray[np.float64]
    layers: tuple[Layer, ...]
    stages: tuple[Stage, ...]
    out: NDArray[np.int64]
    back: NDArray[np.int64]

    def __post_init__(self) -> None:
        most = float(np.abs(self.scale).max()) * LARGEST_SYMBOL
        stages = [layer for stage in self.stages for layer in (stage.first, stage.last)]
        for number, layer in enumerate((*self.layers, *stages)):
            summed = np.abs(layer.weight).sum(axis=(1, 2, 3)).max() * most
            bound = max(most, summed + np.abs(layer.bias).max() + 2**WEIGHT_BITS)
            # Not `>=`, which lets a NaN pass.
            if not bound < _EXACT:
                raise CheckpointError(
                    f"layer {number} of the codec's prior can reach {bound:.3g}, and whole numbers "
                    "are exact below 2**53; export the codec again"
                )
            most = LARGEST

    @property
    def parts(self) -> list[slice]:
        """Which latents each stage tells."""
        sizes = [len(stage.last.weight) // 2 for stage in self.stages]
        stops = np.cumsum(sizes).tolist()
        return [slice(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]

    def walk(
        self, symbols: Integers, size: tuple[int, int], quality: int, symbols_of: SymbolsOf
    ) -> tuple[Integers, Integers, NDArray[np.uint8]]:
        """Stage after stage, tell the latents and get their symbols.

        Args:
            symbols: Of the hyper-latents, (N, h, w), within `LARGEST_SYMBOL`.
            size: Height and width of the latents, at most 4h and 4w.
            quality: Counted from 0.
            symbols_of: Rounds the latents where they are coded, reads them where they are decoded.

        Returns:
            Of every latent its symbol, its mean in units of 2**-8, and which of the scales it has:
            three arrays (M, height, width).
        """
        a = symbols.astype(np.float64) * self.scale[quality][:, None, None]
        for layer in self.layers:
            a = _convolved(a, layer, quality, last=False)
        features, latents = len(a), self.out.shape[1]
        seen = np.empty((len(self.stages[-1].first.weight[0]), *size), np.int32)
        seen[:features] = a[:, : size[0], : size[1]]
        found, means = np.empty((2, latents, *size), np.int32)
        rows = np.empty((latents, *size), np.uint8)
        for stage, part in zip(self.stages, self.parts, strict=True):
            known = _convolved(seen[: features + part.start], stage.first, quality, last=False)
            told, scales = np.split(_convolved(known, stage.last, quality, last=True), 2)
            out, back = (table[quality, part, None, None] for table in (self.out, self.back))
            wide = (told * out + (1 << ACTIVATION_BITS - 1)) >> ACTIVATION_BITS
            means[part] = np.clip(wide, -LARGEST_MEAN, LARGEST_MEAN)
            index = (scales + (1 << ACTIVATION_BITS - 1)) >> ACTIVATION_BITS
            rows[part] = np.clip(index, 0, SCALES - 1)
            found[part] = symbols_of(part, means[part], rows[part])
            if stage is not self.stages[-1]:
                values = (found[part].astype(np.int64) << ACTIVATION_BITS) + means[part]
                values = (values * back + (1 << SCALE_BITS - 1)) >> SCALE_BITS
                seen[features:][part] = np.clip(values, -LARGEST, LARGEST)
        return found, means, rows


def _convolved(
    a: NDArray[np.generic], layer: Layer, quality: int, *, last: bool
) -> NDArray[np.int32]:
    """One layer, rounded, held within its bounds, and spread; a band of rows at a time."""
    channels, height, width = a.shape
    kernel = layer.weight.reshape(len(layer.weight), -1)
    bias = layer.bias[quality][:, None]
    out = np.empty((len(kernel), height, width), np.int32)
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1)))
    step = max(1, _BAND // (9 * channels * width))
    for top in range(0, height, step):
        rows = min(step, height - top)
        seen = np.empty((channels, 3, 3, rows, width), np.float64)
        for i in range(3):
            for j in range(3):
                seen[:, i, j] = padded[:, top + i : top + i + rows, j : j + width]
        total = kernel @ seen.reshape(len(kernel[0]), -1) + bias
        total = np.floor((total + 2 ** (WEIGHT_BITS - 1)) * 2.0**-WEIGHT_BITS)
        held = np.clip(total, -LARGEST_MEAN, LARGEST_MEAN) if last else _magnitude(total)
        out[:, top : top + rows] = held.reshape(-1, rows, width)
    if layer.shuffle == 1:
        return out
    r = layer.shuffle
    # As torch.nn.PixelShuffle orders it: channel, row inside, column inside.
    spread = out.reshape(-1, r, r, height, width).transpose(0, 3, 1, 4, 2)
    return spread.reshape(-1, height * r, width * r)


def _magnitude(total: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(np.abs(total), LARGEST)
