"""Saved pairs: both versions side by side, the same whatever the order, nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pellucid import images
from pellucid.errors import DataError, OptionError, PellucidError
from pellucid.images import Picture
from pellucid.learn.damage import parse
from pellucid.learn.datasets import load
from pellucid.learn.pairs import save_pairs
from test_folders import put, random


def read(path: Path) -> np.ndarray:
    return images.read(path).samples


def tree(folder: Path) -> list[str]:
    """The files below a folder but for the note on what was done."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name != "damage.txt")


def test_both_versions_lie_side_by_side_with_the_tree_kept(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", "deep/er/b.jpg", shape=(16, 12, 3))
    results = save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.1")
    names = ["a.png", "deep/er/b.png"]
    assert tree(tmp_path / "out") == [f"{s}/{n}" for s in ("clean", "damaged") for n in names]
    assert [result.error for result in results] == [None, None]
    assert np.array_equal(read(tmp_path / "out/clean/a.png"), read(tmp_path / "in/a.png"))
    difference = read(tmp_path / "out/damaged/a.png") / 255 - read(tmp_path / "in/a.png") / 255
    assert 0.05 < difference.std() < 0.12


def test_what_is_saved_loads_as_pairs(tmp_path: Path) -> None:
    put(tmp_path / "in", *(f"{i}.png" for i in range(12)))
    save_pairs(tmp_path / "in", tmp_path / "out", "salt_pepper:0.3")
    data = load(tmp_path / "out")
    assert sum(len(data.split(part)) for part in ("train", "validation", "test")) == 12
    assert data.train.damaged is not None


def test_order_and_company_do_not_change_the_noise(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", "b.png", "c.png")
    files = [tmp_path / "in" / name for name in ("a.png", "b.png", "c.png")]
    save_pairs(files, tmp_path / "one", "gaussian:0..0.5")
    save_pairs(files[::-1], tmp_path / "two", "gaussian:0..0.5")
    save_pairs(files[1], tmp_path / "three", "gaussian:0..0.5")
    expected = read(tmp_path / "one/damaged/b.png")
    assert np.array_equal(expected, read(tmp_path / "two/damaged/b.png"))
    assert np.array_equal(expected, read(tmp_path / "three/damaged/b.png"))


def test_another_seed_gives_other_noise(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png")
    for seed in (0, 1):
        save_pairs(tmp_path / "in", tmp_path / str(seed), "gaussian:0.2", seed=seed)
    one, other = (read(tmp_path / str(seed) / "damaged/a.png") for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_the_strengths_that_were_drawn_are_told(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", "b.png")
    results = save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.1..0.3+jpeg:50")
    stages = [parse(result.damage).stages for result in results]
    assert all(0.1 <= gaussian.low == gaussian.high <= 0.3 for gaussian, _ in stages)
    assert all(str(jpeg) == "jpeg:50" for _, jpeg in stages)
    assert stages[0] != stages[1]


def test_depth_alpha_and_tags_survive(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    deep = random(8, 9, 3).astype(np.uint16) * 257
    alpha = random(8, 9).astype(np.uint16) * 257
    images.write(tmp_path / "in" / "deep.png", Picture(deep, alpha, dpi=(300, 300)))
    images.write(tmp_path / "in" / "float.tif", (random(8, 9, 1) / 255).astype(np.float32))
    save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.05")
    damaged = images.read(tmp_path / "out/damaged/deep.png")
    assert damaged.samples.dtype == np.uint16
    assert np.array_equal(damaged.alpha, alpha)
    assert damaged.dpi == pytest.approx((300, 300), abs=0.1)
    assert np.array_equal(read(tmp_path / "out/clean/deep.png"), deep)
    floats = read(tmp_path / "out/damaged/float.tif")
    assert floats.dtype == np.float32
    assert 0 <= floats.min() <= floats.max() <= 1


def test_one_bit_pages_become_grey_ones(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images.write(
        tmp_path / "in/page.png", Picture((random(20, 20, 1) > 99) * np.uint8(255), bits=1)
    )
    save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.2")
    assert len(np.unique(read(tmp_path / "out/damaged/page.png"))) > 10


def test_all_pages_of_a_file_are_damaged_each_in_its_own_way(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images.write(tmp_path / "in/s.tif", [Picture(np.full((9, 9, 1), 128, np.uint8))] * 3)
    save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.1")
    pages = [page.samples for page in images.pages(tmp_path / "out/damaged/s.tif")]
    assert len(pages) == 3
    assert not np.array_equal(pages[0], pages[1])


def test_a_second_run_skips_what_is_done(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", "b.png")
    save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.1")
    (tmp_path / "out/damaged/b.png").unlink()
    before = read(tmp_path / "out/damaged/a.png")
    results = save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.1")
    assert [result.skipped for result in results] == [True, False]
    assert np.array_equal(before, read(tmp_path / "out/damaged/a.png"))
    results = save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.5", overwrite=True)
    assert not any(result.skipped for result in results)
    assert not np.array_equal(before, read(tmp_path / "out/damaged/a.png"))


def test_pairs_of_another_damage_or_seed_are_not_taken_for_done(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", np.full((9, 9), 99, np.uint8))
    save_pairs(tmp_path / "a.png", tmp_path / "out", "gaussian:0.1")
    first = (tmp_path / "out/damaged/a.png").read_bytes()
    for damage, seed in (("salt_pepper:0.5", 0), ("gaussian:0.1", 1)):
        with pytest.raises(DataError, match=r"holds pairs made with gaussian:0\.1, seed 0"):
            save_pairs(tmp_path / "a.png", tmp_path / "out", damage, seed=seed)
    assert (tmp_path / "out/damaged/a.png").read_bytes() == first
    save_pairs(tmp_path / "a.png", tmp_path / "out", "salt_pepper:0.5", overwrite=True)
    assert (tmp_path / "out/damaged/a.png").read_bytes() != first
    (again,) = save_pairs(tmp_path / "a.png", tmp_path / "out", "salt_pepper:0.5")
    assert again.skipped


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", "c.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    seen = []
    results = save_pairs(tmp_path / "in", tmp_path / "out", "blur:1", progress=seen.append)
    assert seen == results
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "b.png" in results[1].error
    assert tree(tmp_path / "out/damaged") == ["a.png", "c.png"]


def test_results_inside_the_input_folder_are_not_taken_as_inputs(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    for _ in range(2):
        results = save_pairs(tmp_path, tmp_path / "out", "blur:1")
        assert len(results) == 1


def test_the_folder_that_one_stands_in_is_taken_whole(tmp_path: Path, monkeypatch) -> None:
    put(tmp_path / "in", *(f"{i}.png" for i in range(20)))
    monkeypatch.chdir(tmp_path / "in")
    assert len(save_pairs(".", tmp_path / "out", "gaussian:0.1")) == 20


def test_the_folder_of_the_pictures_is_no_place_for_pairs(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    with pytest.raises(OptionError, match="is the folder of the pictures; give -o another"):
        save_pairs(tmp_path, tmp_path, "gaussian:0.1")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    put(tmp_path, "clean/a.png")
    before = (tmp_path / "clean/a.png").read_bytes()
    (result,) = save_pairs([tmp_path / "clean/a.png"], tmp_path, "gaussian:0.1", overwrite=True)
    assert "overwritten" in result.error
    assert (tmp_path / "clean/a.png").read_bytes() == before
    assert not (tmp_path / "damaged").exists()


def test_two_inputs_of_one_name_do_not_share_an_output(tmp_path: Path) -> None:
    put(tmp_path, "x/a.png", "y/a.png", "x/b.jpg", "x/b.png")
    results = save_pairs([tmp_path / "x", tmp_path / "y"], tmp_path / "out", "blur:1")
    errors = [result.error for result in results if result.error]
    assert len(errors) == 2
    assert all("would both be saved as" in error for error in errors)


def test_data_sets_are_saved_by_name(tmp_path: Path) -> None:
    results = save_pairs("photographs", tmp_path, "gaussian:0.1")
    assert tree(tmp_path) == ["clean/china.png", "damaged/china.png"]
    assert results[0].input == "photographs[0]"
    expected = load("photographs").test.image(0)[0].permute(1, 2, 0).numpy() * 255
    assert np.array_equal(read(tmp_path / "clean/china.png"), np.rint(expected))
    assert len(save_pairs("digits", tmp_path, "gaussian:0.1", split="validation")) == 180
    assert (tmp_path / "clean/007.png").exists()


@pytest.mark.parametrize("name", ["nowhere/at/all", "mnits"])
def test_an_input_that_does_not_exist_is_said_before_anything_is_written(tmp_path, name) -> None:
    put(tmp_path / "in", "a.png")
    with pytest.raises(PellucidError, match=r"does not exist|did you mean"):
        save_pairs([tmp_path / "in", name], tmp_path / "out", "blur:1")
    assert not (tmp_path / "out").exists()


def test_a_malformed_damage_is_said_before_anything_is_written(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png")
    with pytest.raises(OptionError, match="gaussian:25/255"):
        save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:25")
    assert not (tmp_path / "out").exists()


def test_floats_outside_the_range_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images.write(tmp_path / "in/a.tif", np.full((4, 4, 1), 300.0, np.float32))
    (result,) = save_pairs(tmp_path / "in", tmp_path / "out", "gaussian:0.1")
    assert "a.tif has values from 300 to 300" in result.error


def test_an_output_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png")
    (tmp_path / "out").write_text("a file")
    (result,) = save_pairs(tmp_path / "in", tmp_path / "out", "blur:1")
    assert "cannot make the folder" in result.error
