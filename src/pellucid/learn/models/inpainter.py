"""A network with skips that fills holes: missing pixels come as NaN, known ones stay as they are.

Read next: `unet`, whose layers these are; `pellucid.restore.inpaint`, which takes a picture and a
mask.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pellucid.learn.models.base import Loss
from pellucid.learn.models.blocks import Activation, Down, Norm, PlainUp, convolution
from pellucid.learn.models.unet import UNet, silence


class Inpainter(UNet):
    """A `UNet` that also sees which pixels are known, and answers for the others only.

    Pathak et al. 2016, https://arxiv.org/abs/1604.07379, fill holes with an autoencoder; the mask
    as one more input is that of Iizuka, Simo-Serra, Ishikawa 2017,
    https://doi.org/10.1145/3072959.3073659. What lies further from every known pixel than `halo`
    is filled without seeing any.

    Args:
        channels: Width of each level; one level more than there are halvings.
        blocks: Residual blocks at each level, on the way down and on the way up.
        kernel: Side of the convolutions, odd.
        unshuffle: Fold squares of this side into channels first (2 or 4); 1 leaves them.
        down: 'stride', 'max' or 'avg'.
        up: 'transpose', 'nearest' or 'bilinear'.
        norm: 'none', 'batch' or 'group'.
        activation: 'relu', 'leaky_relu', 'gelu' or 'silu'.
        loss: 'mse', 'l1', 'charbonnier' or 'psnr', over all pixels, of which the known have none.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "inpaint"
    fills_holes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (32, 64, 128),
        blocks: int = 2,
        kernel: int = 3,
        unshuffle: int = 1,
        down: Down = "stride",
        up: PlainUp = "transpose",
        norm: Norm = "none",
        activation: Activation = "relu",
        loss: Loss = "l1",
        image_channels: int = 1,
    ) -> None:
        super().__init__(
            channels=channels,
            blocks=blocks,
            kernel=kernel,
            unshuffle=unshuffle,
            down=down,
            up=up,
            norm=norm,
            activation=activation,
            loss=loss,
            image_channels=image_channels,
            bias=True,
            residual=False,
        )
        seen = (image_channels + 1) * unshuffle**2
        self.first = convolution(seen, self.options["channels"][0], kernel=kernel)
        silence(self.last)

    def restore(self, x: Tensor) -> Tensor:
        """Known pixels to the last bit, and what is likely in place of NaN."""
        missing = torch.isnan(x).any(1, keepdim=True)
        grey = torch.full_like(x, 0.5)
        seen = torch.where(missing, grey, x)
        known = (~missing).to(x.dtype)
        made = grey + self.network(torch.cat([seen, known], dim=1)).to(x.dtype)
        return torch.where(missing, made, x)
