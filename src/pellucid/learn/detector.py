"""A detector of defects: pictures to views, views to a map of how strange each place is.

Everything that it needs is in it, the frozen network's weights, too. Arrays come and go: this is
the door between `uses`, which knows files, and the tensors of `reconstruction`. Read next:
`detector_files` for its file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError, unknown
from pellucid.learn import machine
from pellucid.learn.models.backbones import Backbone, backbone
from pellucid.learn.pixel_errors import ERRORS
from pellucid.learn.pixel_reconstruction import PixelReconstruction
from pellucid.learn.reconstruction import FeatureReconstruction, Reconstruction
from pellucid.learn.whole_reconstruction import CELLS, WholeReconstruction

METHODS = ("features", "gaussian", "whole", "pixels")
SIZES = {"features": 384, "gaussian": 384, "whole": 224, "pixels": 256}
"""Side of the square that has as many pixels as the good picture in the middle is given."""

SMALLEST, LARGEST = 32, 4096
STAGES = 4
USED = (1, 2, 3)
"""Stages of the frozen network that are looked at: of every 4th, 8th and 16th pixel."""

GRID = 8
MULTIPLE = 16
MARGIN = 32
TOP = 0.002
"""Share of the strangest places whose mean is the picture's score, at least one place."""

ROOM = 2**20
"""Pixels that go through the frozen network at a time."""

Pixels = NDArray[np.float32]


