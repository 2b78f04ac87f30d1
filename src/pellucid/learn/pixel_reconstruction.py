"""The classic way: an autoencoder that has only seen good pictures cannot draw a defect.

It needs no pretrained network. What is left over is measured by one of `pixel_errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError, unknown
from pellucid.learn.models import create
from pellucid.learn.pixel_errors import ERRORS
from pellucid.learn.reconstruction import BATCH, Reconstruction, train, windows

CELL = 4
"""Pixels a side whose errors are averaged into one place of the map."""

WINDOW = 64


class PixelReconstruction(Reconstruction):
    """A `conv` autoencoder of pixels, and an error of what it gives back.

    Args:
        image_channels: 1 for grey, 3 for colour.
        error: A name in `pixel_errors.ERRORS`. Training minimises the squared error, and this one
            beside it.
        channels: Widths of the autoencoder's levels.
        code: Channels of its spatial code.
    """

    kind = "pixels"

    def __init__(
        self,
        *,
        image_channels: int = 1,
        error: str = "l2",
        channels: tuple[int, ...] = (16, 32, 64),
        code: int = 8,
    ) -> None:
        super().__init__()
        if error not in ERRORS:
            raise unknown("error", error, ERRORS)
        if code < 1:
            raise OptionError(f"code is {code}; the code takes at least 1 channel")
        self.options: dict[str, Any] = {
            "image_channels": image_channels,
            "error": error,
            "channels": channels,
            "code": code,
        }
        self.measured = ERRORS[error]
        self.network = create(
            "conv",
            channels=channels,
            down="stride",
            up="nearest",
            code_channels=code,
            image_channels=image_channels,
        )

    def error(self, view: Tensor) -> Tensor:
        """Mean error of each square of 4x4 pixels and its neighbours, (h / 4, w / 4)."""
        clean = view[None]
        errors = self.measured(self.network(clean), clean)[None]
        cells = F.avg_pool2d(errors, CELL, ceil_mode=True, count_include_pad=False)
        near = F.pad(cells, (1, 1, 1, 1), mode="replicate")
        return F.avg_pool2d(near, 3, 1)[0, 0]

    def fit(self, views: Sequence[Tensor], *, steps: int, seed: int) -> None:
        """Train the autoencoder."""
        device = self.ordinary.device
        chance = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = create("conv", **self.network.options)
        fresh.start_at(float(torch.stack([view.float().mean() for view in views]).mean()))
        self.network.load_state_dict(fresh.state_dict())

        def loss(clean: Tensor) -> Tensor:
            restored = self.network(clean)
            total = F.mse_loss(restored, clean)
            if self.options["error"] != "l2":
                total = total + 0.1 * self.measured(restored, clean).mean()
            return total

        network: nn.Module = self.network
        train(network, loss, windows(views, WINDOW, BATCH, chance), steps, device)
