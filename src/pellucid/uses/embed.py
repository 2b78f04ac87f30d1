"""Codes of many pictures: every picture of a folder or a data set as one row of numbers.

Pictures are opened one after the other and encoded in batches, so that memory holds the codes and
one batch. A bad file among many is named at the end, and the others are done. Read next:
`code_scores` for what codes are worth, `code_map` for how they lie, `features` for what is before
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.errors import DataError, OptionError, PellucidError, unknown
from pellucid.images.files import atomic
from pellucid.learn import checkpoints, machine
from pellucid.learn.models import Autoencoder, Restorer
from pellucid.learn.sources import fitted, in_channels
from pellucid.restore import zoo
from pellucid.uses.gallery import Gallery, gallery

POOLS = ("auto", "flat", "mean", "max")
"""How a spatial code becomes a row: as it is, or each channel's mean or maximum over the picture;
'auto' takes it as it is where all pictures have one size and the code is small, else means."""

SMALL = 2048
"""Most numbers of a code that 'auto' takes as it is."""

BATCH, BATCH_VALUES = 256, 2**20
"""Most pictures, and about as many values, that are encoded at once."""

Progress = Callable[[int, int], None]
"""Told how many files are done, and how many there are."""


@dataclass(frozen=True)
class Embedding:
    """The codes of a gallery, one row for each picture that could be encoded.

    Attributes:
        codes: (N, D) float32.
        paths: Name of each picture; a page of several is called ``name#2``.
        splits: The split of each.
        labels: Class of each, (N,) int64, or None.
        class_names: What the labels stand for.
        pool: How a code became a row: 'flat', 'mean' or 'max', or 'dense' where it was one.
        shape: Shape of the first picture's code.
        resized: How many pictures were cut and resized before.
        failed: Why the others are missing, a line each.
        places: Item and page of each row in `gallery`.
        gallery: Where the pictures are.
        channels: Channels that the model takes.
        size: The side that pictures were cut and resized to, or None.
    """

    codes: NDArray[np.float32]
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    pool: str
    shape: tuple[int, ...]
    resized: int
    failed: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    gallery: Gallery
    channels: int
    size: int | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def picture(self, row: int) -> np.ndarray:
        """The picture of a row, (H, W, C) uint8 or float32, opened again."""
        item, page = self.places[row]
        return self.gallery.pages(item)[page]

    def save(self, path: str | Path) -> Path:
        """Write an ``.npz``, whole or not at all, which opens without pickle.

        It holds ``codes`` float32 (N, D), ``paths``, ``splits``, ``pool``, and where there are
        classes ``labels`` int64 (N,) with ``class_names``.
        """
        told: dict[str, Any] = {
            "codes": self.codes,
            "paths": np.array(self.paths, np.str_),
            "splits": np.array(self.splits, np.str_),
            "pool": np.array(self.pool),
        }
        if self.labels is not None:
            told |= {"labels": self.labels, "class_names": np.array(self.class_names, np.str_)}
        with atomic(path) as file:
            np.savez(file, **told)
        return Path(path)


def opened(model: Restorer | str | Path) -> Restorer:
    """The model of a checkpoint, a run folder or a shipped name; a model as it is."""
    if isinstance(model, Restorer):
        return model
    return checkpoints.load(zoo.resolve(model, prefer=".safetensors"))


def coding(model: Restorer | str | Path) -> Autoencoder:
    """The same, where it has a code.

    Raises:
        OptionError: The model only restores.
    """
    found = opened(model)
    if isinstance(found, Autoencoder):
        return found
    name = f"the '{found.kind}' model" if isinstance(model, Restorer) else f"model '{model}'"
    raise OptionError(
        f"{name} only restores: what it knows of a picture goes past its middle, so there is no "
        "code; give an autoencoder, such as a run of 'pellucid train r3-code -o RUN'"
    )


def embed(
    model: Restorer | str | Path,
    data: str | Path | Gallery,
    *,
    split: str = "all",
    pool: str = "auto",
    size: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Embedding:
    """The codes of all pictures.

    Args:
        model: An autoencoder: a model, a checkpoint, a run folder or a shipped name.
        data: A folder, a data set, an ``.npz``, a picture file, or a `Gallery`.
        split: 'train', 'validation', 'test' or 'all'.
        pool: One of `POOLS`; a dense code is taken as it is.
        size: Cut each picture to its central square and resize it to this side. Without, pictures
            are taken whole, and only fitted where a dense code is bound to a square size.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: See `Progress`.

    Raises:
        OptionError: The model has no code, or an option is not possible.
        DataError: Not one picture could be encoded.
    """
    if pool not in POOLS:
        raise unknown("pool", pool, POOLS)
    if size is not None and size < 1:
        raise OptionError(f"size {size} is not possible; give at least 1")
    coder = coding(model)
    shelf = data if isinstance(data, Gallery) else gallery(data, split)
    on = machine.device(device)
    training, home = coder.training, next(coder.parameters()).device
    coder.eval().to(on)
    try:
        return _embedded(coder, shelf, pool, size, on, progress)
    finally:
        coder.train(training).to(home)


def _embedded(
    coder: Autoencoder,
    shelf: Gallery,
    pool: str,
    size: int | None,
    on: torch.device,
    progress: Progress | None,
) -> Embedding:
    rows = _Rows(pool)
    places: list[tuple[int, int]] = []
    names: list[str] = []
    failed: list[str] = []
    resized = 0
    waiting: list[tuple[int, np.ndarray]] = []
    for index in range(len(shelf)):
        try:
            pages = shelf.pages(index)
            ready = [prepared(coder, page, size) for page in pages]
        except PellucidError as error:
            failed.append(_told(shelf.names[index], error))
            pages = ready = []
        for number, page in enumerate(ready):
            resized += page.shape[:2] != pages[number].shape[:2]
            waiting.append((len(places), page))
            places.append((index, number))
            several = f"#{number + 1}" if len(ready) > 1 else ""
            names.append(f"{shelf.names[index]}{several}")
            if _full(waiting):
                _encode(coder, waiting, rows, on)
                waiting = []
        if progress:
            progress(index + 1, len(shelf))
    _encode(coder, waiting, rows, on)
    if not places:
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise DataError(f"not one picture could be encoded: {'; '.join(failed[:3])}{more}")
    items = [item for item, _ in places]
    codes = rows.table(len(places))
    wrong = np.flatnonzero(~np.isfinite(codes).all(1))
    if len(wrong):
        raise DataError(
            f"the codes of {len(wrong)} of {len(codes)} pictures are no numbers (the first: "
            f"{names[wrong[0]]}), as after training that diverged; train again at a lower "
            "train.learning_rate"
        )
    return Embedding(
        codes=codes,
        paths=tuple(names),
        splits=tuple(shelf.splits[item] for item in items),
        labels=None if shelf.labels is None else shelf.labels[items],
        class_names=shelf.class_names,
        pool=rows.pool,
        shape=rows.shape,
        resized=resized,
        failed=tuple(failed),
        places=tuple(places),
        gallery=shelf,
        channels=coder.image_channels,
        size=size,
    )


def prepared(model: Restorer, picture: np.ndarray, size: int | None = None) -> np.ndarray:
    """The picture (H, W, C) in the model's channels, and in the size that it is bound to.

    Raises:
        DataError: A dense code is bound to a size that is no square, and this is not of it.
    """
    picture = in_channels(picture, model.image_channels)
    if size is not None:
        picture = fitted(picture[None], size)[0]
    bound = model.image_size
    if bound is None or picture.shape[:2] == tuple(bound):
        return picture
    if bound[0] != bound[1]:
        raise DataError(
            f"the picture is {picture.shape[0]}x{picture.shape[1]} but this model's dense code is "
            f"bound to {bound[0]}x{bound[1]}; resize it to that"
        )
    square: np.ndarray = fitted(picture[None], bound[0])[0]
    return square


def tensor(stack: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """Pictures (N, H, W, C), uint8 or float32, as the (N, C, H, W) in [0, 1] of torch's land."""
    planar = torch.from_numpy(np.ascontiguousarray(stack.transpose(0, 3, 1, 2))).to(device)
    return planar.float().div_(255) if planar.dtype == torch.uint8 else planar.float()


