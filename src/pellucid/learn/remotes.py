"""Data sets and weights that are published on the network: where, how long, with which hash.

The hashes are those of the files as their authors published them, seen alike in several
independent places. Read next: ``datasets`` and ``imagenet``, which ask for them by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pellucid.learn.downloads import cache_folder, fetch
from pellucid.learn.published import cifar_folder, unpack_cifar


@dataclass(frozen=True)
class Remote:
    """One file: the folders on the network that hold it, its name, length and SHA-256."""

    bases: tuple[str, ...]
    name: str
    size: int
    sha256: str


def fetched(remotes: tuple[Remote, ...], folder: str) -> Path:
    """The folder in the cache that holds these files, downloaded where they are missing."""
    place = cache_folder() / folder
    for remote in remotes:
        urls = [base + remote.name for base in remote.bases]
        digest = f"sha256:{remote.sha256}"
        fetch(urls, place / remote.name, digest=digest, size=remote.size)
    return place


def unpacked_cifar10(place: Path | None) -> Path:
    """The folder of CIFAR-10's binary files: `place` if they are there, else unpacked in the cache.

    Args:
        place: A folder that holds the files or their archive; None downloads the archive.
    """
    target = cache_folder() / "cifar10"
    for known in (place, target):
        if known is not None and cifar_folder(known) is not None:
            return known
    if place is None:
        place = fetched((CIFAR10,), "cifar10")
    unpack_cifar(place / CIFAR10.name, target)
    if place == target:
        # 170 MB that are now there twice.
        (place / CIFAR10.name).unlink()
    return target


_MNIST_BASES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION_BASES = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)

MNIST = (
    Remote(
        _MNIST_BASES,
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    Remote(
        _MNIST_BASES,
        "train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    Remote(
        _MNIST_BASES,
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    Remote(
        _MNIST_BASES,
        "t10k-labels-idx1-ubyte.gz",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

FASHION_MNIST = (
    Remote(
        _FASHION_BASES,
        "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    Remote(
        _FASHION_BASES,
        "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    Remote(
        _FASHION_BASES,
        "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    Remote(
        _FASHION_BASES,
        "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)

CIFAR10 = Remote(
    ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)

VGG16 = Remote(
    ("https://download.pytorch.org/models/",),
    "vgg16-397923af.pth",
    553_433_881,
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
