"""What a network looks at: the filters of its first layer, and what each level finds in a picture.

The first levels find edges, the later ones shapes and textures (Zeiler and Fergus 2014,
https://arxiv.org/abs/1311.2901). Any model will do; of one with a code the encoder is shown, else
what comes before the first enlargement. Read next: ``report.panel``, which draws it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError
from pellucid.images.picture import scaled
from pellucid.learn.models import Autoencoder, Restorer
from pellucid.learn.sources import fitted
from pellucid.uses.embed import opened, prepared, tensor

LARGEST = 512
"""A picture whose shorter side is larger is cut to its middle square and reduced first."""

COLUMNS = 10
CELL = 96
"""Pixels that a filter or a map is enlarged to at least, by a whole factor."""

ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ReLU6, nn.ELU, nn.PReLU),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus),
)


@dataclass(frozen=True)
class Level:
    """What a network finds at one resolution.

    Attributes:
        layer: The module whose output it is.
        maps: (K, h, w) float32; (K, 1, 1) for a dense code.
        silent: How many of the K say the same everywhere.
    """

    layer: str
    maps: np.ndarray
    silent: int

    @property
    def liveliest(self) -> list[int]:
        """The maps in order of how much they vary over the picture."""
        return [int(i) for i in np.argsort(-self.maps.std((1, 2)), kind="stable")]


@dataclass(frozen=True)
class Features:
    """The filters of the first layer, and the levels of the network for one picture.

    Attributes:
        picture: As it was looked at, (H, W, C) float32 in [0, 1].
        filters: (K, C, k, k) float32, one for each unit of the first layer.
        levels: From the finest to the coarsest.
        code: The dense code, (K,), or None.
    """

    picture: np.ndarray
    filters: np.ndarray
    levels: tuple[Level, ...]
    code: np.ndarray | None


def features(model: Restorer | str | Path, picture: np.ndarray) -> Features:
    """What `model` finds in a picture.

    Args:
        model: Any model, checkpoint, run folder or shipped name.
        picture: (H, W, C) uint8 or float32 in [0, 1]; it is brought to the model's channels and to
            the size that the model is bound to.

    Raises:
        OptionError: The model has no convolution.
    """
    network = opened(model)
    if min(picture.shape[:2]) > LARGEST:
        picture = fitted(picture[None], LARGEST)[0]
    picture = prepared(network, picture)
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        raise OptionError(f"'{network.kind}' has no convolution, so there are no filters to show")
    some = first.weight
    training = network.training
    network.eval()
    try:
        with _listening(network) as heard, torch.inference_mode():
            image = tensor(picture[None], some.device).to(some.dtype)
            code = network.encode(image) if isinstance(network, Autoencoder) else network(image)
    finally:
        network.train(training)
    dense = code[0].float().cpu().numpy() if code.ndim == 2 else None
    return Features(
        picture=scaled(picture),
        filters=_filters(some.detach().float().cpu(), network.image_channels),
        levels=tuple(_levels(heard)),
        code=dense,
    )


def _filters(weight: Tensor, channels: int) -> np.ndarray:
    """The first layer's kernels as it sees the picture: those on an unshuffled one are shuffled."""
    folded = weight.shape[1] // channels
    factor = round(folded**0.5)
    if factor > 1 and factor**2 * channels == weight.shape[1]:
        weight = F.pixel_shuffle(weight, factor)
    return weight.numpy()


@contextmanager
def _listening(network: nn.Module) -> Iterator[list[tuple[str, bool, Tensor]]]:
    """Hear every layer's output (its name, whether it is an activation's, the maps) in order."""
    heard: list[tuple[str, bool, Tensor]] = []

    def hook(name: str) -> Any:
        def note(module: nn.Module, _: Any, output: Any) -> None:
            maps = output[0] if isinstance(output, tuple) else output
            if isinstance(maps, Tensor) and maps.ndim == 4:
                # A copy: an activation in place would change what was heard before it.
                heard.append((name, isinstance(module, ACTIVATIONS), maps[:1].clone()))

        return note

    hooks = [
        module.register_forward_hook(hook(name))
        for name, module in network.named_modules()
        if not list(module.children()) and not isinstance(module, nn.Identity)
    ]
    try:
        yield heard
    finally:
        for each in hooks:
            each.remove()


