"""Arrays as data sets: what an .npz may hold, and what is said of one that does not fit."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import DataError, PellucidError
from pellucid.learn.arrays import cifar, idx, npz
from pellucid.learn.sources import decoded
from test_folders import random, sizes
from test_published import write_cifar, write_idx


def saved(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("shape", [(20, 4, 5), (20, 4, 5, 1), (20, 4, 5, 3)])
def test_images_and_labels_of_an_npz(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stack = random(*shape)
    path = saved(tmp_path / "x.npz", images=stack, labels=np.arange(20)[:, None])
    source = npz(path)
    assert sizes(source) == {"train": 16, "validation": 2, "test": 2}
    for split in source.splits.values():
        assert np.array_equal(
            split.clean.reshape(len(split), -1), stack[split.labels].reshape(len(split), -1)
        )


def test_splits_and_class_names_of_an_npz(tmp_path: Path) -> None:
    arrays = {
        f"{part}_images": random(n, 3, 3) for part, n in [("train", 20), ("val", 3), ("test", 4)]
    }
    source = npz(saved(tmp_path / "x.npz", **arrays, class_names=np.array(["a", "b"])))
    assert sizes(source) == {"train": 20, "validation": 3, "test": 4}
    assert source.class_names == ("a", "b")
    del arrays["val_images"]
    assert sizes(npz(saved(tmp_path / "x.npz", **arrays))) == {
        "train": 18,
        "validation": 2,
        "test": 4,
    }


def test_labels_beyond_the_class_names_are_refused(tmp_path: Path) -> None:
    stack, labels = random(5, 3, 3), np.array([0, 1, 2, 0, 1])
    path = saved(tmp_path / "x.npz", images=stack, labels=labels, class_names=["a", "b"])
    with pytest.raises(DataError, match="labels go up to 2 but 'class_names' has 2"):
        npz(path)
    with pytest.raises(DataError, match="number the classes from 0"):
        npz(saved(tmp_path / "x.npz", images=stack, labels=labels + 10**9))


def test_damaged_beside_images_are_pairs(tmp_path: Path) -> None:
    clean, damaged = random(5, 3, 3), random(5, 3, 3, seed=1)
    source = npz(saved(tmp_path / "x.npz", images=clean, damaged=damaged))
    assert all(split.damaged.shape == split.clean.shape for split in source.splits.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([[[True, False]]]), np.array([255, 0], np.uint8)),
        (np.array([[[0, 65535]]], np.uint16), np.array([0, 1], np.float32)),
        (np.array([[[0.0, 0.25]]]), np.array([0, 0.25], np.float32)),
    ],
)
def test_other_types_are_brought_to_ours(tmp_path: Path, given, expected) -> None:
    split = decoded(npz(saved(tmp_path / "x.npz", images=given)).splits["train"])
    assert split.clean.dtype == expected.dtype
    assert np.array_equal(split.clean.ravel(), expected)


class Hostile:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("raw", [False, True])
def test_a_pickle_is_never_loaded(tmp_path: Path, raw: bool) -> None:
    path = tmp_path / "x.npz"
    if raw:
        path.write_bytes(pickle.dumps(Hostile()))
    else:
        np.savez(path, images=np.array([Hostile()], dtype=object))
    with pytest.raises(DataError, match=r"it is no \.npz" if raw else "never loaded"):
        npz(path)


def test_an_npz_that_is_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(1000))
    content = bytearray(path.read_bytes())
    # The length in the archive's directory, which is what would be unpacked.
    place = content.rindex(struct.pack("<I", 1000))
    content[place : place + 4] = struct.pack("<I", 4_000_000_000)
    path.write_bytes(content)
    with pytest.raises(DataError, match="unpack to 4 GB"):
        npz(path)


def single_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, random(4, 3, 3))
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"text", single_array()])
def test_what_is_no_npz_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz") as caught:
        npz(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pixels": random(4, 3, 3)}, "holds pixels; it needs 'images'"),
        ({"images": random(4, 3)}, r"'images' is \(4, 3\)"),
        ({"images": random(0, 3, 3)}, "at least one picture"),
        ({"images": random(4, 3, 3, 2)}, "1 or 3 channels"),
        ({"images": random(4, 3, 3).astype(np.int64)}, "int64; save uint8"),
        ({"images": np.full((4, 3, 3), np.nan)}, "nan to nan"),
        ({"images": np.full((4, 3, 3), 200.0)}, "from 200 to 200"),
        ({"images": random(4, 3, 3), "labels": np.arange(3)}, "each of the 4 pictures"),
        ({"images": random(4, 3, 3), "labels": np.ones(4)}, "whole number"),
        ({"images": random(4, 3, 3), "labels": np.array(3)}, "each of the 4 pictures"),
        ({"images": random(4, 3, 3), "labels": np.zeros(0, int)}, "each of the 4 pictures"),
        ({"images": random(4, 3, 3), "damaged": random(4, 3, 4)}, "pixel for pixel"),
        ({"train_images": random(4, 3, 3)}, "'test_images'"),
    ],
)
def test_an_npz_that_does_not_fit_is_said(tmp_path: Path, arrays: dict, said: str) -> None:
    with pytest.raises(PellucidError, match=said) as caught:
        npz(saved(tmp_path / "x.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_the_last_training_pictures_are_for_validation(tmp_path: Path) -> None:
    write_idx(tmp_path)
    source = idx(tmp_path, "mine")
    assert source.name == "mine"
    assert list(source.splits["validation"].labels) == [6]
    write_cifar(tmp_path / "c")
    splits = cifar(tmp_path / "c").splits
    assert [len(split) for split in splits.values()] == [18, 2, 4]
    assert list(splits["validation"].labels) == [2, 3]


def test_a_folder_without_cifar_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks CIFAR-10's binary files"):
        cifar(tmp_path)


def test_members_that_are_no_arrays_are_refused_in_a_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npz", images=random(4, 3, 3))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels", b"words")
    with pytest.raises(DataError, match="'labels' in it is no array"):
        npz(path)


@pytest.mark.parametrize("labels", [np.array([0, -1]), np.array([0, 2**63 + 5], np.uint64)])
def test_labels_that_count_no_classes_are_refused(labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must count the classes from 0"):
        npz(saved(tmp_path / "x.npz", images=random(2, 3, 3), labels=labels))
