"""The plain convolutional autoencoder, in all its classic forms.

The encoder halves the size level by level; the decoder is its mirror, built from the same widths,
so the two cannot disagree. The Keras example with 28,353 parameters is ``channels=(32, 32)``.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from pellucid.errors import OptionError
from pellucid.learn.models.base import Autoencoder, Loss, Output
from pellucid.learn.models.blocks import (
    Activation,
    Decoding,
    Down,
    Encoding,
    Norm,
    Reach,
    Up,
    check_choices,
    check_widths,
    convolution,
    initialise,
)

LARGEST_CODE, LARGEST_SIDE = 2**20, 2**14


class ConvAutoencoder(Autoencoder):
    """Convolutions and pooling down to a code, the mirror of that back to an image.

    Masci, Meier, Ciresan, Schmidhuber 2011, https://doi.org/10.1007/978-3-642-21735-7_7

    Args:
        channels: Width of each level, outermost first; there are as many levels as widths.
        convs: Convolutions at each level.
        kernel: Side of every convolution, odd.
        down: 'max' or 'avg' pooling, or 'stride' (the level's last convolution steps by 2).
        up: 'transpose' (a transposed convolution of stride 2), 'nearest' or 'bilinear' (upsample,
            then convolve), 'unpool' (each maximum back to its place, then convolve; needs
            ``down='max'``), 'transpose_upsample' (transposed convolution, activation, then
            upsample; the last level doubles with its stride).
        norm: 'none', 'batch' or 'group', after every convolution but the last.
        activation: 'relu', 'leaky_relu', 'gelu' or 'silu'.
        head: 'conv' adds a convolution that turns the outermost features into the image; 'direct'
            lets the last level give the image itself.
        output: 'sigmoid' keeps the image in [0, 1]; 'linear' leaves it free.
        loss: 'mse', 'bce' or 'l1'.
        code_channels: Squeeze the spatial code to so many channels by a 1x1 convolution.
        code_size: Make the code dense, a vector of this length. Binds the model to `image_size`.
        image_size: Height and width (or one side) for a dense code.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "conv"

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (32, 32),
        convs: int = 1,
        kernel: int = 3,
        down: Down = "max",
        up: Up = "transpose",
        norm: Norm = "none",
        activation: Activation = "relu",
        head: str = "conv",
        output: Output = "sigmoid",
        loss: Loss = "mse",
        code_channels: int | None = None,
        code_size: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        image_channels: int = 1,
    ) -> None:
        widths = self.options["channels"] = tuple(channels)
        check_choices(down=down, up=up, norm=norm, activation=activation)
        check_widths(widths, kernel)
        _check_mirror(down, up, head, convs, code_channels, code_size, image_size)
        multiple = 2 ** len(widths)
        bound = (image_size, image_size) if isinstance(image_size, int) else image_size
        super().__init__(
            image_channels=image_channels,
            multiple_of=multiple,
            output=output,
            loss=loss,
            image_size=(bound[0], bound[1]) if bound and code_size else None,
        )
        if self.image_size:
            self.options["image_size"] = self.image_size
        self.unpools = up == "unpool"
        shared = {"convs": convs, "kernel": kernel, "norm": norm, "activation": activation}

        # Encoder
        inner = (image_channels, *widths)
        self.encoder = nn.ModuleList(
            Encoding(inner[i], inner[i + 1], down=down, indices=self.unpools, **shared)  # type: ignore[arg-type]
            for i in range(len(widths))
        )

        # Code
        deepest = widths[-1]
        self.grid: tuple[int, int, int] | None = None
        self.to_code: nn.Module = nn.Identity()
        self.from_code: nn.Module = nn.Identity()
        if code_channels:
            self.to_code = convolution(deepest, code_channels, kernel=1)
            self.from_code = convolution(code_channels, deepest, kernel=1)
        elif code_size and self.image_size:
            high, wide = (-(-side // multiple) for side in self.image_size)
            self.grid = (deepest, high, wide)
            self.to_code = nn.Linear(deepest * high * wide, code_size)
            self.from_code = nn.Linear(code_size, deepest * high * wide)

        # Decoder
        outer = [image_channels if head == "direct" else widths[0], *widths]
        self.decoder = nn.ModuleList(
            Decoding(outer[i + 1], outer[i], up=up, last=head == "direct" and i == 0, **shared)  # type: ignore[arg-type]
            for i in reversed(range(len(widths)))
        )
        self.head: nn.Module = nn.Identity()
        if head == "conv":
            self.head = convolution(widths[0], image_channels, kernel=kernel)
        initialise(self)

    def start_at(self, mean: float) -> None:
        """Let an untrained model begin by giving `mean` everywhere.

        From a grey 0.5, a sigmoid trained with the mean squared error on dark images overshoots to
        black and never comes back: MNIST stays at 9.8 dB.
        """
        layers = (*self.decoder.modules(), *self.head.modules())
        last = [m for m in layers if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))][-1]
        assert last.bias is not None
        mean = min(max(mean, 0.01), 0.99)
        nn.init.constant_(
            last.bias, math.log(mean / (1 - mean)) if self.output == "sigmoid" else mean
        )

    @property
    def halo(self) -> int | None:
        """How far a pixel's influence reaches; None for a dense code or group normalisation."""
        if self.grid or self.options["norm"] == "group":
            return None
        kernel, convs, levels = (self.options[k] for k in ("kernel", "convs", "channels"))
        reach = Reach()
        for _ in levels:
            reach.conv(kernel, convs)
            reach.down()
        late = self.options["up"] == "transpose_upsample"
        for _ in levels:
            if late:
                reach.conv(kernel, convs + 1)
            reach.up()
            if not late:
                reach.conv(kernel, convs + 1)
        return reach.radius

    def encode(self, x: Tensor) -> Tensor:
        """The code of images (B, C, H, W): (B, K, h, w), or (B, code_size) where it is dense."""
        code, _ = self._encode(self._pad(x))
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Images from codes, as large as the padded input was.

        Raises:
            OptionError: The model unpools, and so needs the encoder's indices.
        """
        if self.unpools:
            raise OptionError(
                "a model with up='unpool' cannot decode a code alone: it needs the places of the "
                "maxima that its encoder found; use up='transpose', 'nearest' or 'bilinear'"
            )
        raw = self._decode(code, [])
        if self.image_size:
            raw = raw[..., : self.image_size[0], : self.image_size[1]]
        return raw.sigmoid() if self.output == "sigmoid" else raw

    def restore(self, x: Tensor) -> Tensor:
        """The image through the code and back, before the output's activation."""
        return self._decode(*self._encode(x))

    def _encode(self, x: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        features, places = self._features(x)
        return self.to_code(features), places

    def _features(self, x: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """What the code is made of, flat where it is dense; and the places of the maxima."""
        places: list[Tensor | None] = []
        for level in self.encoder:
            x, indices = level(x)
            places.append(indices)
        return x.flatten(1) if self.grid else x, places

    def _decode(self, code: Tensor, places: list[Tensor | None]) -> Tensor:
        x = self.from_code(code)
        if self.grid:
            x = x.view(-1, *self.grid)
        for level in self.decoder:
            x = level(x, places.pop() if places else None)
        image: Tensor = self.head(x)
        return image


def _check_mirror(
    down: str,
    up: str,
    head: str,
    convs: int,
    code_channels: int | None,
    code_size: int | None,
    image_size: int | tuple[int, int] | None,
) -> None:
    """Refuse what has no mirror image."""
    if up == "unpool" and down != "max":
        raise OptionError(
            f"up='unpool' puts maxima back where max-pooling found them, but down is '{down}'; "
            "use down='max', or another up: transpose, nearest, bilinear"
        )
    if head not in ("conv", "direct"):
        raise OptionError(f"head is '{head}'; 'conv' and 'direct' are possible")
    if up == "transpose_upsample" and head != "direct":
        raise OptionError(
            "up='transpose_upsample' ends in a transposed convolution that gives the image itself; "
            "use it with head='direct'"
        )
    if not 1 <= convs <= 64:
        raise OptionError(f"convs is {convs}; every level takes from 1 to 64 convolutions")
    if code_channels and code_size:
        raise OptionError(
            "give code_channels (a spatial code) or code_size (a dense one), not both"
        )
    for what, count in (("code_channels", code_channels), ("code_size", code_size)):
        if count is not None and not 1 <= count <= LARGEST_CODE:
            raise OptionError(
                f"{what} is {count}; from 1 to {LARGEST_CODE:,} are possible, or None"
            )
    sides = (image_size,) if isinstance(image_size, int) else image_size or ()
    if any(not 1 <= side <= LARGEST_SIDE for side in sides):
        raise OptionError(f"image_size is {image_size}; sides go from 1 to {LARGEST_SIDE:,} pixels")
    if code_size and not image_size:
        raise OptionError(
            f"a dense code of {code_size} numbers is bound to one image size; "
            "give image_size=28 or image_size=(height, width)"
        )
