"""A network with skips that fills holes: missing pixels come as NaN, known ones stay as they are.

Read next: `unet`, whose layers these are; `pellucid.restore.inpaint`, which takes a picture and a
mask.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.learn.models.base import Loss
from pellucid.learn.models.blocks import Activation, Down, Norm, PlainUp, convolution
from pellucid.learn.models.unet import UNet, silence

SPREADS = 3
"""How often the smallest size of `spread` looks at its neighbours."""


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
        loss: 'mse', 'l1', 'charbonnier', 'psnr' or 'psnr+ssim', over all pixels, of which the known
            have none.
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
        self.halvings = self.multiple_of.bit_length() - 1

    @property
    def halo(self) -> int | None:
        """How far a pixel's influence reaches, by `spread` and by the layers together."""
        layers = super().halo
        return None if layers is None else layers + (SPREADS + 2) * self.multiple_of

    def restore(self, x: Tensor) -> Tensor:
        """Known pixels to the last bit, and what is likely in place of NaN."""
        missing = torch.isnan(x).any(1, keepdim=True)
        known = (~missing).to(x.dtype)
        guess = spread(torch.where(missing, 0.0, x), known, halvings=self.halvings)
        seen = torch.where(missing, guess, x)
        made = guess + self.network(torch.cat([seen, known], dim=1)).to(x.dtype)
        return torch.where(missing, made, x)


def spread(x: Tensor, known: Tensor, *, halvings: int) -> Tensor:
    """A first guess at missing pixels: known ones averaged down to small sizes, and back up.

    The push-pull of Gortler, Grzeszczuk, Szeliski, Cohen 1996,
    https://doi.org/10.1145/237170.237200. What is left at the smallest size takes the mean of its
    neighbours, `SPREADS` times; what no known pixel reaches so is 0.5.

    Args:
        x: (B, C, H, W), 0 where it is missing; H and W are multiples of ``2**halvings``.
        known: (B, 1, H, W), 1 where it is known and 0 elsewhere.
        halvings: How often both sides are halved.

    Returns:
        (B, C, H, W), equal to `x` where it is known.

    Example:
        >>> x = torch.tensor([[[[0.2, 0.0], [0.0, 0.4]]]])
        >>> spread(x, (x > 0).float(), halvings=1)
        tensor([[[[0.2000, 0.3000],
                  [0.3000, 0.4000]]]])
    """
    sizes = [(x, known)]
    for _ in range(halvings):
        sizes.append(_certain(*(4 * F.avg_pool2d(part, 2) for part in sizes[-1])))
    values, weights = sizes.pop()
    for _ in range(SPREADS):
        near, sure = _certain(*(9 * F.avg_pool2d(part, 3, 1, 1) for part in (values, weights)))
        values, weights = values + (1 - weights) * near, weights + (1 - weights) * sure
    guess = values + (1 - weights) * 0.5
    for values, weights in reversed(sizes):
        guess = F.interpolate(guess, scale_factor=2.0, mode="bilinear", align_corners=False)
        guess = values + (1 - weights) * guess
    return guess


def _certain(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of values and of their weights, cut so that no weight is above 1."""
    cut = weights.clamp(min=1)
    return values / cut, weights / cut
