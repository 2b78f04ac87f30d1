"""The plainer codec: every channel of the code is told by one density, wherever in the picture."""

from __future__ import annotations

from typing import ClassVar

from torch import Generator, Tensor

from pellucid.learn.draws import uniform
from pellucid.learn.models.codec import LAMBDAS, Codec
from pellucid.learn.models.cosines import STRIDE
from pellucid.learn.models.entropy import Logistics, rounded


class FactorizedCodec(Codec):
    """A codec with a factorised prior (Ballé et al. 2017, https://arxiv.org/abs/1611.01704).

    By default it takes 45 thousand multiplications a pixel, in colour.

    Args:
        channels: Widths at a half, a quarter and an eighth of the size.
        latents: Channels of the code, at a sixteenth of the size.
        blocks: Residual blocks before the image, at half the size.
        lambdas: For each quality, rising, what a squared error of one grey level of 255, mean over
            pixels, is worth in bits a pixel.
        quality: Which of them `forward` and `encode` take, counted from 1; None is the highest.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "factorized"

    def __init__(
        self,
        *,
        channels: tuple[int, int, int] = (64, 128, 256),
        latents: int = 320,
        blocks: int = 0,
        lambdas: tuple[float, ...] = LAMBDAS,
        quality: int | None = None,
        image_channels: int = 1,
    ) -> None:
        super().__init__(
            channels=channels,
            latents=latents,
            blocks=blocks,
            lambdas=lambdas,
            quality=quality,
            image_channels=image_channels,
            multiple_of=STRIDE,
        )
        self.density = Logistics(self.fineness, latents)

    @property
    def halo(self) -> int:
        """How far a pixel's influence reaches."""
        return self.reach_in().radius + self.reach_out().radius

    def coded(
        self, latents: Tensor, quality: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Bits of each picture, (B,), and the rounded code that synthesis gets."""
        code = self.gains(latents, quality)
        noise = uniform(tuple(code.shape), code, generator) - 0.5
        bits = self.density.bits(code + noise, quality)
        return bits.flatten(1).sum(1), rounded(code)

    def code_of(self, latents: Tensor, quality: Tensor) -> Tensor:
        """The rounded code alone."""
        return rounded(self.gains(latents, quality))