def _full(waiting: list[tuple[int, np.ndarray]]) -> bool:
    return len(waiting) >= BATCH or sum(page.size for _, page in waiting) >= BATCH_VALUES


@torch.inference_mode()
def _encode(
    coder: Autoencoder, waiting: list[tuple[int, np.ndarray]], rows: _Rows, on: torch.device
) -> None:
    """Encode what waits, the pictures of one size together."""
    kinds: dict[object, list[tuple[int, np.ndarray]]] = {}
    for row, page in waiting:
        kinds.setdefault((page.shape, page.dtype), []).append((row, page))
    for alike in kinds.values():
        batch = tensor(np.stack([page for _, page in alike]), on)
        rows.add([row for row, _ in alike], coder.encode(batch).float().cpu().numpy())


class _Rows:
    """Codes as they come, pooled; 'auto' is settled by what comes."""

    def __init__(self, pool: str) -> None:
        self.pool, self.settled = pool, pool != "auto"
        self.shape: tuple[int, ...] = ()
        self.kept: dict[int, np.ndarray] = {}

    def add(self, rows: Sequence[int], codes: np.ndarray) -> None:
        shape = codes.shape[1:]
        if not self.shape:
            self.shape = shape
            if len(shape) == 1:
                self.pool, self.settled = "dense", True
            elif not self.settled:
                self.pool = "flat" if codes[0].size <= SMALL else "mean"
        if self.pool == "flat" and shape != self.shape:
            if self.settled:
                raise OptionError(
                    f"codes of {_sides(self.shape)} and of {_sides(shape)} numbers cannot be laid "
                    "flat side by side, since the pictures differ in size; use --pool mean or max, "
                    "or give one --size"
                )
            self.pool = "mean"
            first = self.shape
            self.kept = {
                row: code.reshape(first).mean((1, 2), dtype=np.float32)
                for row, code in self.kept.items()
            }
        self.kept.update(zip(rows, self._pooled(codes), strict=True))

    def _pooled(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        if self.pool in ("mean", "max"):
            pooled = codes.mean((2, 3)) if self.pool == "mean" else codes.max((2, 3))
            return iter(pooled)
        return iter(codes.reshape(len(codes), -1))

    def table(self, count: int) -> NDArray[np.float32]:
        return np.stack([self.kept[row] for row in range(count)]).astype(np.float32, copy=False)


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _told(name: str, error: PellucidError) -> str:
    text = " ".join(str(error).split())
    return text if name in text else f"{name}: {text}"
