"""A model that decodes, the pictures at hand, and where its codes come from.

Read next: `generate`, which makes pictures of it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import DataError, OptionError, unknown
from pellucid.learn import checkpoints, datasets, machine
from pellucid.learn.draws import normal
from pellucid.learn.models import Autoencoder, Restorer
from pellucid.learn.models.variational import VariationalAutoencoder
from pellucid.learn.pictures import Pictures
from pellucid.uses.priors import Prior, StandardNormal, fit_mixture

Kind = Literal["normal", "mixture"]
KINDS = ("normal", "mixture")

BATCH = 256
LEARNT = 10_000
"""Most pictures whose codes a prior or a direction is learnt from, and most that are judged."""
SIDE = 64
"""Height and width of a new picture where nothing else says them."""


class Decoding:
    """Codes from pictures and by chance, and pictures from codes; the same seed gives the same.

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
        if seed < 0:
            raise OptionError(f"seed {seed} is not possible; give 0 or more")
        if size is not None and size < 1:
            raise OptionError(f"size is {size}; a picture is at least 1 pixel wide")
        opened = checkpoints.load(model) if isinstance(model, str | Path) else model
        self.model = _decoding(opened)
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
            # Whatever their size, pictures are fitted to a code that is bound to a square.
            side = bound[0] if bound and bound[0] == bound[1] else size
            self.data = datasets.load(data, channels=self.model.image_channels, size=side)
        if self.data and not bound and not size:
            high, wide = self._pictures("test").sizes[0].tolist()
            self.size = (high, wide)

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
        model.cpu().eval().decode(model.encode(image))
    return model
