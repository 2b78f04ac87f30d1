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
from pellucid.images import SUFFIXES
from pellucid.learn import folders
from pellucid.learn.downloads import cache_folder, fetch
from pellucid.learn.pictures import Pictures
from pellucid.learn.published import CIFAR_CLASSES, cifar_folder, unpack_cifar
from pellucid.learn.sources import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    Split,
    alike,
    decoded,
    hold_out,
)


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
    if limit is not None:
        first = splits.get(TRAIN, splits[TEST])
        share = min(1.0, limit / len(first))
        splits = {
            part: split.limited(limit if split is first else max(1, int(share * len(split))))
            for part, split in splits.items()
        }
    ready = alike({part: decoded(split, size) for part, split in splits.items()}, channels)
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
        if first.labels is None
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
        return replace(source, name=text, licence=entry.licence, about=entry.about)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return folders.folder(path, path.resolve().name)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path} is a file; give a folder of pictures, an .npz, or a name")
        return folders.npz(path)
    for place in (i for i, letter in enumerate(text) if letter == ":"):
        noisy, clean = (Path(part).expanduser() for part in (text[:place], text[place + 1 :]))
        if noisy.is_dir() and clean.is_dir():
            return folders.pairs(noisy, clean)
    found = find(text)
    if found is not None:
        source = folders.folder(found, text)
        return replace(source, splits={TEST: source.whole()}) if text in TEST_SETS else source
    if ":" in text or os.sep in text or path.suffix:
        raise DataError(
            f"'{text}' does not exist; give a folder of pictures, NOISY:CLEAN (two folders), an "
            f".npz, or a name: {', '.join(sorted(DATASETS))}"
        )
    raise unknown("data set", text, [*DATASETS, *found_names()])


def find(name: str) -> Path | None:
    """The folder of that name under ``$PELLUCID_DATA``, a path list searched two folders deep."""
    if not name or name in (".", "..") or set(name) & {"/", "\\", ":", "*", "?", "["}:
        return None
    for root in _roots():
        for candidates in (
            [root] if root.name == name else [],
            [root / name],
            root.glob(f"*/{name}"),
        ):
            for place in sorted(candidates):
                if place.is_dir():
                    return place
    return None


def found_names() -> list[str]:
    """Names that `find` finds: folders under ``$PELLUCID_DATA`` that look like data sets."""
    places = [
        place for root in _roots() for pattern in ("*", "*/*") for place in root.glob(pattern)
    ]
    ordinary = {"train", "test", "val", "validation", "clean", "damaged", "noisy"}
    return sorted(
        {
            place.name
            for place in places
            if place.name.lower() not in ordinary
            and not place.name.startswith(".")
            and place.is_dir()
            and _holds_data(place)
        }
    )


def _roots() -> list[Path]:
    given = os.environ.get("PELLUCID_DATA", "")
    roots = [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    return [root for root in roots if root.is_dir()]


def _holds_data(place: Path) -> bool:
    suffixes = {*SUFFIXES, ".npz", ".gz", ".bin"}
    with os.scandir(place) as entries:
        return any(
            entry.name.lower() in ("train", "clean") or Path(entry.name).suffix.lower() in suffixes
            for entry in entries
        )


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
    return Source("digits", splits, _DIGITS)


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
    return Source("photographs", splits)


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
    urls = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    return _idx("mnist", urls, _MNIST_FILES, _DIGITS)


def fashion_mnist() -> Source:
    """Fashion-MNIST, found or downloaded."""
    urls = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    return _idx("fashion_mnist", urls, _FASHION_FILES, _CLOTHES)


def _idx(
    name: str, bases: tuple[str, ...], files: dict[str, tuple[int, str]], classes: tuple[str, ...]
) -> Source:
    place = find(name)
    if place is None:
        place = cache_folder() / name
        for file, (size, digest) in files.items():
            urls = [base + file for base in bases]
            fetch(urls, place / file, digest=f"sha256:{digest}", size=size)
    return _named(place, name, classes)


def cifar10() -> Source:
    """CIFAR-10 in its binary form, found or downloaded."""
    place = find("cifar10") or find("cifar-10-batches-bin")
    archive = None if place is None else place / _CIFAR_FILE
    if place is None or (archive is not None and archive.is_file() and not cifar_folder(place)):
        place = cache_folder() / "cifar10"
        if cifar_folder(place) is None:
            if archive is None:
                urls = [base + _CIFAR_FILE for base in _CIFAR_BASES]
                archive = fetch(
                    urls, place / _CIFAR_FILE, digest=f"sha256:{_CIFAR_SHA256}", size=170_052_171
                )
            unpack_cifar(archive, place)
    return _named(place, "cifar10", CIFAR_CLASSES)


def _named(place: Path, name: str, class_names: tuple[str, ...]) -> Source:
    source = folders.folder(place, name)
    return source if source.class_names else replace(source, class_names=class_names)


_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

# Length in bytes and SHA-256 of the files as published.
_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": (
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte.gz": (
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte.gz": (
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}
_FASHION_FILES = {
    "train-images-idx3-ubyte.gz": (
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte.gz": (
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    "t10k-images-idx3-ubyte.gz": (
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
_CIFAR_FILE = "cifar-10-binary.tar.gz"
_CIFAR_BASES = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_CIFAR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

DATASETS: dict[str, Entry] = {
    "digits": Entry(
        digits,
        "1,797 handwritten digits, 8x8 grey; comes with scikit-learn",
        "CC BY 4.0 (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository)",
    ),
    "photographs": Entry(
        photographs,
        "a dozen photographs, RGB; come with scikit-learn and scikit-image, china.jpg is the test",
        "china, flower: CC BY 2.0 (danielbuechele, vultilion); the others CC0, public domain or "
        "without known restrictions, as scikit-image states",
    ),
    "mnist": Entry(
        mnist,
        "70,000 handwritten digits, 28x28 grey; 12 MB to download",
        "CC BY-SA 3.0 (Y. LeCun, C. Cortes)",
    ),
    "fashion_mnist": Entry(
        fashion_mnist,
        "70,000 articles of clothing, 28x28 grey; 31 MB to download",
        "MIT (Zalando SE)",
    ),
    "cifar10": Entry(
        cifar10,
        "60,000 photographs of ten kinds of things, 32x32 RGB; 170 MB to download",
        "none stated by its authors (A. Krizhevsky, V. Nair, G. Hinton)",
    ),
}

# Nothing of a published test set is held back, and nobody should train on one.
TEST_SETS = frozenset(
    {"set12", "bsd68", "cbsd68", "kodak24", "mcmaster", "urban100", "polyu", "w2s"}
)
