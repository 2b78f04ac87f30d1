"""What a model is made of: its layers, their shapes and their cost, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pellucid.learn.models.base import Autoencoder, Restorer


@dataclass(frozen=True)
class Layer:
    """One leaf of the model: where it stands, what it is, what it gives, what it holds."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The anatomy of a model at one image size; print it.

    Attributes:
        layers: In the order in which they run.
        parameters: Trainable numbers in all.
        flops_per_pixel: Multiplications and additions of a forward pass for each pixel.
        code_shape: Shape of one image's code, or None where the model has no code.
        compression: Numbers in the image for each number in the code, or None.
    """

    title: str
    layers: tuple[Layer, ...]
    parameters: int
    flops_per_pixel: float
    code_shape: tuple[int, ...] | None
    compression: float | None

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters")]
        for layer in self.layers:
            shape = " x ".join(map(str, layer.shape))
            rows.append((layer.name, layer.kind, shape, f"{layer.parameters:,}"))
        wide = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [self.title]
        for i, row in enumerate(rows):
            left = "  ".join(cell.ljust(w) for cell, w in zip(row[:3], wide[:3], strict=True))
            lines.append(f"{left}  {row[3].rjust(wide[3])}")
            if i == 0:
                lines.append("-" * len(lines[-1]))
        lines.append(
            f"{self.parameters:,} parameters, {self.flops_per_pixel / 1000:,.1f} kFLOP a pixel"
        )
        if self.code_shape and self.compression:
            code = " x ".join(map(str, self.code_shape))
            lines.append(f"code {code}: {self.compression:.2f} image values for each code value")
        return "\n".join(lines)


def summary(model: Restorer, size: int | tuple[int, int] | None = None) -> Summary:
    """The layers of `model` with shapes, parameters, FLOPs a pixel and the code's compression.

    Args:
        model: Any model of this package; it is not changed.
        size: Height and width (or one side) of the image to follow; by default the size that the
            model is bound to, else 64 rounded up to what the model needs.
    """
    if size is None:
        size = model.image_size or max(model.multiple_of, 64)
    height, width = (size, size) if isinstance(size, int) else size
    some = next(model.parameters())
    image = torch.zeros(1, model.image_channels, height, width, device=some.device)
    layers: list[Layer] = []
    hooks = [
        module.register_forward_hook(_note(name, layers))
        for name, module in model.named_modules()
        if not list(module.children()) and not isinstance(module, nn.Identity)
    ]
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(image)
        count = counter.get_total_flops()
        heard = tuple(layers)
        code = model.encode(image) if isinstance(model, Autoencoder) else None
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return Summary(
        title=f"{model.kind} on {model.image_channels} x {height} x {width}",
        layers=heard,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        flops_per_pixel=count / (height * width),
        code_shape=None if code is None else tuple(code.shape[1:]),
        compression=None if code is None else image.numel() / code.numel(),
    )


def _note(name: str, layers: list[Layer]) -> Any:
    def hook(module: nn.Module, _: Any, output: Any) -> None:
        image: Tensor = output[0] if isinstance(output, tuple) else output
        layers.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                shape=tuple(image.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters()),
            )
        )

    return hook
