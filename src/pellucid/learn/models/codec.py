"""What learned codecs share: the pictures' transform, and gains that make one network many.

A code is rounded to whole numbers, which cost bits; training weighs those against the error of
what comes back. Read next: `factorized` and `hyperprior`, which tell what a code costs;
`pellucid.learn.codec_file`, which writes a trained one for use without torch.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError
from pellucid.learn.draws import uniform
from pellucid.learn.models.base import Autoencoder
from pellucid.learn.models.blocks import Reach, convolution
from pellucid.learn.models.cosines import STRIDE, CosineTransform
from pellucid.learn.models.entropy import Logistics, exact, widened

LAMBDAS = (0.0008, 0.0017, 0.0037, 0.0082, 0.018, 0.038, 0.083, 0.18)
"""Weights of the error, smallest files first; published codecs are trained at 0.0018 to 0.18."""

_CONTRAST = 4.0
"""Pixels less grey times this are about as wide as a standard normal."""

_SMALLEST = 0.01
"""What `Normalization` divides by at least."""

_WIDEST = 2**14
"""Channels that no codec has."""

_FINENESS = 2.0
"""Gain in the middle of the qualities at the start. A bin of width b errs by b**2 / 12, and halving
it costs a bit for each value that is not nothing; for `_CONTRAST` and `LAMBDAS` the two are in
balance at a gain of 1.9."""


class Gains(nn.Module):
    """Positive factors for every quality and channel (Cui et al. 2021, https://arxiv.org/abs/2003.02012).

    Args:
        start: For each quality, what all its factors begin as.
        channels: Channels of what is multiplied.
    """

    def __init__(self, start: list[float], channels: int) -> None:
        super().__init__()
        self.shape = (len(start), channels)
        # Flat, since an optimiser for matrices must not take them for one.
        self.logs = nn.Parameter(torch.tensor(start).log().repeat_interleave(channels))

    def table(self) -> Tensor:
        """All of them, (Q, C)."""
        return self.logs.view(self.shape).exp()

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """`x`, (B, C, h, w), times the factors of each picture's quality, (B,)."""
        return x * self.table()[quality][..., None, None]


class Normalization(nn.Module):
    """Divide half the channels by a weighted sum of the sizes of all, or multiply them by it.

    The generalised divisive normalisation of Ballé, Laparra, Simoncelli 2016,
    https://arxiv.org/abs/1511.06281, without its powers, as by Johnston et al. 2019,
    https://arxiv.org/abs/1912.08771. What is divided saturates; the other half of the channels
    keeps what is large exact.

    Args:
        channels: Of what comes in.
        inverse: Multiply.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.plain = channels // 2
        mix = 0.1 * torch.eye(channels) + 1e-3
        self.mix = nn.Parameter(mix[self.plain :, :, None, None].clone())
        self.offset = nn.Parameter(torch.ones(channels - self.plain))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        size = F.conv2d(x.abs(), self.mix.abs(), self.offset.abs() + _SMALLEST)
        plain, bent = x[:, : self.plain], x[:, self.plain :]
        return torch.cat((plain, bent * size if self.inverse else bent / size), 1)


class Mending(nn.Module):
    """A residual block that begins at nothing: what rounding has broken is learnt and taken back.

    Magnitudes stand between its convolutions, which no rate can shut.

    Args:
        channels: Of what comes in, and goes out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.last = convolution(channels, channels)
        settle(self.first)
        settle(self.last, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        found: Tensor = x + self.last(self.first(x).abs())
        return found


class Codec(Autoencoder):
    """Analysis, gains, rounding and synthesis; subclasses say what the rounded code costs.

    A cosine transform of blocks, and beside it convolutions with `Normalization` between them, as
    by Ballé et al. 2018, https://arxiv.org/abs/1802.01436, which begin at nothing and learn what
    the transform misses: what neighbouring blocks share, edges, and what rounding has lost.

    Trained as by Minnen and Singh 2020, https://arxiv.org/abs/2007.08739: rates see noise in place
    of rounding, the synthesis rounded values. Each picture of a batch is trained at a quality of
    its own.

    Args:
        channels: Widths at a half, a quarter and an eighth of the size.
        latents: Channels of the code, at a sixteenth of the size. They are a ceiling: without the
            convolutions 192 hold photographs in colour to 34.5 dB, 320 to 43.3.
        blocks: Residual blocks at half the size, the last before the image; they begin at nothing,
            so that a codec with fewer of them can begin one with more.
        lambdas: For each quality, rising, what a squared error of one grey level of 255, mean over
            pixels, is worth in bits a pixel.
        quality: Which of them `forward` and `encode` take, counted from 1; None is the highest.
        image_channels: 1 for grey, 3 for colour.
        multiple_of: Sizes that the network takes are multiples of this.
    """

    widths: Tensor  # about how wide each channel of the code is
    density: Logistics  # of what is told by one for each channel; subclasses make it
    may_lack: ClassVar[tuple[str, ...]] = ("mending.",)

    def __init__(
        self,
        *,
        channels: tuple[int, int, int],
        latents: int,
        blocks: int,
        lambdas: tuple[float, ...],
        quality: int | None,
        image_channels: int,
        multiple_of: int,
    ) -> None:
        _check(channels, latents, blocks, lambdas, quality)
        super().__init__(
            image_channels=image_channels, multiple_of=multiple_of, output="linear", loss="mse"
        )
        self.lambdas = tuple(map(float, lambdas))
        self.quality = len(lambdas) - 1 if quality is None else quality - 1
        fine, middle, coarse = channels
        folded = 4 * image_channels
        self.analysis = nn.Sequential(
            nn.PixelUnshuffle(2),
            convolution(folded, fine),
            Normalization(fine),
            convolution(fine, middle, stride=2),
            Normalization(middle),
            convolution(middle, coarse, stride=2),
            Normalization(coarse),
        )
        self.to_latents = convolution(coarse, latents, stride=2)
        self.synthesis = nn.Sequential(
            convolution(latents, coarse),
            Normalization(coarse, inverse=True),
            *_doubling(coarse, coarse, kernel=1),
            Normalization(coarse, inverse=True),
            *_doubling(coarse, middle, kernel=1),
            Normalization(middle, inverse=True),
            *_doubling(middle, fine, kernel=3),
            Normalization(fine, inverse=True),
        )
        self.mending = nn.Sequential(*(Mending(fine) for _ in range(blocks)))
        self.to_image = convolution(fine, folded)
        self.unfold = nn.PixelShuffle(2)
        self.transform = CosineTransform(image_channels, latents)
        widths = torch.tensor(self.transform.widths, device="cpu").view(-1, 1, 1)
        self.register_buffer("widths", widths, persistent=False)
        # Squared errors fall with the square of the bins' width, and lambda weighs them.
        centre = math.exp(sum(map(math.log, self.lambdas)) / len(self.lambdas))
        self.fineness = [_FINENESS * math.sqrt(each / centre) for each in self.lambdas]
        self.gains = Gains(self.fineness, latents)
        self.inverse_gains = Gains([1 / gain for gain in self.fineness], latents)
        for module in (self.analysis, self.synthesis):
            settle(module)
        settle(self.to_latents, 0)
        settle(self.to_image, 0)

    @property
    def qualities(self) -> int:
        """How many there are."""
        return len(self.lambdas)

    def use_loss(self, loss: str) -> None:
        """Take only 'mse', which the lambdas weigh.

        Raises:
            OptionError: For any other.
        """
        if loss != "mse":
            raise OptionError(
                f"'{self.kind}' is trained on bits and squared errors, not on '{loss}'; leave "
                "train.loss out and set model.lambdas to weigh the two"
            )
        self.criterion = "mse"

    def reach_in(self) -> Reach:
        """How far a value of the code sees, in pixels of the image."""
        reach = Reach()
        reach.down()
        reach.conv(3, 2)
        reach.down()
        reach.conv(3)
        reach.down()
        reach.conv(3)
        reach.down()
        return reach

    def reach_out(self) -> Reach:
        """How far a pixel of the image sees into the code, in pixels of the image."""
        reach = Reach(step=STRIDE)
        reach.conv(3)
        reach.up()
        reach.up()
        reach.conv(3)
        reach.up()
        reach.conv(3)
        for _ in self.mending:
            reach.conv(3, 2)
        reach.up()
        return reach

    def latents_of(self, x: Tensor) -> Tensor:
        """The code before its gain, (B, M, H/16, W/16), of images whose sizes fit."""
        x = (x - 0.5) * _CONTRAST
        features = self.analysis(x)
        with exact(x):
            learnt: Tensor = self.to_latents(widened(features)) * self.widths
            cosines: Tensor = self.transform(x)
            return cosines + learnt

    def image_of(self, code: Tensor, quality: Tensor) -> Tensor:
        """Images, not clipped, of rounded codes (B, M, h, w) at the qualities (B,), from 0."""
        code = self.inverse_gains(code, quality)
        features = self.mending(self.synthesis(code / self.widths))
        with exact(code):
            image: Tensor = self.unfold(self.to_image(widened(features)))
            image = image + self.transform.inverse(code)
        return 0.5 + image / _CONTRAST

    def coded(
        self, latents: Tensor, quality: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Bits of each picture, (B,), and the rounded code that synthesis gets.

        Args:
            latents: From `latents_of`.
            quality: Of each picture, (B,), from 0.
            generator: Where the noise comes from.
        """
        raise NotImplementedError

    def code_of(self, latents: Tensor, quality: Tensor) -> Tensor:
        """The rounded code alone, as `coded` gives it."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """The code of images (B, C, H, W) as it is decoded, (B, M, h, w), at `quality`."""
        latents = self.latents_of(self._pad(x))
        with exact(x):
            return self.code_of(latents, self._chosen(x))

    def decode(self, code: Tensor) -> Tensor:
        """Images from such codes, as large as the padded input was."""
        return self.image_of(code, self._chosen(code))

    def restore(self, x: Tensor) -> Tensor:
        """The picture as it comes back from the code at `quality`."""
        return self.decode(self.encode(x))

    def loss(
        self, damaged: Tensor, clean: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """What the code costs and what is lost by it, each picture at a quality that is drawn.

        Args:
            damaged: What is encoded, (B, C, H, W).
            clean: What is judged, same shape.
            generator: Where qualities and noise come from; torch's own where none is given.

        Returns:
            'rate', in bits a pixel; 'distortion', the mean squared error on the scale of 255 times
            the quality's lambda. The costs of each picture are divided by the root of its lambda,
            held against the geometric mean of all: those of high qualities are larger and would
            drown the others.
        """
        height, width = clean.shape[-2:]
        draws = uniform((len(clean),), clean, generator) * self.qualities
        quality = draws.long().clamp(max=self.qualities - 1)
        latents = self.latents_of(self._pad(damaged))
        with exact(clean):
            bits, code = self.coded(latents, quality, generator)
        image = self.image_of(code, quality)[..., :height, :width]
        with exact(clean):
            errors = (image - clean).square().flatten(1).mean(1)
            lambdas = errors.new_tensor(self.lambdas)
            share = (lambdas.log().mean().exp() / lambdas).sqrt()[quality]
            return {
                "rate": (share * bits).mean() / (height * width),
                "distortion": (share * lambdas[quality] * 255**2 * errors).mean(),
            }

    def _chosen(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), self.quality, dtype=torch.long, device=x.device)


def settle(module: nn.Module, gain: float = 1.0) -> None:
    """Weights of the convolutions that keep the size of a signal, times `gain`; no biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, gain / math.sqrt(layer.weight[0].numel()))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _doubling(inputs: int, outputs: int, *, kernel: int) -> list[nn.Module]:
    """Twice the size; with a kernel of 1 it is a transposed convolution of 2x2."""
    return [convolution(inputs, 4 * outputs, kernel=kernel), nn.PixelShuffle(2)]


def check_width(name: str, width: int) -> None:
    """Refuse a number of channels that no codec can have."""
    if not 1 <= width <= _WIDEST:
        raise OptionError(f"{name} is {width}; a width is from 1 to {_WIDEST}")


def _check(
    channels: tuple[int, ...],
    latents: int,
    blocks: int,
    lambdas: tuple[float, ...],
    quality: int | None,
) -> None:
    for width in channels:
        check_width("channels", width)
    check_width("latents", latents)
    if not 0 <= blocks <= 64:
        raise OptionError(f"blocks is {blocks}; from 0 to 64 are possible")
    rising = all(low < high for low, high in pairwise(lambdas))
    if not 1 <= len(lambdas) <= 255 or not rising or not 0 < lambdas[0] <= lambdas[-1] < math.inf:
        raise OptionError(
            f"lambdas is {lambdas}; give one above 0 for each quality, rising, e.g. (0.0067, 0.05)"
        )
    if quality is not None and not 1 <= quality <= len(lambdas):
        raise OptionError(f"quality is {quality}; there are qualities 1 to {len(lambdas)}")
