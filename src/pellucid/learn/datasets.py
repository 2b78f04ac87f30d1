"""Data sets by name or path: found, downloaded where they must be, split, packed as uint8.

`DATASETS` is the table of the known ones; a folder, a ``noisy:clean`` pair of folders, an ``.npz``
and any folder name found under ``$PELLUCID_DATA`` are taken as well. The network is used for one
thing only: a data set of the table that was asked for by name and is not at hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch

from pellucid.errors import DataError, MissingExtraError, OptionError, unknown
from pellucid.learn import arrays, folders, known, remotes
from pellucid.learn.clean_photos import clean_photographs
from pellucid.learn.medical_images import medical_images
from pellucid.learn.pages import pages
from pellucid.learn.pictures import Pictures
from pellucid.learn.places import find, found_names
from pellucid.learn.published import CIFAR_CLASSES
from pellucid.learn.sources import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    Split,
    alike,
    all_decoded,
    counted,
    hold_out,
)

__all__ = ["DATASETS", "Dataset", "Entry", "find", "found_names", "load", "locate"]


@dataclass(frozen=True)
class Dataset:
    """Pictures in memory, split once and for all.

    Attributes:
        name: What it is called in reports.
        train: To learn from.
        validation: To watch while learning.
        test: To judge at the end. A published test set has only this one; asking it for the
            others says so.
        licence: Terms of the pictures, or empty where nothing is known.
        about: What it is, in a line.
    """

    name: str
    train: Pictures
    validation: Pictures
    test: Pictures
    licence: str = ""
    about: str = ""

    def split(self, name: str) -> Pictures:
        """The pictures of ``train``, ``validation`` or ``test``, or of ``all``, in that order.

        Raises:
            OptionError: For another name.
            DataError: The data set has no such split.
        """
        if name == "all":
            parts = [self.train, self.validation, self.test]
            return _merged([part for part in parts if not isinstance(part, _Absent)])
        if name not in SPLITS:
            raise unknown("split", name, [*SPLITS, "all"])
        part: Pictures = getattr(self, name)
        len(part)  # An absent split says so here and not deep inside what it is for.
        return part


class _Absent:
    """Stands where a data set has no such split, and says so when it is used."""

    def __init__(self, name: str, part: str) -> None:
        self._message = (
            f"'{name}' is a published test set and has no {part} pictures; train on other data, "
            "or scores on it would mean nothing"
        )

    def _refuse(self) -> NoReturn:
        raise DataError(self._message)

    def __len__(self) -> int:
        self._refuse()

    def __getattr__(self, name: str) -> Any:
        # Names that Python itself asks for, while copying or printing, are not a use.
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()


@dataclass(frozen=True)
class Entry:
    """A line of `DATASETS`: how to get it, what it is, and its terms."""

    source: Callable[[], Source]
    about: str
    licence: str


def load(
    name: str | Path,
    *,
    channels: int | None = None,
    size: int | None = None,
    limit: int | None = None,
) -> Dataset:
    """The data set of that name, or at that path, in memory.

    Args:
        name: A name of `DATASETS`; a folder of pictures; ``NOISY:CLEAN``, two folders with the same
            names; an ``.npz``; or the name of a folder under ``$PELLUCID_DATA``.
        channels: 1 or 3 converts; None keeps them, as RGB where any picture is.
        size: Cut each picture to its central square and resize it to this side.
        limit: Most training pictures; validation and test shrink in the same proportion. They are
            taken evenly over the whole, never by chance.

    Raises:
        OptionError: Nothing of that name, or an option out of range.
        DataError: What was found cannot be used.

    Example:
        >>> data = load("digits")
        >>> len(data.train), len(data.validation), len(data.test), data.test.channels
        (1437, 180, 180, 1)
    """
    if channels not in (None, 1, 3):
        raise OptionError(f"channels {channels} is not possible; give 1 (grey) or 3 (RGB)")
    for option, value in (("size", size), ("limit", limit)):
        if value is not None and value < 1:
            raise OptionError(f"{option} {value} is not possible; give at least 1")
    source = locate(name)
    splits = source.splits
    bring = {part for part, split in splits.items() if split.damaged is not None}
    if 0 < len(bring) < len(splits):
        lacking = ", ".join(sorted(splits.keys() - bring))
        raise DataError(
            f"'{source.name}' has damaged partners for {', '.join(sorted(bring))} and none for "
            f"{lacking}; add them, or take them all away"
        )
    if limit is not None:
        first = splits.get(TRAIN, splits[TEST])
        share = min(1.0, limit / len(first))
        splits = {
            part: split.limited(limit if split is first else max(1, int(share * len(split))))
            for part, split in splits.items()
        }
    ready = alike(all_decoded(splits, size), channels)
    packed = {part: _packed(split, source.class_names) for part, split in ready.items()}
    train, validation, test = (
        packed.get(part) or cast(Pictures, _Absent(source.name, part)) for part in SPLITS
    )
    return Dataset(source.name, train, validation, test, source.licence, source.about)


def _packed(split: Split, class_names: tuple[str, ...]) -> Pictures:
    return Pictures.from_arrays(
        cast(Any, split.clean),
        cast(Any, split.damaged),
        labels=split.labels,
        class_names=class_names if split.labels is not None else (),
        paths=split.paths,
    )


def _merged(parts: list[Pictures]) -> Pictures:
    """The pictures of all parts, each once: of a few, one may serve in two parts."""
    if len(parts) == 1:
        return parts[0]
    if len({part.damaged is None for part in parts}) > 1:
        raise DataError(
            "some of the splits bring damaged partners and others do not, so they cannot be taken "
            f"together; choose one: {', '.join(SPLITS)}"
        )
    begins = np.cumsum([0] + [part.pixels.numel() for part in parts[:-1]])
    first = parts[0]

    def joined(buffers: list[torch.Tensor]) -> torch.Tensor:
        if len({buffer.dtype for buffer in buffers}) > 1:
            buffers = [b / 255 if b.dtype == torch.uint8 else b for b in buffers]
        return torch.cat(buffers)

    merged = replace(
        first,
        pixels=joined([part.pixels for part in parts]),
        damaged=None
        if first.damaged is None
        else joined([cast(torch.Tensor, part.damaged) for part in parts]),
        offsets=torch.cat([p.offsets + int(b) for p, b in zip(parts, begins, strict=True)]),
        sizes=torch.cat([part.sizes for part in parts]),
        labels=None
        if any(part.labels is None for part in parts)
        else torch.cat([cast(torch.Tensor, part.labels) for part in parts]),
        paths=tuple(path for part in parts for path in part.paths),
    )
    if not merged.paths:
        return merged
    # Two pictures or one serve several splits (see `in_three`); here each comes once.
    once = {path: index for index, path in reversed(list(enumerate(merged.paths)))}
    return merged if len(once) == len(merged) else merged.subset(sorted(once.values()))


def locate(name: str | Path) -> Source:
    """What `load` would pack: found and split, nothing decoded yet."""
    text = str(name)
    if text in DATASETS:
        entry = DATASETS[text]
        source = entry.source()
        about = f"{entry.about.partition(';')[0]} ({source.about})" if source.about else entry.about
        return replace(source, name=text, licence=source.licence or entry.licence, about=about)
    path = Path(text).expanduser()
    # os.path and not Path: a text too long for a path, or with a zero in it, is no path.
    if text and os.path.isdir(path):
        return folders.folder(path, path.resolve().name)
    if os.path.isfile(path):
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path} is a file; give a folder of pictures, an .npz, or a name")
        return arrays.npz(path)
    for place in (i for i, letter in enumerate(text) if letter == ":"):
        noisy, clean = (Path(part).expanduser() for part in (text[:place], text[place + 1 :]))
        if os.path.isdir(noisy) and os.path.isdir(clean):
            return folders.pairs(noisy, clean)
    found = find(text)
    if found is not None:
        source = folders.folder(found, text, known.GROUPS.get(text, list))
        source = replace(source, licence=known.LICENCES.get(text, ""))
        return replace(source, splits={TEST: source.whole()}) if text in known.TEST_SETS else source
    if ":" in text or "/" in text or "\\" in text or path.suffix:
        raise DataError(
            f"'{text}' does not exist; give a folder of pictures, NOISY:CLEAN (two folders), an "
            f".npz, or a name: {', '.join(sorted(DATASETS))}"
        )
    raise unknown("data set", text, {*DATASETS, *found_names()})


def _installed(package: str, *parts: str) -> Path:
    """A file that comes with an installed package, which is not imported for it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"this data set comes with {package}, which is not installed; "
            "run: pip install 'pellucid[train]'"
        )
    return Path(spec.submodule_search_locations[0], *parts)


