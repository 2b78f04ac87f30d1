"""What good pictures look like, learnt by reconstructing them, and how strange others are where.

A `Reconstruction` works on views, which are grids (C, h, w) made from pictures: features of a
frozen classifier here, pixels in `pixel_reconstruction`. Read next: `detector`, which makes the
views and keeps the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError

PLACES = 32
"""Rows and columns of the table of what is ordinary where."""

PRIOR = 4
"""How many pictures the mean over all places counts for in that table, beside those seen."""

WINDOW = 16
BATCH = 16
RATE = 2e-3


class Reconstruction(nn.Module):
    """Errors of reconstruction, in units of what good pictures show at the same place.

    The edge of a part errs more than its middle in every good picture; without the second half of
    that sentence the edges drown all defects (image AUROC of drawn defects on held-out magnetic
    tiles .62 without, .84 with). Places are relative: pictures may differ in size.
    """

    kind: ClassVar[str] = ""
    ordinary: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ordinary", torch.ones(PLACES, PLACES))

    def error(self, view: Tensor) -> Tensor:
        """Error of reconstruction at each place, (h', w') from 0, for one view (C, h, w)."""
        raise NotImplementedError

    def fit(self, views: Sequence[Tensor], *, steps: int, seed: int) -> None:
        """Learn from the views of good pictures, which may differ in size."""
        raise NotImplementedError

    @torch.no_grad()
    def strangeness(self, view: Tensor) -> Tensor:
        """Error in units of what is ordinary there, (h', w'); 1 is the upper end of it."""
        error = self.error(view.to(self.ordinary.device).float())
        return error / _resized(self.ordinary, error.shape)

    @torch.no_grad()
    def learn_ordinary(self, views: Sequence[Tensor]) -> None:
        """Note for each place the mean error of good pictures and two deviations above it.

        The table is drawn towards its own mean where pictures are few, and smoothed over 3x3.
        """
        device, count = self.ordinary.device, len(views)
        first = torch.zeros(PLACES, PLACES, dtype=torch.float64)
        second = first.clone()
        for view in views:
            table = _resized(self.error(view.to(device).float()), first.shape).cpu().double()
            first += table
            second += table.square()
        mean = first / count
        spread = (second / count - mean.square()).clamp(min=0).sqrt()
        upper = mean + 2 * spread
        upper = (count * upper + PRIOR * upper.mean()) / (count + PRIOR)
        smooth = F.avg_pool2d(F.pad(upper[None, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0]
        # Pictures that are reconstructed without any error (all of one colour) divide by nothing.
        floor = max(1e-3 * float(smooth.mean()), 1e-8)
        self.ordinary = smooth.clamp(min=floor).float().to(device)


class FeatureReconstruction(Reconstruction):
    """A convolutional autoencoder with a narrow code, of features of a frozen network.

    The idea is that of DFR (Shi, Yang, Qi 2020, https://arxiv.org/abs/2012.07122). Its squared
    error treats all features alike; here what the autoencoder leaves over is measured by its own
    covariance on good pictures (a Mahalanobis distance), so that a small error counts where errors
    are always small. Without the autoencoder (`code` 0) that is the Gaussian of all features, as
    of Rippel et al. 2020, https://arxiv.org/abs/2005.14140.

    Args:
        channels: Features at each place.
        code: Channels of the code; 0 for no autoencoder.
    """

    kind = "features"
    mean: Tensor
    deviation: Tensor
    centre: Tensor
    whitening: Tensor

    def __init__(self, *, channels: int, code: int = 24) -> None:
        super().__init__()
        if not 0 <= code < channels:
            raise OptionError(
                f"code is {code}; it takes from 1 to {channels - 1} of the {channels} features, "
                "or 0 for no autoencoder"
            )
        self.options: dict[str, Any] = {"channels": channels, "code": code}
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))
        self.register_buffer("centre", torch.zeros(channels, 1, 1))
        self.register_buffer("whitening", torch.eye(channels))
        self.network = _autoencoder(channels, code) if code else None

    def residual(self, view: Tensor) -> Tensor:
        """What the autoencoder leaves over of standardised features, (C, h, w)."""
        wanted = (view - self.mean) / self.deviation
        if self.network is None:
            return wanted
        left: Tensor = wanted - self.network(wanted[None])[0]
        return left

    def error(self, view: Tensor) -> Tensor:
        """Mean square of the whitened residual, (h, w)."""
        left = (self.residual(view) - self.centre).flatten(1)
        return (self.whitening @ left).square().mean(0).view(view.shape[1:])

    def fit(self, views: Sequence[Tensor], *, steps: int, seed: int) -> None:
        """Standardise, train the autoencoder, and whiten what it leaves over."""
        device = self.mean.device
        mean, covariance = _moments(views, lambda view: view, device)
        deviation = covariance.diagonal().clamp(min=0).sqrt().clamp(min=1e-3)
        self.mean = mean.float().view(-1, 1, 1).to(device)
        self.deviation = deviation.float().view(-1, 1, 1).to(device)
        if self.network is not None:
            network = self.network
            chance = torch.Generator().manual_seed(seed)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                for layer in network.modules():
                    if isinstance(layer, nn.Conv2d):
                        layer.cpu().reset_parameters()
            network.to(device)

            def loss(batch: Tensor) -> Tensor:
                wanted = (batch - self.mean) / self.deviation
                return F.mse_loss(network(wanted), wanted)

            train(network, loss, windows(views, WINDOW, BATCH, chance), steps, device)
        with torch.no_grad():
            centre, covariance = _moments(views, self.residual, device)
        # A thousandth of the mean variance, lest directions without any be infinitely strange.
        ridge = 1e-3 * covariance.diagonal().mean().clamp(min=1e-6)
        covariance = covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype)
        lower = torch.linalg.cholesky(covariance)
        unit = torch.eye(len(lower), dtype=lower.dtype)
        whitening = torch.linalg.solve_triangular(lower, unit, upper=False)
        self.centre = centre.float().view(-1, 1, 1).to(device)
        self.whitening = whitening.float().to(device)


def windows(
    views: Sequence[Tensor], side: int, count: int, chance: torch.Generator
) -> Iterator[Tensor]:
    """Batches (count, C, side, side) cut from views at random, without end.

    The side is that of the smallest view where one is smaller.
    """
    high = min(side, *(view.shape[1] for view in views))
    wide = min(side, *(view.shape[2] for view in views))
    while True:
        cuts = []
        for which, down, across in torch.rand(count, 3, generator=chance).tolist():
            view = views[int(which * len(views))]
            top = int(down * (view.shape[1] - high + 1))
            left = int(across * (view.shape[2] - wide + 1))
            cuts.append(view[:, top : top + high, left : left + wide])
        yield torch.stack(cuts).float()


def train(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    batches: Iterator[Tensor],
    steps: int,
    device: torch.device,
) -> None:
    """So many steps of AdamW at a rate that rises for a tenth of them and then falls to nothing."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=max(steps, 2), pct_start=0.1
    )
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss(next(batches).to(device)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.eval()


def _autoencoder(channels: int, code: int) -> nn.Sequential:
    """1x1 convolutions but around the code, where two of 3x3 look one place aside."""
    wide, narrow = min(128, channels), min(64, channels)
    return nn.Sequential(
        nn.Conv2d(channels, wide, 1),
        nn.GELU(),
        nn.Conv2d(wide, narrow, 1),
        nn.GELU(),
        nn.Conv2d(narrow, code, 3, padding=1),
        nn.Conv2d(code, narrow, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(narrow, wide, 1),
        nn.GELU(),
        nn.Conv2d(wide, channels, 1),
    )


def _moments(
    views: Sequence[Tensor], seen: Callable[[Tensor], Tensor], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C, C) of `seen(view)` over all places of all views.

    Products on the device, sums in float64 on the CPU: not every device has that.
    """
    total, sums, products = 0, torch.zeros(1), torch.zeros(1)
    for view in views:
        rows = seen(view.to(device).float()).flatten(1)
        total += rows.shape[1]
        sums = sums + rows.sum(1).cpu().double()
        products = products + (rows @ rows.T).cpu().double()
    mean = sums / total
    return mean, products / total - mean[:, None] * mean[None]


def _resized(table: Tensor, size: Sequence[int]) -> Tensor:
    """A table (h, w) at another size, by straight lines between its values."""
    tall, wide = int(size[0]), int(size[1])
    return F.interpolate(
        table[None, None], size=(tall, wide), mode="bilinear", align_corners=False, antialias=False
    )[0, 0]
