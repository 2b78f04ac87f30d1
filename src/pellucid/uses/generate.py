"""Pictures made from codes: new ones, pictures through the code, paths between and along them.

`Maker` holds a model that decodes and where its codes come from; each of its methods gives a `Grid`
of pictures to be seen. Read next: `priors`, where new codes come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import DataError, OptionError, unknown
from pellucid.learn import checkpoints, datasets, frechet, machine
from pellucid.learn.draws import normal
from pellucid.learn.models import Autoencoder, Restorer
from pellucid.learn.models.variational import VariationalAutoencoder
from pellucid.learn.pictures import Pictures
from pellucid.uses.priors import Prior, StandardNormal, fit_mixture

Kind = Literal["normal", "mixture"]
KINDS = ("normal", "mixture")

BATCH = 256
ACROSS = 8
"""Pictures in a row of reconstructions."""
LEARNT = 10_000
"""Most pictures whose codes a prior or a direction is learnt from, and most that are judged."""
MOST = 10_000
"""Most pictures in a grid."""
SIDE = 64
"""Height and width of a new picture where nothing else says them."""


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


class Maker:
    """Makes pictures from codes; the same seed makes the same ones.

    Args:
        model: An autoencoder, or what `checkpoints.load` opens.
        data: Pictures to begin from and to fit a prior to: what `datasets.load` takes.
        prior: 'normal', which a variational autoencoder is trained towards; or 'mixture', fitted to
            the codes of the training pictures of `data`. None takes 'normal' for a variational
            autoencoder and else 'mixture'.
        components: Normals in the mixture.
        size: Side of the pictures; None takes the model's, else that of `data`, else 64.
        seed: Decides all that is drawn by chance.
        device: 'auto', 'cpu', 'cuda' or 'mps'.

    Raises:
        OptionError: The model cannot decode, or has no such prior.
        DataError: Data that the model cannot take.
    """

    def __init__(
        self,
        model: Restorer | str | Path,
        *,
        data: str | Path | None = None,
        prior: Kind | None = None,
        components: int = 10,
        size: int | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        if prior is not None and prior not in KINDS:
            raise unknown("prior", prior, KINDS)
        if size is not None and size < 1:
            raise OptionError(f"size is {size}; a picture is at least 1 pixel wide")
        opened = checkpoints.load(model) if isinstance(model, str | Path) else model
        self.model = _decoding(opened).eval()
        variational = isinstance(self.model, VariationalAutoencoder)
        self.kind: Kind = prior or ("normal" if variational else "mixture")
        if self.kind == "normal" and not variational:
            raise OptionError(
                f"the codes of '{self.model.kind}' were not trained towards a standard normal; "
                "fit a prior to the codes of pictures: --prior mixture --data NAME"
            )
        self.device = machine.device(device)
        self.model.to(self.device)
        self.components, self.seed = components, seed
        bound = self.model.image_size
        if bound and size and bound != (size, size):
            raise OptionError(
                f"size is {size} but this model makes pictures of {bound[0]}x{bound[1]} only; "
                "leave size out"
            )
        self.size = bound or (size or SIDE, size or SIDE)
        self.data = None
        if data is not None:
            self.data = datasets.load(data, channels=self.model.image_channels, size=size)
        if self.data and not bound and not size:
            high, wide = self._pictures("test").sizes[0].tolist()
            self.size = (high, wide)

    # What is made

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
        paths = [self._decoded(_mixed(*pair, amounts)) for pair in zip(ones, others, strict=True)]
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

    @cached_property
    def prior(self) -> Prior:
        """Where new codes come from."""
        if self.kind == "normal":
            return StandardNormal(self._code_shape)
        if self.data is None:
            raise OptionError(
                "a mixture is fitted to the codes of pictures; say which with --data NAME"
            )
        return fit_mixture(self._learnt[0], components=self.components, seed=self.seed)

    # Codes

    @cached_property
    def _code_shape(self) -> tuple[int, ...]:
        image = torch.zeros(1, self.model.image_channels, *self.size, device=self.device)
        with torch.no_grad():
            return tuple(self.model.encode(image).shape[1:])

    @cached_property
    def _learnt(self) -> tuple[Tensor, Tensor | None]:
        """Codes of training pictures as a decoder meets them, and the labels of the pictures."""
        pictures = self._pictures("train")
        order = torch.randperm(len(pictures), generator=self._chance(2))[:LEARNT]
        chance, codes = self._chance(3), []
        for some in torch.split(order, BATCH):
            images = pictures.whole(some)[0].to(self.device)
            if isinstance(self.model, VariationalAutoencoder):
                # The decoder was trained on draws; means alone lie closer together.
                with torch.no_grad():
                    mean, deviation = self.model.posterior(images)
                codes.append((mean + deviation * normal(mean, chance)).cpu())
            else:
                codes.append(self._encoded(images))
        labels = None if pictures.labels is None else pictures.labels[order]
        return torch.cat(codes), labels

    def _between(self, begin: str, end: str, count: int, split: str) -> tuple[Tensor, Tensor]:
        """Codes of pictures of class `begin`, and the way from its mean to that of `end`."""
        pictures = self._pictures(split)
        codes, labels = self._learnt
        if labels is None or pictures.labels is None:
            raise DataError(
                "the data has no classes to walk between; give one with labels, or the number of "
                "an element of the code"
            )
        names = pictures.class_names or tuple(map(str, range(int(labels.max()) + 1)))
        for name in (begin, end):
            if name not in names:
                raise unknown("class", name, names)
        one, other = (names.index(name) for name in (begin, end))
        mine = torch.nonzero(pictures.labels == one).flatten()
        for name, some in ((begin, mine), (begin, labels == one), (end, labels == other)):
            if not len(some) or (some.dtype == torch.bool and not some.any()):
                raise DataError(f"there are no pictures of class '{name}' to walk by")
        direction = codes[labels == other].mean(0) - codes[labels == one].mean(0)
        mine = mine[torch.randperm(len(mine), generator=self._chance(0))[:count]]
        return self._encoded(pictures.whole(mine)[0]), direction

    def _one_by_one(self, element: str, count: int, split: str) -> tuple[Tensor, Tensor]:
        """Codes with one element at its mean, and its standard deviation as a direction."""
        length = self._code_shape[0]
        if not element.isdecimal() or int(element) >= length:
            raise OptionError(
                f"a walk goes from one class to another, FROM:TO, or along an element of the code "
                f"by its number, 0 to {length - 1}; not '{element}'"
            )
        index = int(element)
        direction = torch.zeros(self._code_shape)
        if self.data is None:
            starts = self.prior.draw(count, generator=self._chance(1))
            starts[:, index], direction[index] = 0, 1
        else:
            starts = self._encoded(self._chosen(split, count))
            codes = self._learnt[0][:, index]
            starts[:, index], direction[index] = codes.mean(), codes.std(correction=0)
        return starts, direction

    @torch.no_grad()
    def _encoded(self, images: Tensor) -> Tensor:
        parts = [
            self.model.encode(part.to(self.device)).cpu() for part in torch.split(images, BATCH)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def _decoded(self, codes: Tensor) -> Tensor:
        height, width = self.size
        parts = [
            self.model.decode(part.to(self.device)).cpu() for part in torch.split(codes, BATCH)
        ]
        return torch.cat(parts)[..., :height, :width].clamp(0, 1)

    @torch.no_grad()
    def _restored(self, images: Tensor) -> Tensor:
        restored: Tensor = self.model(images.to(self.device))
        return restored.cpu().clamp(0, 1)

    # Pictures

    def _pictures(self, split: str) -> Pictures:
        if self.data is None:
            raise OptionError("this begins from pictures; say which with --data NAME")
        pictures = self.data.split(split)
        if not pictures.uniform:
            raise DataError(
                f"the pictures of '{self.data.name}' differ in size, and so would their codes; "
                "--size N fits all into squares of N pixels"
            )
        return pictures

    def _chosen(self, split: str, count: int) -> Tensor:
        """Pictures taken by chance, (N, C, H, W), as many as there are at most."""
        pictures = self._pictures(split)
        order = torch.randperm(len(pictures), generator=self._chance(0))
        return pictures.whole(order[:count])[0]

    def _chance(self, purpose: int) -> torch.Generator:
        """Chance that depends on the seed and on what it is for, not on what was made before."""
        word = np.random.SeedSequence((self.seed, purpose)).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(word >> np.uint64(1)))


def _decoding(model: Restorer) -> Autoencoder:
    """The model, if a code alone is enough for it."""
    if not isinstance(model, Autoencoder):
        raise OptionError(
            f"'{model.kind}' restores pictures and has no code to make them from; "
            "train one that has: pellucid train r3-variational -o RUN"
        )
    side = model.multiple_of
    image = torch.zeros(1, model.image_channels, *(model.image_size or (side, side)))
    with torch.no_grad():  # which models decline `decode`, and why, they say themselves
        model.cpu().decode(model.encode(image))
    return model


def _mixed(one: Tensor, other: Tensor, amounts: Tensor) -> Tensor:
    """Codes on the straight line from one to the other, (len(amounts), ...)."""
    return torch.stack([torch.lerp(one, other, float(amount)) for amount in amounts])


def _shown(images: Tensor) -> tuple[np.ndarray, ...]:
    """Images (N, C, H, W) as pictures (H, W, C)."""
    pictures: Sequence[np.ndarray] = list(images.permute(0, 2, 3, 1).contiguous().numpy())
    return tuple(pictures)


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        raise OptionError(f"{count} pictures are asked for; a grid shows from 1 to {MOST}")


def _check_steps(steps: int) -> None:
    if not 2 <= steps <= 100:
        raise OptionError(f"steps is {steps}; a path has from 2 to 100")