class Detector(nn.Module):
    """Maps and scores of pictures, higher is stranger.

    Args:
        method: 'features' reconstructs features of a frozen EfficientNet-Lite0, 'gaussian' measures
            how far they lie from their mean without an autoencoder, 'whole' reconstructs what they
            are on average in each quarter of a picture, 'pixels' reconstructs pixels.
        size: See `SIZES`.
        scale: By how much all pictures are enlarged; found by `fit_to`.
        levels: What is black and what is white, in the pictures' own units.
        code: Channels of the code; None for the method's own.
        error: For 'pixels', a name in `pixel_errors.ERRORS`.
        image_channels: For 'pixels', 1 for grey and 3 for colour.
        weights: Of the frozen network: 'imagenet', or 'random' where a file brings them.

    Attributes:
        metadata: What the file said beside the above; empty for a new one.
    """

    def __init__(
        self,
        *,
        method: str = "features",
        size: int | None = None,
        scale: float = 1.0,
        levels: tuple[float, float] = (0.0, 1.0),
        code: int | None = None,
        error: str = "l2",
        image_channels: int = 1,
        weights: str = "imagenet",
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise unknown("method", method, METHODS)
        if error not in ERRORS:
            raise unknown("error", error, ERRORS)
        size = SIZES[method] if size is None else size
        if not SMALLEST <= size <= LARGEST:
            raise OptionError(f"size is {size}; from {SMALLEST} to {LARGEST} pixels work")
        if error != "l2" and method != "pixels":
            raise OptionError(f"error '{error}' is for method 'pixels', and this is '{method}'")
        if method == "gaussian" and code:
            raise OptionError("method 'gaussian' has no autoencoder and so no code; leave it out")
        if not (0 < scale < math.inf and -math.inf < levels[0] < levels[1] < math.inf):
            raise OptionError(f"scale {scale} and levels {levels} are not possible")
        self.method = method
        self.options: dict[str, Any] = {
            "method": method,
            "size": size,
            "scale": float(scale),
            "levels": (float(levels[0]), float(levels[1])),
            "code": code,
            "error": error,
            "image_channels": image_channels,
        }
        self.metadata: dict[str, Any] = {}
        self.backbone: Backbone | None = None
        if method != "pixels":
            self.backbone = backbone("efficientnet_lite0", weights=weights, stages=STAGES)
        self.reconstruction = self.new_reconstruction()
        self.eval()

    def new_reconstruction(self) -> Reconstruction:
        """What has learnt nothing yet, for these options."""
        code = self.options["code"]
        if self.backbone is None:
            return PixelReconstruction(
                image_channels=self.options["image_channels"],
                error=self.options["error"],
                code=8 if code is None else code,
            )
        channels = sum(self.backbone.widths[stage] for stage in USED)
        if self.method == "whole":
            return WholeReconstruction(channels=channels, code=16 if code is None else code)
        code = 0 if self.method == "gaussian" else 24 if code is None else code
        return FeatureReconstruction(channels=channels, code=code)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.reconstruction.ordinary.device

    def fit_to(self, shapes: Sequence[tuple[int, int]]) -> None:
        """Choose one scale for all pictures, so that the middle one gets as many pixels as `size`.

        One scale, and not one size: parts that are cut out of pictures of one camera differ in
        size, but what is a scratch on one is as wide on another. The aspect is kept.
        """
        middle = float(np.median([math.sqrt(height * width) for height, width in shapes]))
        self.options["scale"] = self.options["size"] / middle

    def given(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that a picture is brought to: multiples of 16, from 64.

        None gets more than four times the area of the middle one, however large it is.
        """
        most = 2 * self.options["size"] / math.sqrt(height * width)
        scale = min(self.options["scale"], most)
        tall, wide = (max(4, round(side * scale / MULTIPLE)) * MULTIPLE for side in (height, width))
        # Of a strip the short side was raised, so the long one may be too much.
        area = (2 * self.options["size"]) ** 2
        longest = max(4, area // min(tall, wide) // MULTIPLE) * MULTIPLE
        return min(tall, longest), min(wide, longest)

    def view(self, pictures: Sequence[Pixels]) -> list[Tensor]:
        """What is learnt from and looked at, float16 on the CPU, one for each picture.

        Args:
            pictures: (H, W, 1 or 3) each, in their own units.
        """
        found: list[Tensor] = []
        for batch in self._batches(pictures):
            found += list(self._features(batch) if self.backbone else batch.half().cpu())
        return found

    def view_bytes(self, height: int, width: int) -> int:
        """Memory that the view of a picture takes."""
        tall, wide = self.given(height, width)
        if self.backbone is None:
            return 2 * int(self.options["image_channels"]) * tall * wide
        places = CELLS**2 if self.method == "whole" else (tall // GRID) * (wide // GRID)
        return 2 * sum(self.backbone.widths[stage] for stage in USED) * places

    def strangeness(self, view: Tensor) -> NDArray[np.float32]:
        """How strange each place of a view is, (h, w); 1 is the upper end of the ordinary."""
        found: NDArray[np.float32] = self.reconstruction.strangeness(view).cpu().numpy()
        return found

    def judge(self, picture: Pixels) -> tuple[float, NDArray[np.float32]]:
        """The score of a picture, and its map (H, W) at the picture's own size."""
        found = self.strangeness(self.view([picture])[0])
        return score(found), enlarged(found, picture.shape[:2])

    def _batches(self, pictures: Sequence[Pixels]) -> Iterator[Tensor]:
        """Neighbours that are brought to the same size, together."""
        waiting: list[Tensor] = []
        for picture in pictures:
            prepared = self._prepared(picture)
            full = len(waiting) * prepared.shape[-2] * prepared.shape[-1] >= ROOM
            if waiting and (full or waiting[0].shape != prepared.shape):
                yield torch.cat(waiting).to(self.device)
                waiting = []
            waiting.append(prepared)
        if waiting:
            yield torch.cat(waiting).to(self.device)

    def _prepared(self, picture: Pixels) -> Tensor:
        """(1, C, H', W') between black and white, a little beyond where a picture goes beyond."""
        black, white = self.options["levels"]
        wanted = self.options["image_channels"] if self.backbone is None else 3
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        x = ((torch.from_numpy(planes) - black) / (white - black)).clamp(-0.5, 1.5)
        if x.shape[1] > wanted:
            x = x.mean(1, keepdim=True)
        return F.interpolate(
            x.expand(-1, wanted, -1, -1),
            size=self.given(x.shape[-2], x.shape[-1]),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )

    @torch.inference_mode()
    def _features(self, x: Tensor) -> Tensor:
        """Features of the stages used on the grid of the middle one, (B, C, H / 8, W / 8).

        Of 'whole' their means over the quarters of each picture, (B, C, 2, 2).
        """
        assert self.backbone is not None
        # What lies beyond the border is mirrored, and cut off again: the zeros that the network
        # puts there look like an edge.
        maps = self.backbone(F.pad(x, (MARGIN,) * 4, mode="reflect"))
        size = (x.shape[-2] // GRID, x.shape[-1] // GRID)
        found = []
        for stage in USED:
            margin = MARGIN // 2 ** (stage + 1)
            inner = maps[stage][..., margin:-margin, margin:-margin]
            if inner.shape[-1] > size[1]:
                inner = F.adaptive_avg_pool2d(inner, size)
            elif inner.shape[-1] < size[1]:
                inner = F.interpolate(inner, size=size, mode="bilinear", align_corners=False)
            found.append(inner)
        features = torch.cat(found, 1)
        if self.method == "whole":
            features = F.adaptive_avg_pool2d(features, CELLS)
        return features.half().cpu()

    def to_device(self, wanted: str) -> Detector:
        """Itself, on 'auto', 'cpu', 'cuda' or 'mps'."""
        self.to(machine.device(wanted))
        return self


def learn(
    reconstruction: Reconstruction, views: Sequence[Tensor], *, steps: int, seed: int
) -> None:
    """Let a new reconstruction see good pictures, and note what is ordinary where.

    Args:
        reconstruction: Of `Detector.new_reconstruction`, on the device to work on.
        views: Of `Detector.view`.
        steps: Of training; 'gaussian' has none.
        seed: Decides weights and windows.
    """
    reconstruction.fit(views, steps=steps, seed=seed)
    reconstruction.learn_ordinary(views)


def score(strangeness: NDArray[np.float32]) -> float:
    """The score of a picture: the mean of its strangest places (`TOP`)."""
    flat = strangeness.ravel()
    count = max(1, round(TOP * flat.size))
    return float(np.partition(flat, flat.size - count)[-count:].mean(dtype=np.float64))


def enlarged(strangeness: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """A map at a picture's size, by straight lines between its values."""
    tensor = torch.from_numpy(np.ascontiguousarray(strangeness))[None, None]
    size = (int(shape[0]), int(shape[1]))
    grown = F.interpolate(tensor, size=size, mode="bilinear", align_corners=False, antialias=True)
    found: NDArray[np.float32] = grown[0, 0].numpy()
    return found
