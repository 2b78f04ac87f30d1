"""An autoencoder that is taught level by level before it is taught as a whole.

The architecture is that of `conv`; what differs is what a training step minimises. Read first:
`conv` for the layers, `base` for how training tells a model how far it is.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError
from pellucid.learn.models.base import Loss, Output
from pellucid.learn.models.blocks import Activation, Down, Norm, Up
from pellucid.learn.models.conv import ConvAutoencoder


class StackedAutoencoder(ConvAutoencoder):
    """Greedy layer-wise pretraining, then fine-tuning from end to end, in one run.

    Bengio et al. 2007, "Greedy layer-wise training of deep networks"; with `corruption` the
    stacked denoising autoencoders of Vincent et al. 2010,
    https://www.jmlr.org/papers/v11/vincent10a.html; with convolutions Masci et al. 2011,
    https://doi.org/10.1007/978-3-642-21735-7_7.

    The first epochs are shared out evenly among the levels, outermost first, and last the layers
    around a code of `code_channels` or `code_size`. While a level is due, only its encoder and
    decoder learn: from what the finished levels make of the damaged picture, they are to give back
    what those make of the clean one. All others stay as they are to the last bit. Then everything
    learns.

    Validation judges the whole network in every epoch. While levels that are not due yet are still
    random, that says nothing, and the training loss of a deeper level is the mean squared error of
    features, whose scale is their own. So neither the best weights nor patience count these epochs.

    Args:
        pretraining: Share of the epochs that teaches single levels, from 0 (none) to less than 1.
            At least one epoch is left for the whole; where there are fewer pretraining epochs than
            levels, some levels get none.
        corruption: Share of a level's input values that are set to zero while it is pretrained, on
            top of the damage of the run.
        channels: As those below, see `ConvAutoencoder`.
        convs: Convolutions at each level.
        kernel: Side of every convolution, odd.
        down: 'max', 'avg' or 'stride'.
        up: 'transpose', 'nearest', 'bilinear', 'unpool' or 'transpose_upsample'.
        norm: 'none', 'batch' or 'group'.
        activation: 'relu', 'leaky_relu', 'gelu' or 'silu'.
        head: 'conv' or 'direct'.
        output: 'sigmoid' or 'linear'.
        loss: Of the picture, for the outermost level and for the whole.
        code_channels: Width of a spatial code.
        code_size: Length of a dense code; binds the model to `image_size`.
        image_size: Height and width (or one side) for a dense code.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "stacked"

    def __init__(
        self,
        *,
        pretraining: float = 0.5,
        corruption: float = 0.0,
        channels: tuple[int, ...] = (32, 64),
        convs: int = 1,
        kernel: int = 3,
        down: Down = "max",
        up: Up = "nearest",
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
        for what, share in (("pretraining", pretraining), ("corruption", corruption)):
            if not 0 <= share < 1:
                raise OptionError(f"{what} is {share}; it is a share from 0 to less than 1")
        super().__init__(
            channels=channels,
            convs=convs,
            kernel=kernel,
            down=down,
            up=up,
            norm=norm,
            activation=activation,
            head=head,
            output=output,
            loss=loss,
            code_channels=code_channels,
            code_size=code_size,
            image_size=image_size,
            image_channels=image_channels,
        )
        self.pretraining, self.corruption = pretraining, corruption
        self.due: int | None = None

    @property
    def levels(self) -> int:
        """How many are taught singly: those that halve the size, and the code where it is one."""
        return len(self.encoder) + (not isinstance(self.to_code, nn.Identity))

    def preparing(self, epochs: int) -> int:
        """How many epochs of a run of so many teach single levels."""
        return min(round(self.pretraining * epochs), epochs - 1)

    def reach_epoch(self, epoch: int, epochs: int) -> None:
        """Learn one level, or the whole, from the epoch's number alone."""
        preparing = self.preparing(epochs)
        self.due = None
        if epoch < preparing:
            # The outermost level comes first also where the epochs do not suffice for all.
            turns = min(self.levels, preparing)
            self.due = epoch * turns // preparing
        self.train(self.training)

    def train(self, mode: bool = True) -> StackedAutoencoder:
        """As `torch.nn.Module.train`; levels that are not due keep their statistics."""
        super().train(mode)
        if mode and self.due is not None:
            own = set(self._level(self.due))
            for level in range(self.levels):
                for part in self._level(level):
                    part.train(part in own)
        return self

    def loss(
        self, damaged: Tensor, clean: Tensor, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What training minimises: of the level that is due, or of the whole network.

        `generator` decides which values of a level's input are lost.
        """
        if not self.training or self.due is None:
            return super().loss(damaged, clean, generator=generator)
        if self.due == 0:
            height, width = clean.shape[-2:]
            given = self._corrupted(self._pad(damaged), generator)
            raw = self._there_and_back(given, 0)[..., :height, :width].float()
            return self.distance(raw, clean)
        with torch.no_grad():
            given, wanted = (self._input_of(x, self.due) for x in (damaged, clean))
        back = self._there_and_back(self._corrupted(given, generator), self.due).float()
        return {f"level_{self.due}": F.mse_loss(back, wanted.float())}

    def _input_of(self, x: Tensor, level: int) -> Tensor:
        """What the levels outside of this one make of images: its own input."""
        x = self._pad(x)
        for part in self.encoder[:level]:
            x, _ = part(x)
        return x

    def _there_and_back(self, x: Tensor, level: int) -> Tensor:
        """Through one level's encoder and decoder; the outermost also through the head."""
        if level == len(self.encoder):
            back: Tensor = self.from_code(self.to_code(x.flatten(1) if self.grid else x))
            return back.view_as(x)
        features, places = self.encoder[level](x)
        back = self.decoder[-1 - level](features, places)
        return self.head(back) if level == 0 else back

    def _level(self, level: int) -> list[nn.Module]:
        """The parts that learn while a level is due."""
        if level == len(self.encoder):
            return [self.to_code, self.from_code]
        own = [self.encoder[level], self.decoder[-1 - level]]
        return [*own, self.head] if level == 0 else own

    def _corrupted(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.corruption:
            return x
        drawn = torch.rand(x.shape, generator=generator, device=x.device)
        return x * (drawn >= self.corruption)
