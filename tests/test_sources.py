"""Splits that stay put, decoding that names what is wrong, and pictures made alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid import images
from pellucid.errors import DataError
from pellucid.learn.datasets import load
from pellucid.learn.sources import (
    SPLITS,
    Source,
    Split,
    a_tenth,
    alike,
    decoded,
    hold_out,
    in_channels,
    in_three,
)


def numbered(count: int) -> Split:
    stack = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Split(stack, labels=np.arange(count), paths=tuple(f"{i}.png" for i in range(count)))


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@settings(max_examples=60)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=60, unique=True))
def test_every_picture_is_in_exactly_one_split_and_none_is_empty(keys: list[str]) -> None:
    splits = in_three(numbered(len(keys)), keys)
    assert sorted(splits) == sorted(SPLITS)
    assert all(len(split) for split in splits.values())
    assert sorted(i for split in splits.values() for i in split.labels) == list(range(len(keys)))


@settings(max_examples=30)
@given(st.integers(3, 200))
def test_splits_by_order_are_never_empty_either(count: int) -> None:
    splits = in_three(numbered(count))
    assert all(len(split) for split in splits.values())
    assert sum(map(len, splits.values())) == count


def test_splits_are_about_eight_to_one_to_one() -> None:
    splits = in_three(numbered(255), [f"picture_{i}.png" for i in range(255)])
    assert len(splits["train"]) == pytest.approx(204, abs=20)
    assert len(splits["test"]) == pytest.approx(25.5, abs=12)


def test_adding_pictures_moves_no_other() -> None:
    keys = [f"picture_{i}.png" for i in range(255)]
    few, many = (in_three(numbered(n), keys[:n]) for n in (200, 255))
    for part in SPLITS:
        assert set(few[part].paths) <= set(many[part].paths)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=3, max_size=60))
def test_pictures_of_one_key_stay_together(groups: list[int]) -> None:
    if len(set(groups)) < 3:
        return
    splits = in_three(numbered(len(groups)), [f"group{group}" for group in groups])
    seen = [{groups[i] for i in split.labels} for split in splits.values()]
    assert all(seen)
    assert sum(map(len, seen)) == len(set(groups))


def test_one_key_for_all_falls_back_to_the_order() -> None:
    splits = in_three(numbered(20), ["same"] * 20)
    assert all(len(split) for split in splits.values())


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pictures_serve_twice(count: int) -> None:
    splits = in_three(numbered(count), ["a", "b"][:count])
    assert [len(split) for split in splits.values()] == [1, 1, 1]
    assert splits["validation"].paths == splits["test"].paths


def test_held_out_are_the_last() -> None:
    splits = hold_out(numbered(10), 3)
    assert list(splits["train"].labels) == list(range(7))
    assert list(splits["validation"].labels) == [7, 8, 9]


@pytest.mark.parametrize("order", ["sorted", "mixed", "unknown"])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 35])
def test_a_tenth_is_held_out_and_holds_every_class(count: int, order: str) -> None:
    split = numbered(count)
    if order == "mixed":
        split = split.take(np.arange(count)[::-1])
    elif order == "unknown":
        split = replace(split, labels=None)
    splits = a_tenth(split)
    kept, held = (splits[part].clean.ravel().tolist() for part in ("train", "validation"))
    assert kept
    assert len(held) == max(1, count // 10)
    assert sorted({*kept, *held}) == list(range(count))
    if order == "sorted" and count >= 10:
        assert held == list(range(9, count, 10))
    elif count > 1:
        assert held == split.clean.ravel().tolist()[-len(held) :]


def test_a_run_of_pictures_shares_memory() -> None:
    split = numbered(10)
    assert np.shares_memory(split.take(np.arange(3, 8)).clean, split.clean)


def test_a_limit_is_spread_evenly() -> None:
    assert list(numbered(10).limited(5).labels) == [0, 2, 4, 6, 8]
    assert len(numbered(10).limited(20)) == 10
    # Sorted classes stay balanced.
    classes = Split(random(90, 1, 1, 1), labels=np.repeat([0, 1, 2], 30))
    assert list(np.bincount(classes.limited(9).labels)) == [3, 3, 3]


def test_whole_puts_the_pictures_in_order_once() -> None:
    split = numbered(30)
    files = Split([Path(path) for path in split.paths], labels=split.labels, paths=split.paths)
    for count in (1, 2, 30):
        some = files.take(range(count))
        whole = Source("x", in_three(some, some.paths)).whole()
        assert whole.paths == tuple(sorted(some.paths))
        assert [str(path) for path in whole.clean] == list(whole.paths)
        assert [f"{label}.png" for label in whole.labels] == list(whole.paths)


def files_of(folder: Path, **pictures: np.ndarray) -> Split:
    for name, samples in pictures.items():
        images.write(folder / f"{name}.tif", samples)
    paths = [folder / f"{name}.tif" for name in pictures]
    return Split(paths, paths=tuple(path.name for path in paths))


def test_files_become_what_they_hold(tmp_path: Path) -> None:
    eight, sixteen = random(5, 7, 3), random(5, 7, 1).astype(np.uint16) * 257
    floats = (random(5, 7, 1) / 255).astype(np.float32)
    split = decoded(files_of(tmp_path, a=eight, b=sixteen, c=floats))
    assert np.array_equal(split.clean[0], eight)
    np.testing.assert_allclose(split.clean[1], sixteen / 65535, atol=1e-7)
    assert np.array_equal(split.clean[2], floats)
    assert split.paths == ("a.tif", "b.tif", "c.tif")


def test_the_pages_of_a_file_become_pictures(tmp_path: Path) -> None:
    pages = [images.Picture(random(4, 4 + i, 1)) for i in range(3)]
    images.write(tmp_path / "stack.tif", pages)
    images.write(tmp_path / "one.png", random(4, 4, 1))
    files = [tmp_path / "stack.tif", tmp_path / "one.png"]
    split = decoded(Split(files, labels=np.array([5, 6]), paths=("stack.tif", "one.png")))
    assert [picture.shape[1] for picture in split.clean] == [4, 5, 6, 4]
    assert list(split.labels) == [5, 5, 5, 6]
    assert split.paths == ("stack.tif#1", "stack.tif#2", "stack.tif#3", "one.png")


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random(4, 9)).save(tmp_path / "a.png", exif=exif)
    split = decoded(Split([tmp_path / "a.png"], paths=("a.png",)))
    assert split.clean[0].shape == (9, 4, 1)


def test_files_that_cannot_be_read_are_all_counted_and_the_first_named(tmp_path: Path) -> None:
    good = files_of(tmp_path, good=random(4, 4, 1))
    bad = [tmp_path / f"bad{i}.png" for i in range(5)]
    for path in bad:
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="5 of 6 pictures") as caught:
        decoded(Split([*good.clean, *bad], paths=("",) * 6))
    said = str(caught.value)
    assert "bad0.png" in said
    assert "bad4.png" not in said
    assert "and 2 more" in said
    assert "\n" not in said


def test_what_cannot_be_read_is_told_of_all_splits_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for path in paths:
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="40 of 40 pictures"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (4000.0, "4000.*scale it")]
)
def test_floats_that_cannot_be_learnt_from_are_refused(tmp_path, value, said) -> None:
    samples = np.full((4, 4, 1), 0.5, np.float32)
    samples[1, 1] = value
    with pytest.raises(DataError, match=said):
        decoded(files_of(tmp_path, a=samples))


def test_partners_must_agree_in_size_and_both_are_named(tmp_path: Path) -> None:
    clean, noisy = files_of(tmp_path, a=random(4, 4, 1)), files_of(tmp_path, b=random(4, 5, 1))
    with pytest.raises(DataError, match=r"a\.tif is 4x4 but its partner .*b\.tif is 4x5"):
        decoded(Split(clean.clean, noisy.clean, paths=("a",)), size=2)


def test_size_cuts_the_middle_and_resizes_as_pillow_does(tmp_path: Path) -> None:
    samples = random(20, 30, 3)
    split = decoded(files_of(tmp_path, a=samples), size=8)
    square = Image.fromarray(samples[:, 5:25])
    expected = np.asarray(square.resize((8, 8), Image.Resampling.LANCZOS))
    assert np.array_equal(split.clean[0], expected)
    stacked = decoded(Split(samples[None]), size=8)
    assert np.array_equal(stacked.clean[0], expected)


def test_resized_floats_stay_in_range() -> None:
    steps = np.zeros((1, 16, 16, 1), np.float32)
    steps[:, :, 8:] = 1
    result = decoded(Split(steps), size=11).clean
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1


def test_channels_are_made_alike_when_any_picture_has_colour() -> None:
    splits = alike({"train": Split([random(4, 4, 1)]), "test": Split([random(4, 4, 3)])})
    assert {picture.shape[2] for split in splits.values() for picture in split.clean} == {3}
    splits = alike({"train": Split([random(4, 4, 1)]), "test": Split([random(4, 4, 3)])}, 1)
    assert {picture.shape[2] for split in splits.values() for picture in split.clean} == {1}


def test_grey_is_the_luma_that_pillow_computes() -> None:
    colour = random(50, 40, 3)
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.array_equal(in_channels(colour, 1)[..., 0], expected)
    floats = in_channels((colour / 255).astype(np.float32), 1)[..., 0]
    np.testing.assert_allclose(floats * 255, expected, atol=0.51)