def _levels(heard: list[tuple[str, bool, Tensor]]) -> Iterator[Level]:
    """One level for each resolution on the way down: its last activation, else its last layer."""
    stages: list[list[tuple[str, bool, Tensor]]] = []
    for told in heard:
        pixels = told[2].shape[-1] * told[2].shape[-2]
        before = stages[-1][-1][2] if stages else None
        if before is None or pixels < before.shape[-1] * before.shape[-2]:
            stages.append([told])
        elif pixels == before.shape[-1] * before.shape[-2]:
            stages[-1].append(told)
        else:
            break
    for stage in stages:
        name, _, maps = next((told for told in reversed(stage) if told[1]), stage[-1])
        found = maps[0].float().cpu().numpy()
        span = found.max((1, 2)) - found.min((1, 2))
        yield Level(name, found, int((span <= 1e-6 * max(1e-6, float(np.abs(found).max()))).sum()))


@dataclass(frozen=True)
class Grid:
    """Pictures in rows with labels, as `report.panel` takes them."""

    cells: list[list[np.ndarray]]
    rows: list[str]


def grid(found: Features, columns: int = COLUMNS) -> Grid:
    """Filters and maps as pictures of one size: for each level those that vary most.

    A filter is grey where it does nothing, lighter where it adds; a map is black where it is
    lowest and white from where it is highest.
    """
    high, wide = found.picture.shape[:2]
    side = max(CELL, min(192, max(high, wide)))
    target = (
        max(1, round(side * high / max(high, wide))),
        max(1, round(side * wide / max(high, wide))),
    )
    strength = np.argsort(-np.abs(found.filters).sum((1, 2, 3)), kind="stable")[:columns]
    kernel = found.filters.shape[-1]
    cells = [
        [_scaled_to(found.picture, target)],
        [_scaled_to(_signed(found.filters[i]), (side, side)) for i in strength],
    ]
    rows = ["picture", f"filters {kernel}x{kernel}: {len(strength)} of {len(found.filters)}"]
    for level in found.levels:
        chosen = level.liveliest[:columns]
        cells.append([_scaled_to(_stretched(level.maps[i])[..., None], target) for i in chosen])
        count, down, across = level.maps.shape
        silent = f", {level.silent} silent" if level.silent else ""
        rows.append(f"{down}x{across}: {len(chosen)} of {count}{silent}")
    if found.code is not None:
        across = int(np.ceil(len(found.code) ** 0.5))
        values = np.ones(across * -(-len(found.code) // across), np.float32)
        values[: len(found.code)] = _stretched(found.code)
        square = values.reshape(-1, across, 1)
        cells.append([_scaled_to(square, (side * len(square) // across, side))])
        rows.append(f"code: {len(found.code)} numbers")
    return Grid(cells, rows)


def _signed(kernel: np.ndarray) -> np.ndarray:
    """A filter (C, k, k) as a picture (k, k, 1 or 3) in [0, 1], grey 0.5 where it is nothing."""
    shown = kernel if kernel.shape[0] in (1, 3) else kernel.mean(0, keepdims=True)
    largest = float(np.abs(shown).max()) or 1.0
    return 0.5 + 0.5 * shown.transpose(1, 2, 0) / largest


def _stretched(values: np.ndarray) -> np.ndarray:
    """Values between 0 and 1, lowest to highest; grey 0.5 where all are one.

    White begins where a two-hundredth is higher: a single strong pixel would leave the rest black.
    """
    low, high = float(values.min()), float(values.max())
    high = max(float(np.percentile(values, 99.5)), low + 0.1 * (high - low))
    if high - low <= 1e-6 * max(1e-6, abs(high), abs(low)):
        return np.full(values.shape, 0.5, np.float32)
    stretched: np.ndarray = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
    return stretched


def _scaled_to(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (h, w, C) enlarged with sharp pixels, or reduced by taking every so many."""
    rows = (np.arange(size[0]) * picture.shape[0]) // size[0]
    columns = (np.arange(size[1]) * picture.shape[1]) // size[1]
    enlarged: np.ndarray = picture[rows][:, columns]
    return enlarged
