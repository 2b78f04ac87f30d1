"""The pictures of an evaluation, and what is done to each before a model or a baseline sees it.

Every picture has a random generator of its own, so its damage depends on no other picture: a
baseline that sees twenty of them sees the same twenty as the model did. Read next: `rivals` and
`evaluate`, which restore what comes from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.learn.damage import Damage
from pellucid.learn.metrics import METRICS
from pellucid.learn.pictures import Pictures

Pixels = NDArray[np.float32]

BATCH_PIXELS = 1 << 19
BATCH_IMAGES = 256


class Pair(NamedTuple):
    """A picture (1, C, H, W), damaged and clean, and the strengths that were drawn for it."""

    damaged: Tensor
    clean: Tensor
    strengths: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trial:
    """The pictures of an evaluation and what is done to them."""

    pictures: Pictures
    damage: Damage | None
    clip: bool
    seed: int

    def pair(self, index: int) -> Pair:
        """A picture, damaged and clean; the same each time that it is asked for."""
        clean = self.pictures.image(index).cpu()
        if self.damage is None:
            return Pair(cast(Tensor, self.pictures.damaged_image(index)).cpu(), clean)
        state = np.random.SeedSequence([self.seed, index]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        strengths = self.damage.draw(1, generator)
        damaged = self.damage.apply(clean, strengths, generator)
        damaged = damaged.clamp(0, 1) if self.clip else damaged
        # Without a stage the picture itself comes back, and a model may work in place.
        damaged = damaged.clone() if damaged is clean else damaged
        return Pair(damaged, clean, tuple(strengths[0].tolist()))

    def told(self, index: int, pair: Pair) -> dict[str, Any]:
        """What a report says of a picture beside its scores."""
        height, width = self.pictures.sizes[index].tolist()
        path = self.pictures.paths[index] if self.pictures.paths else None
        told: dict[str, Any] = {"index": index, "path": path, "height": height, "width": width}
        if self.damage is not None and self.damage.blind:
            told["strengths"] = list(pair.strengths)
        return told

    def sigma(self, pair: Pair) -> float | None:
        """The true noise level of a picture where the damage is Gaussian noise and nothing else."""
        if self.damage is None:
            return None
        return self.damage.drawn(torch.tensor(pair.strengths, dtype=torch.float64)).sigma

    @property
    def rounded(self) -> bool:
        """Whether the pictures are of 8 bits, and restored ones are rounded as their files are."""
        return self.pictures.pixels.dtype == torch.uint8

    def finished(self, restored: Tensor) -> Tensor:
        """The restored pictures as a file would hold them."""
        restored = restored.float().clamp(0, 1)
        return restored.mul(255).round().div(255) if self.rounded else restored

    def batches(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """The indices in groups of one picture size, each small enough to run at once."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index in indices:
            groups.setdefault(tuple(self.pictures.sizes[index].tolist()), []).append(index)
        for (height, width), members in groups.items():
            count = max(1, min(BATCH_IMAGES, BATCH_PIXELS // (height * width)))
            for start in range(0, len(members), count):
                yield members[start : start + count]


def scores(images: Tensor, clean: Tensor) -> list[dict[str, float]]:
    """Every metric of every picture of a batch."""
    columns = {name: metric(images, clean).tolist() for name, metric in METRICS.items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(len(clean))]


def mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over pictures."""
    return {name: float(np.mean([score[name] for score in scores])) for name in METRICS}


def spread(total: int, most: int | None) -> list[int]:
    """Up to `most` of `total` places, evenly over the whole: folders may be sorted by class."""
    if most is None or most >= total:
        return list(range(total))
    return [i * total // most for i in range(most)]


def picture(image: Tensor) -> Pixels:
    """(1, C, H, W) to (H, W, C)."""
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def tensor(picture: Pixels) -> Tensor:
    """(H, W, C) to (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
