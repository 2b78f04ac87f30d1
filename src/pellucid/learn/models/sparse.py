"""The sparse autoencoder: a code wide enough for everything, little of which is used at a time.

It is the plain autoencoder of `conv` with a rule on its code: a penalty, or a competition.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pellucid.errors import OptionError, unknown
from pellucid.learn.models.base import Loss, Output
from pellucid.learn.models.blocks import Activation, Down, Norm, PlainUp, check_plain
from pellucid.learn.models.conv import ConvAutoencoder

Sparsity = Literal["topk", "winner", "kl", "l1"]
SPARSITIES = ("topk", "winner", "kl", "l1")


def rate_divergence(rates: Tensor, target: float) -> Tensor:
    """How far units that are active at `rates` (K,) are from a target rate: nats, mean over units.

    Example:
        >>> rate_divergence(torch.tensor([0.1, 0.1]), target=0.1)
        tensor(0.)
    """
    # A unit that has closed altogether would be infinitely far.
    rates = rates.clamp(1e-6, 1 - 1e-6)
    on = target * (math.log(target) - rates.log())
    off = (1 - target) * (math.log1p(-target) - (-rates).log1p())
    return (on + off).mean()


class SparseAutoencoder(ConvAutoencoder):
    """A convolutional autoencoder of whose code only a few elements are active.

    Args:
        channels: Width of each level, outermost first; there are as many levels as widths.
        convs: Convolutions at each level.
        kernel: Side of every convolution, odd.
        down: 'max', 'avg' or 'stride'.
        up: 'transpose', 'nearest' or 'bilinear'.
        norm: 'none', 'batch' or 'group'.
        activation: 'relu', 'leaky_relu', 'gelu' or 'silu'.
        output: 'sigmoid' keeps the image in [0, 1]; 'linear' leaves it free.
        loss: 'mse', 'bce' or 'l1': what the image is judged by.
        code_channels: Channels of a spatial code, which takes any image size; 64 where neither this
            nor code_size is given.
        code_size: Length of a dense code. Binds the model to `image_size`.
        image_size: Height and width (or one side) for a dense code.
        sparsity: 'topk' keeps the largest `active` elements of a linear code, in a spatial one at
            each place (Makhzani and Frey 2014, https://arxiv.org/abs/1312.5663). 'winner' rectifies
            and keeps the one largest place in each channel; in training each unit also keeps only
            the share `rate` of the batch for which it is largest (Makhzani and Frey 2015,
            https://arxiv.org/abs/1409.2752). 'kl' makes the code probabilities and draws their
            means over the batch to `rate` (Ng 2011,
            https://web.stanford.edu/class/cs294a/sparseAutoencoder_2011new.pdf; Lee, Ekanadham, Ng
            2008, https://papers.nips.cc/paper/3313). 'l1' rectifies the code and presses on its
            size; a decoder may undo that by larger weights, which train.weight_decay prevents.
        active: Elements that 'topk' leaves.
        rate: Share of time that a unit is active, for 'kl' and 'winner'.
        weight: Of the penalty of 'kl' and 'l1', which is a mean over the code.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "sparse"

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (32, 64),
        convs: int = 1,
        kernel: int = 3,
        down: Down = "max",
        up: PlainUp = "transpose",
        norm: Norm = "none",
        activation: Activation = "relu",
        output: Output = "sigmoid",
        loss: Loss = "mse",
        code_channels: int | None = None,
        code_size: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        sparsity: Sparsity = "topk",
        active: int = 8,
        rate: float = 0.05,
        weight: float = 0.01,
        image_channels: int = 1,
    ) -> None:
        check_plain(self.kind, up)
        if code_channels is None and code_size is None:
            code_channels = self.options["code_channels"] = 64
        _check(sparsity, active, code_size or code_channels or 1, rate, weight)
        super().__init__(
            channels=channels,
            convs=convs,
            kernel=kernel,
            down=down,
            up=up,
            norm=norm,
            activation=activation,
            output=output,
            loss=loss,
            code_channels=code_channels,
            code_size=code_size,
            image_size=image_size,
            image_channels=image_channels,
        )
        self.sparsity, self.active, self.rate, self.weight = sparsity, active, rate, weight
        if sparsity == "kl":
            # Units that begin at a half would all have to close first, and many for ever.
            bias = self.to_code.bias
            assert isinstance(bias, Tensor)
            nn.init.constant_(bias, math.log(rate / (1 - rate)))

    @property
    def halo(self) -> int | None:
        """How far a pixel's influence reaches; None where the whole image competes."""
        return None if self.sparsity == "winner" else super().halo

    def loss(
        self, damaged: Tensor, clean: Tensor, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The distance to the clean image, a mean over pixels; and 'sparsity', the penalty if any.

        Args:
            damaged: What is encoded, (B, C, H, W).
            clean: What it should give, same shape.
            generator: Not used.
        """
        height, width = clean.shape[-2:]
        code = self.encode(damaged)
        terms = self.distance(self._decode(code, [])[..., :height, :width].float(), clean)
        if self.sparsity == "l1":
            terms["sparsity"] = self.weight * code.float().mean()
        elif self.sparsity == "kl":
            means = code.float().transpose(0, 1).flatten(1).mean(1)
            terms["sparsity"] = self.weight * rate_divergence(means, self.rate)
        return terms

    @torch.no_grad()
    def rates(self, x: Tensor) -> Tensor:
        """How often each unit is active on images (B, C, H, W): shares, (K,); 0 is a dead unit.

        Active is what is not 0; of the probabilities of 'kl', what is above a half. The mean is the
        sparsity reached. In training mode 'winner' counts what the batch has left.
        """
        code = self.encode(x)
        on = code > 0.5 if self.sparsity == "kl" else code != 0
        return on.float().transpose(0, 1).flatten(1).mean(1)

    def _encode(self, x: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        code, places = super()._encode(x)
        return self._sparse(code), places

    def _sparse(self, code: Tensor) -> Tensor:
        if self.sparsity == "kl":
            return code.sigmoid()
        if self.sparsity == "topk":
            return _largest(code, self.active, 1)
        code = code.relu()
        if self.sparsity == "winner":
            if not self.grid:
                code = _largest(code.flatten(2), 1, 2).view(code.shape)
            if self.training:
                code = code * self._often(code)
        return code

    def _often(self, code: Tensor) -> Tensor:
        """For each unit 1 where it is among its largest of the batch and 0 elsewhere, (B, K, ...).

        The paper's lifetime sparsity, without which some units win always and others never.
        """
        strongest = code if self.grid else code.amax((2, 3), keepdim=True)
        count = max(1, round(self.rate * len(code)))
        return (_largest(strongest, count, 0) > 0).to(code.dtype)


def _largest(code: Tensor, count: int, dim: int) -> Tensor:
    """The largest `count` elements along an axis, zeros elsewhere; equal ones do not all pass."""
    values, places = code.topk(count, dim)
    return torch.zeros_like(code).scatter(dim, places, values)


def _check(sparsity: str, active: int, width: int, rate: float, weight: float) -> None:
    if sparsity not in SPARSITIES:
        raise unknown("sparsity", sparsity, SPARSITIES)
    if sparsity == "topk" and not 1 <= active <= width:
        raise OptionError(f"active is {active}, but the code has {width} elements to leave it of")
    if not 0 < rate < 1:
        raise OptionError(f"rate is {rate}; a share is above 0 and below 1, e.g. 0.05")
    if not (math.isfinite(weight) and weight >= 0):
        raise OptionError(f"weight is {weight}; it must be 0 or more")
