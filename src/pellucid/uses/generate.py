"""Pictures made from codes: new ones, pictures through the code, paths between and along them.

Each method of `Maker` gives a `Grid` of pictures to be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import DataError, OptionError
from pellucid.learn import frechet
from pellucid.uses.decoding import BATCH, LEARNT, Decoding
from pellucid.uses.interpolation import straight

ACROSS = 8
"""Pictures in a row of reconstructions."""
MOST = 10_000
"""Most pictures in a grid."""


@dataclass(frozen=True)
class Grid:
    """Pictures in rows, with what they are.

    Attributes:
        rows: Pictures (H, W, C), float32 in [0, 1]; the last row may be shorter.
        labels: What each row is, or nothing.
        columns: What each column is, or nothing.
        about: What was made, in a line.
    """

    rows: tuple[tuple[np.ndarray, ...], ...]
    about: str
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nearness:
    """Fréchet distances of as many samples and pictures.

    Attributes:
        samples: From new pictures to those that were learnt from.
        halves: From other pictures that were learnt from to the same: what cannot be improved on.
        count: Pictures on each side.
    """

    samples: float
    halves: float
    count: int

    def __str__(self) -> str:
        return (
            f"Fréchet distance of {self.count} samples {self.samples:.4g}, "
            f"of as many training pictures {self.halves:.4g}"
        )


class Maker(Decoding):
    """Makes pictures from codes; takes what `Decoding` takes."""

    def samples(self, count: int = 64) -> Grid:
        """New pictures, in a square."""
        _check_count(count)
        made = _shown(self._decoded(self.prior.draw(count, generator=self._chance(1))))
        across = math.ceil(math.sqrt(count))
        rows = tuple(made[i : i + across] for i in range(0, count, across))
        towards = "the standard normal"
        if self.kind == "mixture":
            towards = f"a mixture of {self.components} normals fitted to codes"
        return Grid(rows, f"{count} samples from {towards}, seed {self.seed}")

    def reconstructions(self, count: int = 32, *, split: str = "test") -> Grid:
        """Pictures of the data, and beneath each what its code says of it."""
        _check_count(count)
        chosen = self._chosen(split, count)
        made = _shown(torch.cat([self._restored(part) for part in torch.split(chosen, BATCH)]))
        given = _shown(chosen)
        rows: list[tuple[np.ndarray, ...]] = []
        for i in range(0, len(given), ACROSS):
            rows += [given[i : i + ACROSS], made[i : i + ACROSS]]
        labels = ("picture", "decoded") * (len(rows) // 2)
        return Grid(tuple(rows), f"{len(given)} pictures through the code", labels)

    def interpolations(self, count: int = 8, *, split: str = "test", steps: int = 9) -> Grid:
        """Straight paths between the codes of two pictures of the data, or of two samples."""
        _check_count(count)
        _check_steps(steps)
        if self.data:
            ends = self._chosen(split, 2 * count)
            if len(ends) < 2:
                raise DataError("a path needs two pictures, and the data has one")
            codes = self._encoded(ends)
        else:
            ends = None
            codes = self.prior.draw(2 * count, generator=self._chance(1))
        count = len(codes) // 2
        ones, others = codes[:count], codes[count : 2 * count]
        amounts = torch.linspace(0, 1, steps)
        paths = [self._decoded(straight(*pair, amounts)) for pair in zip(ones, others, strict=True)]
        rows = [_shown(path) for path in paths]
        columns = [f"{amount:.3g}" for amount in amounts.tolist()]
        if ends is not None:
            shown = _shown(ends)
            rows = [(shown[i], *row, shown[count + i]) for i, row in enumerate(rows)]
            columns = ["picture", *columns, "picture"]
        between = "pictures" if self.data else "samples"
        return Grid(
            tuple(rows), f"{count} paths between the codes of {between}", (), tuple(columns)
        )

    def walks(self, along: str, count: int = 8, *, split: str = "test", steps: int = 9) -> Grid:
        """Pictures changed along one direction of their codes.

        Args:
            along: ``FROM:TO``, two classes of the data: from pictures of the one in the direction
                from its mean code to the mean code of the other, up to one and a half times the
                way. Or the number of an element of the code (of a channel, where it is spatial):
                from three standard deviations beneath its mean to three above.
            count: Pictures to change, of the data or, for an element, samples without data.
            split: The part of the data that they are taken from.
            steps: Pictures of each walk.
        """
        _check_count(count)
        _check_steps(steps)
        begin, colon, end = along.partition(":")
        if colon:
            starts, direction = self._between(begin.strip(), end.strip(), count, split)
            amounts = torch.linspace(0, 1.5, steps)
        else:
            starts, direction = self._one_by_one(along.strip(), count, split)
            amounts = torch.linspace(-3, 3, steps)
        rows = [
            _shown(self._decoded(torch.stack([start + float(by) * direction for by in amounts])))
            for start in starts
        ]
        what = f"from {begin.strip()} to {end.strip()}" if colon else f"along element {along}"
        columns = tuple(f"{by:+.2g}" if by else "0" for by in amounts.tolist())
        return Grid(tuple(rows), f"{len(rows)} walks {what} of the code", (), columns)

    def nearness(self, features: frechet.Features) -> Nearness:
        """How far samples are from the training pictures, beside other training pictures.

        Args:
            features: The feature network, such as `frechet.code_features` gives; distances by one
                cannot be compared with those by another.
        """
        pictures = self._pictures("train")
        order = torch.randperm(len(pictures), generator=self._chance(4))
        count = min(len(order) // 2, LEARNT)
        if count < 2:
            raise DataError("a Fréchet distance needs at least 4 training pictures")

        def found(images: Tensor) -> Tensor:
            return features(images.to(self.device))

        half, other = (
            frechet.featured(found, pictures.whole(order[i : i + count])[0]) for i in (0, count)
        )
        made = self._decoded(self.prior.draw(count, generator=self._chance(1)))
        return Nearness(
            frechet.frechet_distance(frechet.featured(found, made), half),
            frechet.frechet_distance(other, half),
            count,
        )


def _shown(images: Tensor) -> tuple[np.ndarray, ...]:
    """Images (N, C, H, W) as pictures (H, W, C)."""
    return tuple(images.permute(0, 2, 3, 1).contiguous().numpy())


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        raise OptionError(f"{count} pictures are asked for; a grid shows from 1 to {MOST}")


def _check_steps(steps: int) -> None:
    if not 2 <= steps <= 100:
        raise OptionError(f"steps is {steps}; a path has from 2 to 100")
