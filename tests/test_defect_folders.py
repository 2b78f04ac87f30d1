"""Folders of good and bad pictures: the layout of MVTec AD, order, and blocks of neighbours."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest

from commands import noisy
from pellucid import images
from pellucid.errors import DataError, ImageError
from pellucid.uses.defect_folders import (
    blocks,
    good_pictures,
    in_order,
    judged_pictures,
    read_mask,
)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A small product laid out as MVTec AD is."""
    for i in range(3):
        noisy(tmp_path / "train" / "good" / f"{i:03}.png")
        noisy(tmp_path / "test" / "good" / f"{i:03}.png")
        noisy(tmp_path / "test" / "hole" / f"{i:03}.png")
    noisy(tmp_path / "test" / "break" / "a.jpg", channels=1)
    noisy(tmp_path / "ground_truth" / "hole" / "000_mask.png")
    noisy(tmp_path / "ground_truth" / "hole" / "001.png")
    noisy(tmp_path / "ground_truth" / "break" / "a.png")
    return tmp_path


def test_good_pictures_are_those_of_train_good(product: Path) -> None:
    assert [path.name for path in good_pictures(product)] == ["000.png", "001.png", "002.png"]
    assert all(path.parent.parts[-2:] == ("train", "good") for path in good_pictures(product))
    assert len(good_pictures(product / "test" / "hole")) == 3  # a plain folder


def test_masks_are_found_by_both_names(product: Path) -> None:
    found = judged_pictures(product)
    assert [one.kind for one in found] == ["good"] * 3 + ["break"] + ["hole"] * 3
    assert [one.anomalous for one in found] == [False] * 3 + [True] * 4
    masks = [None if one.mask is None else one.mask.name for one in found]
    assert masks == [None] * 3 + ["a.png", "000_mask.png", "001.png", None]


def test_a_folder_of_another_layout_is_refused(tmp_path: Path, product: Path) -> None:
    with pytest.raises(DataError, match="this one has no test"):
        judged_pictures(product / "train")
    noisy(tmp_path / "b" / "test" / "good" / "a.png")
    with pytest.raises(DataError, match="no folder <kind>"):
        judged_pictures(tmp_path / "b")
    noisy(tmp_path / "c" / "test" / "hole" / "a.png")
    with pytest.raises(DataError, match="no folder good"):
        judged_pictures(tmp_path / "c")
    with pytest.raises(ImageError, match="no such folder"):
        good_pictures(tmp_path / "nothing")


def test_a_mask_is_what_is_not_black(tmp_path: Path) -> None:
    samples = np.zeros((4, 5), np.uint8)
    samples[1, 2], samples[3, 4] = 1, 255
    images.write(tmp_path / "m.png", samples)
    assert np.array_equal(read_mask(tmp_path / "m.png", (4, 5)), samples > 0)
    with pytest.raises(DataError, match="the mask is 5x4 but its picture is 5x8"):
        read_mask(tmp_path / "m.png", (8, 5))


def test_pictures_are_in_the_order_in_which_cameras_count() -> None:
    names = ["exp2_num_9.jpg", "exp1_num_10.jpg", "exp1_num_9.jpg", "plain.jpg"]
    ordered = [path.name for path in in_order([Path(name) for name in names])]
    assert ordered == ["plain.jpg", "exp1_num_9.jpg", "exp2_num_9.jpg", "exp1_num_10.jpg"]


def test_blocks_are_cut_where_the_numbers_jump() -> None:
    # Twelve parts, each photographed six times within seconds, a minute apart.
    paths = [Path(f"exp{i}_num_{1000 * part + 10 * i}.png") for part in range(12) for i in range(6)]
    made = blocks(in_order(paths), 4)
    assert list(chain.from_iterable(made)) == list(range(72))
    parts = [{int(paths[i].stem.split("_")[-1]) // 1000 for i in block} for block in made]
    assert all(not a & b for i, a in enumerate(parts) for b in parts[:i])
    assert all(12 <= len(block) <= 24 for block in made)


@pytest.mark.parametrize("total", [4, 5, 7, 100])
@pytest.mark.parametrize("name", ["{}.png", "same.png"])
def test_blocks_share_out_all_pictures(total: int, name: str) -> None:
    made = blocks([Path(name.format(i)) for i in range(total)], 4)
    assert list(chain.from_iterable(made)) == list(range(total))
    assert len(made) == 4
    assert max(map(len, made)) <= min(map(len, made)) + 1 + total // 4


def test_no_tile_of_the_real_ones_is_on_both_sides(real: object) -> None:
    folder = real("magnetic_tile")  # type: ignore[operator]
    paths = good_pictures(folder)
    made = blocks(paths, 4)
    numbers = [int(path.stem.split("_")[-1]) for path in paths]
    for block, after in pairwise(made):
        assert numbers[after[0]] - numbers[block[-1]] >= 500
