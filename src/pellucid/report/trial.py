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

from pellucid.errors import OptionError
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
    """The pictures of an evaluation and what is done to them.

    Attributes:
        pictures: The clean ones, with damaged partners where the data has them.
        damage: What is done to them; None where the partners are what is to be restored.
        clip: Keep damaged values in [0, 1].
        seed: Where the damage comes from.
        published: The noise of the published tables instead, drawn and left as they have it; for
            one fixed Gaussian noise on pictures of 8 bits.
        missing: What stands where a mask took a pixel away; NaN for models that fill holes.
    """

    pictures: Pictures
    damage: Damage | None
    clip: bool
    seed: int
    published: bool = False
    missing: float = 0.0

    def __post_init__(self) -> None:
        if not self.published:
            return
        done = "pairs" if self.damage is None else str(self.damage)
        given = ""
        if self.damage is None or self.damage.sigma is None:
            given = f"the damage '{done}'; give one fixed Gaussian noise, such as gaussian:25/255"
        elif self.seed != 0:
            given = f"seed {self.seed}; its seed is 0, leave it out"
        elif not self.rounded:
            given = "pictures of more than 8 bits; save them with 8 bits, or score them without it"
        if given:
            raise OptionError(f"the published protocol has no place for {given}")

    def pair(self, index: int) -> Pair:
        """A picture, damaged and clean; the same each time that it is asked for."""
        clean = self.pictures.image(index).cpu()
        if self.damage is None:
            return Pair(cast(Tensor, self.pictures.damaged_image(index)).cpu(), clean)
        state = np.random.SeedSequence([self.seed, index]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        strengths = self.damage.draw(1, generator)
        if self.published:
            damaged = as_published(clean, self.damage.sigma or 0.0)
        else:
            damaged = self.damage.apply(clean, strengths, generator, missing=self.missing)
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


def as_published(clean: Tensor, sigma: float) -> Tensor:
    """The picture (1, C, H, W) with the very noise of the published tables.

    From numpy's old generator, seeded with 0 for each picture, drawn in float64 in the order (H, W,
    C), not clipped: what the authors of DnCNN, FFDNet and DRUNet give their networks,
    https://github.com/cszn/KAIR.
    """
    pixels = clean[0].permute(1, 2, 0).double().numpy()
    noise = np.random.RandomState(0).normal(0, sigma, pixels.shape)
    return tensor((pixels + noise).astype(np.float32)).contiguous()


def scores(images: Tensor, clean: Tensor) -> list[dict[str, float]]:
    """Every metric of every picture of a batch."""
    columns = {name: metric(images, clean).tolist() for name, metric in METRICS.items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(len(clean))]


def mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over pictures."""
    return {name: float(np.mean([score[name] for score in scores])) for name in METRICS}


def check_limit(limit: int | None, name: str = "limit") -> None:
    """Refuse to judge less than one picture."""
    if limit is not None and limit < 1:
        raise OptionError(f"{name} {limit} is not possible; give at least 1")


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes."""
    if seed < 0:
        raise OptionError(f"seed {seed} is not possible; give 0 or more")


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
