"""Transfer learning: the convolutions of a published classifier as encoder, a decoder of our own.

Read first: `backbones` for the encoders, `conv` for an autoencoder that learns both halves.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from pellucid.errors import OptionError, PellucidError, unknown
from pellucid.learn import imagenet
from pellucid.learn.models.backbones import BACKBONES
from pellucid.learn.models.base import Autoencoder, Loss, Output
from pellucid.learn.models.blocks import (
    Decoding,
    Norm,
    PlainUp,
    check_choices,
    convolution,
    initialise,
)

Encoder = Literal["vgg16", "efficientnet_lite0"]
Known = Literal["imagenet", "random"]


class PretrainedAutoencoder(Autoencoder):
    """A classifier's first stages down to a code, the mirror of them back to an image.

    Yosinski et al. 2014, https://arxiv.org/abs/1411.1792, on what such features are good for
    elsewhere. The decoder has a level for each stage, with the stage's width and as many
    convolutions as the stage has convolutions or blocks, so the two cannot disagree.

    The weights are looked for on this machine when a model is made, and never downloaded: where
    they are missing, the encoder is random, and training refuses with what to do (`unavailable`).
    They are part of the checkpoint, which needs neither the published file nor its package.

    Args:
        encoder: 'efficientnet_lite0' (its weights come with the extra `perceptual`) or 'vgg16' (its
            file is looked for where torchvision keeps it; see `pellucid.learn.imagenet`).
        stages: How many stages of it are used, from 1 to 5; each halves the size.
        frozen: Leave the encoder as it is, statistics of its normalisations included; else it is
            trained with the decoder.
        weights: 'imagenet' or 'random'.
        widest: No level of the decoder is wider than this; None mirrors all of the width.
        code_channels: Squeeze the code to so many channels by a 1x1 convolution; the features of
            a classifier are often more numbers than the image.
        up: 'transpose', 'nearest' or 'bilinear'.
        norm: 'none', 'batch' or 'group', in the decoder.
        output: 'sigmoid' or 'linear'.
        loss: 'mse', 'bce' or 'l1'.
        image_channels: 1 for grey, which the encoder is shown as red, green and blue; 3 for colour.

    Attributes:
        unavailable: Why the weights that were asked for could not be had, or None.
    """

    kind: ClassVar[str] = "pretrained"

    def __init__(
        self,
        *,
        encoder: Encoder = "efficientnet_lite0",
        stages: int = 3,
        frozen: bool = True,
        weights: Known = "imagenet",
        widest: int | None = None,
        code_channels: int | None = None,
        up: PlainUp = "nearest",
        norm: Norm = "none",
        output: Output = "sigmoid",
        loss: Loss = "mse",
        image_channels: int = 1,
    ) -> None:
        check_choices(norm=norm)
        _check(encoder, stages, weights, up, widest, code_channels)
        super().__init__(
            image_channels=image_channels, multiple_of=2**stages, output=output, loss=loss
        )

        # Encoder
        self.encoder = BACKBONES[encoder](stages)
        initialise(self.encoder)
        self.unavailable: PellucidError | None = None
        # On the meta device a checkpoint is about to give all weights: nothing is looked for.
        if weights == "imagenet" and not self.encoder.mean.is_meta:
            try:
                self.encoder.take(imagenet.load(encoder))
            except PellucidError as error:
                self.unavailable = error
        if frozen:
            self.encoder.freeze()

        # Code
        found = self.encoder.widths
        widths = tuple(min(width, widest or width) for width in found)
        code = code_channels or found[-1]
        self.to_code: nn.Module = nn.Identity()
        self.from_code: nn.Module = nn.Identity()
        if code != found[-1]:
            self.to_code = convolution(found[-1], code, kernel=1)
        if code != widths[-1]:
            self.from_code = convolution(code, widths[-1], kernel=1)

        # Decoder
        outer = [widths[0], *widths]
        self.decoder = nn.ModuleList(
            Decoding(outer[i + 1], outer[i], convs=self.encoder.convs[i], up=up, norm=norm)
            for i in reversed(range(stages))
        )
        self.head = convolution(widths[0], image_channels)
        for part in (self.to_code, self.from_code, self.decoder, self.head):
            initialise(part)

    def start_at(self, mean: float) -> None:
        """Let an untrained decoder begin by giving `mean` everywhere.

        Raises:
            PellucidError: The published weights that were asked for are missing.
        """
        if self.unavailable is not None:
            raise self.unavailable
        assert self.head.bias is not None
        mean = min(max(mean, 0.01), 0.99)
        nn.init.constant_(
            self.head.bias, math.log(mean / (1 - mean)) if self.output == "sigmoid" else mean
        )

    @property
    def halo(self) -> int | None:
        """How far a pixel's influence reaches; None for group normalisation."""
        if self.options["norm"] == "group":
            return None
        reach = self.encoder.reach()
        for convs in reversed(self.encoder.convs):
            reach.up()
            reach.conv(3, convs)
        reach.conv(3)
        return reach.radius

    def encode(self, x: Tensor) -> Tensor:
        """The code of images (B, C, H, W): (B, K, H / 2^stages, W / 2^stages), rounded up."""
        return self._encode(self._pad(x))

    def decode(self, code: Tensor) -> Tensor:
        """Images from codes, as large as the padded input was."""
        raw = self._decode(code)
        return raw.sigmoid() if self.output == "sigmoid" else raw

    def restore(self, x: Tensor) -> Tensor:
        """The image through the code and back, before the output's activation."""
        return self._decode(self._encode(x))

    def _encode(self, x: Tensor) -> Tensor:
        # Three equal channels are what a grey picture is in colour.
        code: Tensor = self.to_code(self.encoder(x.expand(-1, 3, -1, -1))[-1])
        return code

    def _decode(self, code: Tensor) -> Tensor:
        x = self.from_code(code)
        for level in self.decoder:
            x = level(x)
        image: Tensor = self.head(x)
        return image


def _check(
    encoder: str,
    stages: int,
    weights: str,
    up: str,
    widest: int | None,
    code_channels: int | None,
) -> None:
    for what, given, known in (
        ("encoder", encoder, tuple(BACKBONES)),
        ("weights", weights, ("imagenet", "random")),
        ("up", up, ("transpose", "nearest", "bilinear")),
    ):
        if given not in known:
            raise unknown(what, given, known)
    if not 1 <= stages <= len(BACKBONES[encoder].STAGES):
        most = len(BACKBONES[encoder].STAGES)
        raise OptionError(f"stages is {stages}; '{encoder}' has from 1 to {most}")
    for what, count in (("widest", widest), ("code_channels", code_channels)):
        if count is not None and count < 1:
            raise OptionError(f"{what} is {count}; it must be at least 1, or None")
