"""A data set before it is packed: its splits as arrays or files, and how they become uniform.

Files are decoded late and in threads, after the splits are made and limited, so that a hundred
pictures of a folder of thousands cost a hundred decodes. Read next: ``arrays``, ``folders`` and
``datasets``, which make sources.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pellucid import images
from pellucid.errors import DataError, PellucidError

Part = np.ndarray | Sequence[np.ndarray] | Sequence[Path]
"""Pictures (N, H, W, C), or one array (H, W, C) each, or one file each (a file may have pages)."""

_PIECE = 1 << 24

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")

# What people call them.
SPLIT_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "val", "valid"),
    TEST: ("test", "testing"),
}


@dataclass(frozen=True)
class Split:
    """One split: clean pictures, their damaged partners, labels and names, where there are any."""

    clean: Part
    damaged: Part | None = None
    labels: np.ndarray | None = None
    paths: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clean)

    def take(self, indices: Sequence[int] | np.ndarray) -> Split:
        """The pictures at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return Split(
            clean=_taken(self.clean, chosen),
            damaged=None if self.damaged is None else _taken(self.damaged, chosen),
            labels=None if self.labels is None else self.labels[chosen],
            paths=tuple(self.paths[i] for i in chosen) if self.paths else (),
        )

    def limited(self, count: int) -> Split:
        """At most `count` pictures, evenly spaced, so that sorted classes stay balanced."""
        if count >= len(self):
            return self
        return self.take(np.arange(count) * len(self) // count)


@dataclass(frozen=True)
class Source:
    """A data set that was found and split, but not yet decoded.

    Attributes:
        name: What it is called in reports.
        splits: ``train``, ``validation`` and ``test``; a published test set has only the last.
        class_names: What the labels stand for.
        licence: Terms of the pictures, or empty where nothing is known.
        about: What it is, in a line.
    """

    name: str
    splits: dict[str, Split]
    class_names: tuple[str, ...] = ()
    licence: str = ""
    about: str = ""

    def whole(self) -> Split:
        """All pictures of files in one split, in the order of their names."""
        parts = self.splits.values()
        names = [path for part in parts for path in part.paths]
        clean = [file for part in parts for file in part.clean]
        damaged = [
            file for part in parts for file in (() if part.damaged is None else part.damaged)
        ]
        labels = [label for part in parts for label in (() if part.labels is None else part.labels)]
        everything = Split(
            cast("Part", clean),
            cast("Part", damaged) if damaged else None,
            np.array(labels, np.int64) if labels else None,
            tuple(names),
        )
        # Few pictures may serve in two splits; here each comes once.
        return everything.take([names.index(name) for name in sorted(set(names))])


def in_three(split: Split, keys: Sequence[str] | None = None) -> dict[str, Split]:
    """Train, validation and test in 80:10:10, always the same.

    With `keys` (file names) each picture goes by the hash of its own, so adding files does not
    move others, and pictures that share a key stay together. Without, every tenth picture is for
    validation and the one after it for the test. No split is left empty: of two pictures the
    second serves validation and test, a single one serves for everything.
    """
    place = np.arange(len(split)) % 10 / 10
    if keys is not None and (len(set(keys)) >= 3 or len(split) < 3):
        place = np.array([placed(key) for key in keys])
    order = np.argsort(place, kind="stable")
    if len(split) >= 3:
        parts = np.digitize(place, [0.8, 0.9])
        # An empty split takes the pictures whose place is nearest.
        if not (parts == 2).any():
            parts[place == place.max()] = 2
        if not (parts == 0).any():
            parts[place == place.min()] = 0
        if not (parts == 1).any():
            donor = 0 if len(set(place[parts == 0])) > 1 else 2
            nearest = np.max if donor == 0 else np.min
            parts[place == nearest(place[parts == donor])] = 1
        return {name: split.take(np.flatnonzero(parts == i)) for i, name in enumerate(SPLITS)}
    first, last = split.take(order[:1]), split.take(order[-1:])
    return {TRAIN: first, VALIDATION: last, TEST: last}


def placed(key: str) -> float:
    """Where a name stands between 0 and 1, by its hash: the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def hold_out(train: Split, count: int) -> dict[str, Split]:
    """Train and validation, the last `count` pictures; a single picture serves as both."""
    return _parted(train, np.arange(len(train)) >= max(1, len(train) - count))


def a_tenth(train: Split) -> dict[str, Split]:
    """Train and validation, the last tenth; every tenth where classes follow one another."""
    if train.labels is None or len(train) < 10 or (np.diff(train.labels) < 0).any():
        return hold_out(train, max(1, len(train) // 10))
    return _parted(train, np.arange(len(train)) % 10 == 9)


def _parted(train: Split, held: NDArray[np.bool_]) -> dict[str, Split]:
    if not held.any():
        return {TRAIN: train, VALIDATION: train}
    return {TRAIN: train.take(np.flatnonzero(~held)), VALIDATION: train.take(np.flatnonzero(held))}


def counted(splits: Mapping[str, Split]) -> str:
    """How many pictures the splits hold, in words."""
    return ", ".join(f"{len(splits[part])} {part}" for part in SPLITS if part in splits)


def decoded(split: Split, size: int | None = None) -> Split:
    """The same split with every picture in memory, upright, without alpha, cut to `size`.

    Files become uint8, or float32 where they hold more than 8 bits. The pages of a file become
    pictures of their own.

    Raises:
        DataError: Pictures that cannot be read or hold NaN, the first few by name; or a damaged
            partner of another size.
    """
    return all_decoded({"": split}, size)[""]


def all_decoded(splits: Mapping[str, Split], size: int | None = None) -> dict[str, Split]:
    """Each split `decoded`; the pictures of all of them that cannot be used are told together."""
    results, errors = {}, list[PellucidError]()
    for part, split in splits.items():
        results[part], failed = _decoded(split, size)
        errors += failed
    if errors:
        total = sum(len(split) for split in splits.values())
        raise DataError(
            f"{len(errors)} of {total} pictures cannot be used ({_first(errors)}); "
            "mend or remove them"
        )
    return results


def _decoded(split: Split, size: int | None) -> tuple[Split, list[PellucidError]]:
    """A split decoded, or as it was with the reasons why it could not be."""
    if isinstance(split.clean, np.ndarray):
        damaged = split.damaged
        whole = replace(
            split,
            clean=fitted(split.clean, size),
            damaged=fitted(damaged, size) if isinstance(damaged, np.ndarray) else damaged,
        )
        return whole, []
    partners = split.damaged if split.damaged is not None else [None] * len(split)

    def opened(clean: Path | np.ndarray, damaged: Path | None) -> Opened | PellucidError:
        try:
            return _opened(clean, damaged, size)
        except PellucidError as error:
            return error

    # Decoders let go of Python's lock, so threads decode side by side.
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        results = list(pool.map(opened, split.clean, cast("Sequence[Path | None]", partners)))
    errors = [result for result in results if isinstance(result, PellucidError)]
    if errors:
        return split, errors
    files = [result for result in results if not isinstance(result, PellucidError)]
    pages = [len(clean) for clean, _ in files]
    pictures = Split(
        clean=[picture for clean, _ in files for picture in clean],
        damaged=None
        if split.damaged is None
        else [picture for _, damaged in files for picture in damaged],
        labels=None if split.labels is None else np.repeat(split.labels, pages),
        paths=tuple(
            path if count == 1 else f"{path}#{page + 1}"
            for path, count in zip(split.paths, pages, strict=True)
            for page in range(count)
        ),
    )
    return pictures, []


Opened = tuple[list[np.ndarray], list[np.ndarray]]


def _opened(clean: Path | np.ndarray, damaged: Path | None, size: int | None) -> Opened:
    pictures = _pages(clean)
    partners = [] if damaged is None else _pages(damaged)
    if damaged is not None and len(pictures) != len(partners):
        raise DataError(f"{clean} has {len(pictures)} pages but {damaged} {len(partners)}")
    for one, other in zip(pictures, partners, strict=False):
        if one.shape[:2] != other.shape[:2]:
            raise DataError(
                f"{clean} is {one.shape[0]}x{one.shape[1]} but its partner {damaged} is "
                f"{other.shape[0]}x{other.shape[1]}; both must agree pixel for pixel"
            )
    return [_fitted(one, size) for one in pictures], [_fitted(one, size) for one in partners]


def _pages(path: Path | np.ndarray) -> list[np.ndarray]:
    if isinstance(path, np.ndarray):
        return [path]
    return [usable(picture.upright(), str(path)) for picture in images.pages(path)]


def usable(picture: images.Picture, name: str) -> np.ndarray:
    """The samples to learn from, uint8 or float32 (H, W, C) in [0, 1].

    Raises:
        DataError: NaN, infinite, or floats outside [0, 1].
    """
    samples = picture.samples
    if samples.dtype == np.uint8:
        return samples
    pixels = picture.pixels
    if samples.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not math.isfinite(low) or not math.isfinite(high):
            raise DataError(f"{name} holds NaN or infinite values; replace them first")
        if low < 0 or high > 1:
            raise DataError(f"{name} has values from {low:g} to {high:g}; scale it to [0, 1] first")
    return pixels


def fitted(stack: np.ndarray, size: int | None) -> np.ndarray:
    """Pictures (N, H, W, C) cut to their central square and resized to `size`."""
    if size is None or stack.shape[1:3] == (size, size):
        return stack
    result = np.empty((len(stack), size, size, stack.shape[3]), stack.dtype)
    for index, picture in enumerate(stack):
        result[index] = _fitted(picture, size)
    return result


def _fitted(picture: np.ndarray, size: int | None) -> np.ndarray:
    height, width, channels = picture.shape
    if size is None or (height, width) == (size, size):
        return picture
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side == size:
        return square
    # Channel by channel, which Pillow does for floats too. Lanczos rings beyond [0, 1].
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(square[..., channel])).resize(
                (size, size), Image.Resampling.LANCZOS
            )
        )
        for channel in range(channels)
    ]
    resized = np.stack(planes, axis=-1)
    return resized if resized.dtype == np.uint8 else resized.clip(0, 1)


def alike(splits: Mapping[str, Split], channels: int | None = None) -> dict[str, Split]:
    """Decoded splits that agree in channels: those asked for, else 3 where any picture has 3."""
    if channels is None:
        present = {
            count
            for split in splits.values()
            for part in (split.clean, split.damaged)
            if part is not None
            for count in ([part.shape[3]] if isinstance(part, np.ndarray) else _channels(part))
        }
        channels = max(present)
    return {
        name: replace(
            split,
            clean=_converted(split.clean, channels),
            damaged=None if split.damaged is None else _converted(split.damaged, channels),
        )
        for name, split in splits.items()
    }


def _channels(part: Sequence[Any]) -> set[int]:
    return {picture.shape[2] for picture in part}


def _converted(part: Part, channels: int) -> Part:
    if isinstance(part, np.ndarray):
        return in_channels(part, channels)
    return [in_channels(cast(np.ndarray, picture), channels) for picture in part]


def in_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """Grey (..., 1) as RGB (..., 3), or RGB as grey by the luma of ITU-R BT.601, as Pillow does."""
    if array.shape[-1] == channels:
        return array
    if channels == 3:
        return np.repeat(array, 3, axis=-1)
    if array.dtype != np.uint8:
        luma: np.ndarray = array @ np.array([0.299, 0.587, 0.114], array.dtype)
        return luma[..., None]
    grey = np.empty((*array.shape[:-1], 1), np.uint8)
    # In pieces: whole, the sums would take four times the memory of the data set.
    step = max(1, _PIECE // max(1, array[:1].size))
    for start in range(0, len(array), step):
        red, green, blue = np.moveaxis(array[start : start + step].astype(np.uint32), -1, 0)
        grey[start : start + step, ..., 0] = (
            red * 19595 + green * 38470 + blue * 7471 + 0x8000
        ) >> 16
    return grey


def _first(errors: Sequence[PellucidError], count: int = 3) -> str:
    told = "; ".join(str(error) for error in errors[:count])
    return told + (f"; and {len(errors) - count} more" if len(errors) > count else "")


def _taken(part: Part, indices: np.ndarray) -> Part:
    if not isinstance(part, np.ndarray):
        return cast("Part", [part[i] for i in indices])
    # A slice shares memory where a list of indices copies: MNIST is taken apart for nothing.
    if len(indices) and bool((np.diff(indices) == 1).all()):
        run: np.ndarray = part[indices[0] : indices[-1] + 1]
        return run
    chosen: np.ndarray = part[indices]
    return chosen