def digits() -> Source:
    """The digits of scikit-learn: 1,797 of 8x8, the last two tenths held back.

    The writers follow one another in the file, so that a split by place and not by chance keeps
    most of them apart.
    """
    table = np.loadtxt(_installed("sklearn", "datasets", "data", "digits.csv.gz"), delimiter=",")
    # 17 levels, 0 to 16.
    pictures = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    split = Split(pictures, labels=table[:, -1].astype(np.int64))
    held = len(split) // 10 + 1
    splits = hold_out(split.take(np.arange(len(split) - held)), held)
    splits[TEST] = split.take(np.arange(len(split) - held, len(split)))
    return Source("digits", splits, _DIGITS, about=counted(splits))


def photographs() -> Source:
    """The photographs that come with scikit-learn and scikit-image; china.jpg is the test."""
    ours = _installed("sklearn", "datasets", "images")
    theirs = _installed("skimage", "data")
    names = "astronaut brick chelsea coins grass gravel motorcycle_left rocket"
    parts = {
        TRAIN: [ours / "flower.jpg", *_existing(theirs, names.split())],
        VALIDATION: _existing(theirs, ["camera", "coffee"]),
        TEST: [ours / "china.jpg"],
    }
    splits = {
        part: Split(files, paths=tuple(file.name for file in files))
        for part, files in parts.items()
    }
    return Source("photographs", splits, about=counted(splits))


