"""Promises of learn/medical_images.py: what is at hand, split for good, nothing of a test part."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid import images
from pellucid.errors import DataError
from pellucid.images import Picture
from pellucid.learn import datasets, medical_images
from pellucid.learn.known import LICENCES
from pellucid.learn.medical_images import CONTRASTS, EVERY, SLICES, SMALL, body

SIDE = 64


def disc(level: float = 900.0) -> np.ndarray:
    """A bright disc on nothing, in counts."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.where(np.hypot(rows - 32, columns - 32) < 20, level, 0).astype(np.float32)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten slices, and a hundred small pictures in an archive beside one of tests."""
    (tmp_path / SLICES).mkdir()
    for index in range(10):
        images.write(tmp_path / SLICES / f"{index:02d}.tif", Picture(disc()[..., None]))
    (tmp_path / SMALL).mkdir()
    for part in ("train", "test"):
        with zipfile.ZipFile(tmp_path / SMALL / f"{part}.zip", "w") as packed:
            packed.writestr("README.txt", "no picture")
            for index in range(100):
                stream = io.BytesIO()
                Image.new("L", (16, 16), index).save(stream, "jpeg")
                packed.writestr(f"Hand/{part}-{index:03d}.jpeg", stream.getvalue())
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    return tmp_path


def test_slices_are_split_by_their_order_and_drawn_anew(shelf: Path) -> None:
    data = datasets.load("medical_images", channels=1)
    sliced = {
        part: [path for path in data.split(part).paths if path.startswith(SLICES)]
        for part in ("train", "validation", "test")
    }
    assert sliced["test"] == [f"{SLICES}/02.tif", f"{SLICES}/07.tif"]
    assert sliced["validation"] == [f"{SLICES}/04.tif", f"{SLICES}/09.tif"]
    assert len(sliced["train"]) == len(set(sliced["train"])) == 6 * CONTRASTS
    assert not {path[: len(SLICES) + 3] for path in sliced["train"]} & {
        path[: len(SLICES) + 3] for path in sliced["test"]
    }
    sizes = set()
    for index in range(6 * CONTRASTS):
        picture = data.train.image(index)[0][0]
        sizes.add(picture.shape)
        assert picture[0, 0] == 0
        assert 0.15 < float((picture > 0.05).float().mean()) < 0.45
    assert len(sizes) > 10


def test_small_pictures_come_larger_and_only_from_the_training_archive(shelf: Path) -> None:
    source = medical_images.medical_images()
    small = [
        (path, picture)
        for split in source.splits.values()
        for path, picture in zip(split.paths, split.clean, strict=True)
        if path.startswith(SMALL)
    ]
    assert len(small) == 100 // EVERY
    assert all("test-" not in path for path, _ in small)
    assert {np.shape(picture) for _, picture in small} == {(32, 32, 1)}
    assert LICENCES[SMALL] in source.licence
    assert LICENCES[SLICES] in source.licence


def test_a_folder_of_small_pictures_will_do(shelf: Path) -> None:
    before = medical_images.medical_images()
    place = shelf / SMALL
    for part in ("train", "test"):
        with zipfile.ZipFile(place / f"{part}.zip") as packed:
            packed.extractall(place / part if part == "test" else place)
        (place / f"{part}.zip").unlink()
    after = medical_images.medical_images()
    for part, split in before.splits.items():
        assert split.paths == after.splits[part].paths


def test_photographs_join_them_every_second_one_as_a_body(shelf: Path) -> None:
    (shelf / "bsds500_train432").mkdir()
    for index in range(30):
        plain = Image.new("RGB", (60, 60), (200, 200, 200))
        plain.save(shelf / "bsds500_train432" / f"{index:02d}.png")
    split = medical_images.medical_images().splits["train"]
    photographs = [
        np.asarray(picture)
        for path, picture in zip(split.paths, split.clean, strict=True)
        if path.startswith("bsds")
    ]
    cut = [picture[0, 0, 0] == 0 for picture in photographs]
    assert cut == [bool(index % 2) for index in range(len(photographs))]
    assert len(photographs) > 20


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_a_body_lies_on_black_and_holds_the_picture(key: str) -> None:
    white = np.full((120, 90, 1), 255, np.uint8)
    shape = body(white, key)
    assert np.array_equal(shape, body(white, key))
    # It may touch a side, as a body does, and leaves the corners.
    assert not shape[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert 0.2 < (shape > 0).mean() < 0.7
    assert 255 * 0.34 < shape.max() <= 255
    # Nothing but inside, outside and a thin edge.
    assert ((shape > 0) & (shape < shape.max())).mean() < 0.1


def test_without_any_of_them_it_says_which_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"t1w_head.*mednist.*\$PELLUCID_DATA"):
        medical_images.medical_images()


def test_real_slices_keep_their_black(
    real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_DATA", str(real(SLICES).parent))
    data = datasets.load("medical_images", channels=1)
    assert [path.partition("/")[0] for path in data.test.paths] == [SLICES] * 3
    for index in range(3):
        picture = data.test.image(index)[0][0]
        assert float(picture.max()) == 1
        assert float((picture < 0.03).float().mean()) > 0.3
