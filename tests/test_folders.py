"""A user's own data: every layout that is told apart, and what is said where none fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import DataError, ImageError
from pellucid.learn.folders import folder, pairs
from pellucid.learn.sources import SPLITS
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


def test_split_folders_of_both_sides_are_pairs(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{side}/{i}.png" for side in ("noisy", "clean") for i in range(20)))
    put(tmp_path, *(f"test/{side}/x{i}.png" for side in ("noisy", "clean") for i in range(3)))
    source = folder(tmp_path)
    assert source.class_names == ()
    assert sizes(source)["train"] + sizes(source)["validation"] == 20
    assert sizes(source)["test"] == 3
    assert paths(source, "train").isdisjoint(paths(source, "validation"))
    for split in source.splits.values():
        assert split.labels is None
        for one, other in zip(split.clean, split.damaged, strict=True):
            assert (one.parent.name, other.parent.name) == ("clean", "noisy")
            assert one.name == other.name


def test_pairs_in_one_part_only_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *(f"train/{side}/{i}.png" for side in ("noisy", "clean") for i in range(5)))
    put(tmp_path, "test/a.png")
    with pytest.raises(DataError, match="folders in train and none in test; give every part both"):
        folder(tmp_path)


def test_clean_and_damaged_things_of_other_names_are_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path / part, *(f"clean/{i}.png" for i in range(5)), "damaged/x.png")
    assert folder(tmp_path).class_names == ("clean", "damaged")


def test_folders_that_only_begin_like_pairs_are_classes(tmp_path: Path) -> None:
    put(tmp_path, "clean_plates/1.png", "clean_plates/2.png", "damaged_plates/x.png")
    assert folder(tmp_path).class_names == ("clean_plates", "damaged_plates")


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


def test_a_folder_with_an_npz_for_each_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "train_20.npz", images=random(20, 3, 3))
    np.savez(tmp_path / "test_4.npz", images=random(4, 3, 3))
    assert sizes(folder(tmp_path)) == {"train": 18, "validation": 2, "test": 4}
