"""A user's own data: every layout that is told apart, and what is said where none fits."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import DataError, ImageError, PellucidError
from pellucid.learn.folders import folder, npz, pairs
from pellucid.learn.sources import SPLITS, decoded
from test_published import write_cifar, write_idx


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def put(root: Path, *names: str, shape: tuple[int, ...] = (6, 5)) -> Path:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random(*shape, seed=seed)).save(path)
    return root


def sizes(source) -> dict[str, int]:
    return {part: len(split) for part, split in source.splits.items()}


def paths(source, *parts: str) -> set[str]:
    return {path for part in parts or SPLITS for path in source.splits[part].paths}


def test_a_plain_folder_is_split_and_keeps_its_names(tmp_path: Path) -> None:
    names = [f"{i:02}.png" for i in range(30)]
    source = folder(put(tmp_path / "mine", *names))
    assert source.name == "mine"
    assert sum(sizes(source).values()) == 30
    assert paths(source) == set(names)
    assert source.class_names == ()


def test_sub_folders_are_labels(tmp_path: Path) -> None:
    put(tmp_path, *(f"{kind}/{i}.png" for kind in ("cat", "ant", "bee") for i in range(9)))
    source = folder(tmp_path)
    assert source.class_names == ("ant", "bee", "cat")
    for split in source.splits.values():
        assert [source.class_names[i] for i in split.labels] == [
            p.split("/")[0] for p in split.paths
        ]


def test_one_picture_beside_the_sub_folders_means_no_labels(tmp_path: Path) -> None:
    source = folder(put(tmp_path, "a/1.png", "b/2.png", "3.png"))
    assert source.class_names == ()
    assert all(split.labels is None for split in source.splits.values())


@pytest.mark.parametrize("middle", ["validation", "val", "valid", "Val"])
def test_split_folders_are_taken_as_they_are(tmp_path: Path, middle: str) -> None:
    put(tmp_path, "train/1.png", "train/2.png", f"{middle}/3.png", "test/4.png", "extra/5.png")
    source = folder(tmp_path)
    assert sizes(source) == {"train": 2, "validation": 1, "test": 1}
    assert paths(source) == {"1.png", "2.png", "3.png", "4.png"}


def test_validation_comes_out_of_train_where_there_is_none(tmp_path: Path) -> None:
    names = [f"train/good/{i}.png" for i in range(40)]
    source = folder(put(tmp_path, *names, "test/good/1.png", "test/bad/2.png"))
    assert sizes(source)["train"] + sizes(source)["validation"] == 40
    assert paths(source, "train").isdisjoint(paths(source, "validation"))
    assert source.class_names == ("bad", "good")
    assert set(source.splits["train"].labels) == {1}
    assert sorted(source.splits["test"].labels) == [0, 1]


@pytest.mark.parametrize(
    ("noisy", "clean"),
    [("noisy", "clean"), ("damaged", "clean"), ("noisy_avg1", "clean_avg400"), ("x", "x_cleaned")],
)
def test_folders_of_both_sides_are_pairs(tmp_path: Path, noisy: str, clean: str) -> None:
    put(tmp_path, *(f"{side}/sub/{i}.png" for side in (noisy, clean) for i in range(5)))
    source = folder(tmp_path)
    for split in source.splits.values():
        for one, other in zip(split.clean, split.damaged, strict=True):
            assert one.relative_to(tmp_path / clean) == other.relative_to(tmp_path / noisy)


@pytest.mark.parametrize(("noisy", "clean"), [("noisy", "clean"), ("real", "mean")])
def test_endings_in_one_folder_are_pairs(tmp_path: Path, noisy: str, clean: str) -> None:
    put(tmp_path, *(f"{i}_{end}.png" for end in (noisy, clean) for i in range(5)))
    source = folder(tmp_path)
    assert sum(sizes(source).values()) == 5
    for split in source.splits.values():
        for one, other in zip(split.clean, split.damaged, strict=True):
            assert other.name == one.name.replace(clean, noisy)


def test_pairs_match_by_stem_whatever_the_suffix(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/d/2.png", "b/1.png", "b/d/2.bmp")
    source = pairs(tmp_path / "a", tmp_path / "b")
    assert paths(source) == {"1.png", "d/2.bmp"}


def test_pairs_match_behind_what_each_side_begins_with(tmp_path: Path) -> None:
    put(tmp_path, *(f"a/in_{i:03}.png" for i in range(4)), *(f"b/out_{i:03}.png" for i in range(4)))
    source = pairs(tmp_path / "a", tmp_path / "b")
    for split in source.splits.values():
        for one, other in zip(split.clean, split.damaged, strict=True):
            assert one.stem[-3:] == other.stem[-3:]


def test_a_beginning_never_reaches_into_a_number(tmp_path: Path) -> None:
    put(tmp_path, "a/img1.png", "a/img2.png", "b/img11.png", "b/img12.png")
    with pytest.raises(DataError, match="no partner"):
        pairs(tmp_path / "a", tmp_path / "b")


def test_unmatched_pairs_are_named_from_both_sides(tmp_path: Path) -> None:
    put(tmp_path, *(f"a/{i}.png" for i in range(6)), "b/0.png", "b/other.png")
    with pytest.raises(DataError, match=r"a/1\.png.* and 3 more") as caught:
        pairs(tmp_path / "a", tmp_path / "b")
    assert "\n" not in str(caught.value)
    put(tmp_path, *(f"b/{i}.png" for i in range(6)))
    with pytest.raises(DataError, match=r"b/other\.png"):
        pairs(tmp_path / "a", tmp_path / "b")


def test_two_files_of_one_stem_cannot_be_paired(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "a/1.jpg", "b/1.png")
    with pytest.raises(DataError, match="differ only in their suffix"):
        pairs(tmp_path / "a", tmp_path / "b")


def test_mnist_and_cifar_files_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    write_idx(tmp_path / "m")
    assert sizes(folder(tmp_path / "m")) == {"train": 6, "validation": 1, "test": 7}
    write_cifar(tmp_path / "c" / "cifar-10-batches-bin")
    assert sizes(folder(tmp_path / "c")) == {"train": 18, "validation": 2, "test": 4}


def test_no_folder_and_no_pictures_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent is no folder"):
        folder(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ImageError, match="no pictures"):
        folder(tmp_path)


# .npz


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


def test_a_folder_with_an_npz_for_each_split(tmp_path: Path) -> None:
    saved(tmp_path / "train_20.npz", images=random(20, 3, 3))
    saved(tmp_path / "test_4.npz", images=random(4, 3, 3))
    assert sizes(folder(tmp_path)) == {"train": 18, "validation": 2, "test": 4}


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
        ({"images": random(4, 3, 3), "damaged": random(4, 3, 4)}, "pixel for pixel"),
        ({"train_images": random(4, 3, 3)}, "'test_images'"),
    ],
)
def test_an_npz_that_does_not_fit_is_said(tmp_path: Path, arrays: dict, said: str) -> None:
    with pytest.raises(PellucidError, match=said) as caught:
        npz(saved(tmp_path / "x.npz", **arrays))
    assert "\n" not in str(caught.value)
