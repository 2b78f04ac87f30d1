"""The collection of photographs: what is there, split by name, cut evenly, never a test set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import DataError
from pellucid.learn import datasets
from pellucid.learn.clean_photos import FOLDERS, clean_photographs
from pellucid.learn.known import LICENCES, TEST_SETS


def photo(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    Image.fromarray(np.tile(ramp[:, None], (height, 1, 3))).save(path)


def test_only_known_sets_and_no_test_set_is_taken() -> None:
    assert not set(FOLDERS) & TEST_SETS
    assert set(FOLDERS) <= set(LICENCES)


def test_sets_that_are_at_hand_make_one_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(40):
        photo(tmp_path / "bsds500_train432" / f"{index}.png", 60, 40)
    photo(tmp_path / "photos_free" / "large.png", 3600, 1800)
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    data = datasets.load("clean_photographs")
    whole = data.split("all")
    # 1200x600 after reduction: two pieces, which come into one split together.
    assert len(whole) == 42
    assert whole.channels == 3
    pieces = [path for path in whole.paths if "photos_free" in path]
    assert pieces == ["photos_free/large.png#1", "photos_free/large.png#2"]
    sizes = {tuple(size.tolist()) for size in whole.sizes}
    assert sizes == {(40, 60), (600, 600)}
    assert any(set(pieces) <= set(data.split(part).paths) for part in ("train", "validation"))
    assert LICENCES["bsds500_train432"] in data.licence
    assert LICENCES["div2k_crops256"] not in data.licence


def test_adding_a_set_moves_no_picture_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(60):
        photo(tmp_path / "bsds500_train432" / f"{index}.png", 20, 20)
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    before = clean_photographs().splits
    for index in range(60):
        photo(tmp_path / "imagenet_samples" / f"{index}.png", 20, 20)
    after = clean_photographs().splits
    for part, split in before.items():
        assert set(split.paths) <= set(after[part].paths)


def test_without_any_of_them_it_says_which_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"none of bsds500_train432.*\$PELLUCID_DATA"):
        clean_photographs()


def test_the_real_collection_holds_out_whole_photographs(
    real: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_DATA", str(real("bsds500_train432").parent))
    data = datasets.load("clean_photographs", channels=1)
    names = [
        {path.partition("#")[0] for path in data.split(part).paths}
        for part in ("train", "validation", "test")
    ]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    assert len(names[0]) > 10 * len(names[1])