def _existing(place: Path, stems: list[str]) -> list[Path]:
    files = [next(iter(sorted(place.glob(f"{stem}.*"))), None) for stem in stems]
    found = [file for file in files if file is not None]
    if not found:
        raise DataError(
            f"scikit-image's pictures are not in {place}; run: pip install --force-reinstall "
            "scikit-image"
        )
    return found


def mnist() -> Source:
    """MNIST, found or downloaded."""
    return _named(find("mnist") or remotes.fetched(remotes.MNIST, "mnist"), _DIGITS)


def fashion_mnist() -> Source:
    """Fashion-MNIST, found or downloaded."""
    name = "fashion_mnist"
    return _named(find(name) or remotes.fetched(remotes.FASHION_MNIST, name), _CLOTHES)


def cifar10() -> Source:
    """CIFAR-10 in its binary form, found or downloaded."""
    place = find("cifar10") or find("cifar-10-batches-bin")
    # A folder with the archive only is unpacked into the cache: it may not be ours to write in.
    if place is None or (place / remotes.CIFAR10.name).is_file():
        place = remotes.unpacked_cifar10(place)
    return _named(place, CIFAR_CLASSES)


def _named(place: Path, class_names: tuple[str, ...]) -> Source:
    source = folders.folder(place)
    return source if source.class_names else replace(source, class_names=class_names)


_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

DATASETS: dict[str, Entry] = {
    "digits": Entry(
        digits,
        "handwritten digits, 8x8 grey; 1,797, come with scikit-learn",
        "CC BY 4.0 (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository)",
    ),
    "photographs": Entry(
        photographs,
        "photographs, china.jpg is the test; a dozen, come with scikit-learn and scikit-image",
        "china, flower: CC BY 2.0 (danielbuechele, vultilion); the others CC0, public domain or "
        "without known restrictions, as scikit-image states",
    ),
    "clean_photographs": Entry(
        clean_photographs,
        "photographs to learn restoring from; those of four published sets found on disk",
        "research and non-commercial, set by set",
    ),
    "medical_images": Entry(
        medical_images,
        "medical pictures to learn restoring from, and photographs made like them; found on disk",
        "research and non-commercial, set by set",
    ),
    "pages": Entry(
        pages,
        "pages of print of many layouts, made here of the fonts at hand; 528 of 640x512 grey",
        "made by pellucid, free of terms; the shapes of letters are those of your fonts",
    ),
    "mnist": Entry(
        mnist,
        "handwritten digits, 28x28 grey; 70,000, 12 MB to download",
        "CC BY-SA 3.0 (Y. LeCun, C. Cortes)",
    ),
    "fashion_mnist": Entry(
        fashion_mnist,
        "articles of clothing, 28x28 grey; 70,000, 31 MB to download",
        "MIT (Zalando SE)",
    ),
    "cifar10": Entry(
        cifar10,
        "photographs of ten kinds of things, 32x32 RGB; 60,000, 170 MB to download",
        "none stated by its authors (A. Krizhevsky, V. Nair, G. Hinton)",
    ),
}
