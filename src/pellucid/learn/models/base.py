"""What every model promises: an image in, an image of the same size out, and its own loss.

`Restorer` pads, runs and crops, so that any size works; `Autoencoder` can also stop half-way, at
the code. Read next: `blocks` for the layers, `conv` for the plainest model.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError, unknown
from pellucid.learn import metrics

Output = Literal["sigmoid", "linear"]
Loss = Literal["mse", "bce", "l1", "charbonnier", "psnr", "psnr+ssim"]
LOSSES = ("mse", "bce", "l1", "charbonnier", "psnr", "psnr+ssim")

_FLOOR = 1e-6
"""Mean squared error below which 'psnr' asks for little more: 60 dB."""


def charbonnier(restored: Tensor, clean: Tensor) -> Tensor:
    """L1 that is smooth within 1e-3 of nothing (Lai et al. 2018, https://arxiv.org/abs/1710.01992).

    Returns:
        Mean over all pixels.
    """
    return ((restored - clean).square() + 1e-6).sqrt().mean()


def decibels_lost(restored: Tensor, clean: Tensor) -> Tensor:
    """Minus the PSNR in tens of dB, each picture for itself, so that faint noise counts, too.

    Chen et al. 2022, https://arxiv.org/abs/2204.04676, train on it.

    Returns:
        Mean over the batch, from 0 (a squared error of 1) to -6.
    """
    errors = (restored - clean).square().flatten(1).mean(1)
    return (errors + _FLOOR).log10().mean()


def decibels_and_structure_lost(restored: Tensor, clean: Tensor) -> Tensor:
    """`decibels_lost`, and how far structural similarity is from 1.

    A squared error alone leaves a faint grey where black cannot be told from nearly black;
    similarity asks for the black. Zhao, Gallo, Frosio, Kautz, "Loss functions for image restoration
    with neural networks", IEEE TCI 3, 2017, https://doi.org/10.1109/TCI.2016.2644865, mix the two.

    Returns:
        Mean over the batch, at least -6.
    """
    return decibels_lost(restored, clean) + 1 - metrics.ssim(restored, clean).mean()


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": charbonnier,
    "psnr": decibels_lost,
    "psnr+ssim": decibels_and_structure_lost,
}


class Restorer(nn.Module):
    """A model that maps a damaged image to a restored one of the same size.

    Subclasses call ``super().__init__`` and define `restore`, which may trust that height and
    width are multiples of `multiple_of`. A model remembers the options that it was made with.

    Attributes:
        kind: The name in the table of models.
        options: Every constructor option with its value.
        image_channels: 1 for grey, 3 for colour.
        multiple_of: `restore` sees sizes that are multiples of this.
        image_size: Height and width that the model is bound to, or None if any size works.
        metadata: What the checkpoint said that the model came from; empty for a new one.
        fills_holes: Missing pixels come as NaN, and only they are changed.
        may_lack: How the names of weights start that do nothing until they are trained.
    """

    kind: ClassVar[str] = ""
    fills_holes: ClassVar[bool] = False
    may_lack: ClassVar[tuple[str, ...]] = ()
    options: dict[str, Any]
    metadata: dict[str, Any]

    def __new__(cls, *args: Any, **options: Any) -> Restorer:
        """Note the options before any subclass acts on them, defaults included."""
        model = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        known = [name for name in signature.parameters if name != "self"]
        for name in options:
            if name not in known:
                raise unknown(f"option of '{cls.kind}'", name, known)
        bound = signature.bind(model, *args, **options)
        bound.apply_defaults()
        chosen = {name: value for name, value in bound.arguments.items() if name != "self"}
        _check_types(cls, chosen)
        object.__setattr__(model, "options", chosen)
        object.__setattr__(model, "metadata", {})
        return model

    def __init__(
        self,
        *,
        image_channels: int,
        multiple_of: int,
        output: Output,
        loss: Loss,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if image_channels not in (1, 3):
            raise OptionError(f"image_channels is {image_channels}; 1 (grey) or 3 (colour) work")
        if output not in ("sigmoid", "linear"):
            raise unknown("output", output, ("sigmoid", "linear"))
        self.image_channels = image_channels
        self.multiple_of = multiple_of
        self.image_size = image_size
        self.output = output
        self.criterion: Loss = "mse"
        self.use_loss(loss)

    @property
    def halo(self) -> int | None:
        """How far a pixel's influence reaches, in pixels; None if over the whole image."""
        return None

    def use_loss(self, loss: str) -> None:
        """Choose what `loss` measures: 'mse', 'bce', 'l1', 'charbonnier', 'psnr'
        or 'psnr+ssim'.

        Raises:
            OptionError: The name is unknown, or 'bce' is asked of a linear output.
        """
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        if loss == "bce" and self.output != "sigmoid":
            raise OptionError(
                "loss 'bce' compares probabilities and needs output='sigmoid', but the output is "
                f"'{self.output}'; choose 'mse' or 'l1', or a sigmoid output"
            )
        self.criterion = loss  # type: ignore[assignment]
        self.options["loss"] = loss

    @property
    def missing(self) -> float:
        """What a missing pixel comes as: black, or NaN for models that fill holes."""
        return math.nan if self.fills_holes else 0.0

    def start_at(self, mean: float) -> None:
        """Let an untrained model begin by giving `mean` everywhere; the default does nothing."""

    def restore(self, x: Tensor) -> Tensor:
        """The restored image before the output's activation; sizes are multiples already."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The restored image.

        Args:
            x: (B, C, H, W), float, in [0, 1]; H and W are free.

        Returns:
            Same shape; in [0, 1] where the output is a sigmoid.
        """
        raw = self._raw(x)
        return torch.sigmoid(raw) if self.output == "sigmoid" else raw

    def preparing(self, epochs: int) -> int:
        """How many epochs at the start of a run of `epochs` do not teach the whole model yet.

        They count neither for the best weights nor for patience; less than `epochs`.
        """
        return 0

    def reach_epoch(self, epoch: int, epochs: int) -> None:
        """Training calls this as each epoch begins, counted from 0; the default does nothing.

        What is done here must follow from the two numbers alone, so that a resumed run goes on as
        an unbroken one would.
        """

    def loss(
        self, damaged: Tensor, clean: Tensor, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What training minimises, as named terms whose sum counts; means over all pixels.

        Args:
            damaged: What the model is given, (B, C, H, W).
            clean: What it should give, same shape.
            generator: Where a model that draws takes its chance from; plain ones ignore it.
        """
        return self.distance(self._raw(damaged).float(), clean)

    def distance(self, raw: Tensor, clean: Tensor) -> dict[str, Tensor]:
        """How far an image is from the clean one, by the chosen loss.

        Args:
            raw: (B, C, H, W) before the output's activation, float32.
            clean: Same shape.
        """
        if self.criterion == "bce":
            return {"bce": F.binary_cross_entropy_with_logits(raw, clean)}
        restored = torch.sigmoid(raw) if self.output == "sigmoid" else raw
        return {self.criterion: _DISTANCES[self.criterion](restored, clean)}

    def _raw(self, x: Tensor) -> Tensor:
        """Pad, run, crop."""
        height, width = x.shape[-2:]
        if x.shape[1] != self.image_channels:
            raise OptionError(
                f"the image has {x.shape[1]} channels but this model was made for "
                f"{self.image_channels}; use pellucid.denoise(), which converts"
            )
        return self.restore(self._pad(x))[..., :height, :width]

    def _pad(self, x: Tensor) -> Tensor:
        """Mirror the last rows and columns until the sizes fit; repeat them for a fixed size."""
        height, width = x.shape[-2:]
        if self.image_size is None:
            down, right = -height % self.multiple_of, -width % self.multiple_of
            if isinstance(down, int) and isinstance(right, int) and down == right == 0:
                return x
            # Repeated noise is stripes, which a network takes for detail: the last hundred columns
            # of a photograph of 481 pixels stayed as noisy as they came. Mirrored noise is noise.
            rows = _mirrored(height, height + down, x.device)
            columns = _mirrored(width, width + right, x.device)
            return x.index_select(-2, rows).index_select(-1, columns)
        high, wide = (-(-side // self.multiple_of) * self.multiple_of for side in self.image_size)
        down, right = high - height, wide - width
        if height > self.image_size[0] or width > self.image_size[1]:
            raise OptionError(
                f"the image is {height}x{width} but this model's dense code is bound to "
                f"{self.image_size[0]}x{self.image_size[1]}; resize it, or make a model with a "
                "spatial code (code_size=None), which takes any size"
            )
        if isinstance(down, int) and isinstance(right, int) and down == right == 0:
            return x
        return F.pad(x, (0, right, 0, down), mode="replicate")


def _mirrored(size: int, padded: int, device: torch.device) -> Tensor:
    """Indices of a line that turns back at its end: a b c | b a, and then stays at a."""
    last = size - 1
    return (last - (torch.arange(padded, device=device) - last).abs()).clamp(min=0)


class Autoencoder(Restorer):
    """A restorer with a code half-way: ``forward(x)`` is ``decode(encode(x))``."""

    def encode(self, x: Tensor) -> Tensor:
        """The code of images (B, C, H, W): (B, K, h, w), or (B, K) where it is dense."""
        raise NotImplementedError

    def decode(self, code: Tensor) -> Tensor:
        """Images from codes, as large as the padded input was."""
        raise NotImplementedError


def _check_types(cls: type[Restorer], options: dict[str, Any]) -> None:
    """Refuse values of another type than annotated: recipes and checkpoints may hold anything."""
    try:
        hints = get_type_hints(cls.__init__)
    except NameError:  # a class of the user's, annotated with names of a function
        return
    for name, value in options.items():
        if name in hints and not _fits(value, hints[name]):
            raise OptionError(
                f"option {name} of '{cls.kind}' is {value!r}; it takes {_told(hints[name])}"
            )


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inside)
    if origin is Literal:  # which word is checked where it is used, and the nearest offered
        return isinstance(value, type(inside[0]))
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return False
        kinds = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint in (int, float):
        allowed = int if hint is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _told(hint: Any) -> str:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_told(each) for each in inside))
    if origin is tuple:
        count = "" if inside[-1] is Ellipsis else f" of {len(inside)}"
        return f"a list{count}, each {_told(inside[0])}"
    if origin is Literal:
        return " or ".join(repr(each) for each in inside)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return names.get(hint, "none" if hint is type(None) else str(hint))
