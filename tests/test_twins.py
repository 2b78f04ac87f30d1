"""Promises of restore/twins.py: each picture goes through the network made for its kind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from networks import box, pointwise
from pellucid.errors import CheckpointError
from pellucid.images import Picture, pages, read, write
from pellucid.restore import twins, zoo
from pellucid.restore.denoise import denoise
from pellucid.restore.files import denoise_files
from pellucid.restore.twins import is_grey, open_twins

GREY, COLOUR = 0.25, 0.5
"""What the shipped networks below make of a white pixel."""


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A box with every pair, one of them in two forms, and a model without a twin."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(zoo, "WEIGHTS", folder)
    for colour, grey in zoo.TWINS.items():
        pointwise(folder / f"{grey}.onnx", "Mul", GREY)
        pointwise(folder / f"{colour}.onnx", "Mul", COLOUR, channels=3)
    pointwise(folder / "photo-gray-fast.onnx", "Mul", 0.125)
    pointwise(folder / "photo-fast.onnx", "Mul", 0.75, channels=3)
    pointwise(folder / "single.onnx", "Mul", COLOUR, channels=3)
    return folder


@pytest.fixture
def opened(monkeypatch):
    """The names that were opened, in order."""
    names = []
    real = twins.open_model

    def watched(model, **options):
        names.append(model)
        return real(model, **options)

    monkeypatch.setattr(twins, "open_model", watched)
    return names


def white(channels: int, *, tinted: bool = False) -> np.ndarray:
    x = np.ones((9, 11, channels), np.float32)
    if tinted:
        x[-1, -1, 2] = 0.5
    return x


@pytest.mark.parametrize("name", ["photo", "photo-gray", "gaussian-color", "gaussian-gray"])
def test_either_name_gives_each_picture_its_own_network(shelf, name):
    assert np.all(denoise(white(1), model=name) == GREY)
    assert np.all(denoise(white(3), model=name) == GREY)
    assert denoise(white(3, tinted=True), model=name)[0, 0].tolist() == [COLOUR] * 3


def test_without_a_name_the_default_and_its_twin_are_taken(shelf):
    assert np.all(denoise(white(1)) == GREY)
    assert denoise(white(3, tinted=True))[0, 0, 0] == COLOUR


@pytest.mark.parametrize("name", ["photo-fast", "photo-gray-fast"])
def test_twins_are_of_one_form(shelf, name):
    assert np.all(denoise(white(1), model=name) == 0.125)
    assert denoise(white(3, tinted=True), model=name)[0, 0, 0] == 0.75


def test_every_pair_in_the_table_is_named_both_ways(shelf):
    for colour, grey in zoo.TWINS.items():
        assert (zoo.twin(colour), zoo.twin(grey)) == (grey, colour)
    assert zoo.twin("photo-fast") == "photo-gray-fast"
    for name in ("single", "gaussian-gray-fast", "nothing", "photo-fast-fast", "-fast", ""):
        assert zoo.twin(name) is None


def test_without_a_twin_in_the_box_the_model_takes_every_picture(shelf):
    (shelf / "photo-gray.onnx").unlink()
    for name in ("photo", "single"):
        for x in (white(1), white(3), white(3, tinted=True)):
            assert denoise(x, model=name)[0, 0] == pytest.approx([COLOUR] * x.shape[2])


def test_a_model_given_as_a_file_is_used_as_it_is(shelf):
    for path in (shelf / "photo.onnx", str(shelf / "photo.onnx")):
        assert np.all(denoise(white(1), model=path) == COLOUR)
    assert np.all(denoise(white(3, tinted=True), model=shelf / "photo-gray.onnx")[0] == GREY)


def test_a_twin_is_opened_only_when_a_picture_needs_it_and_once(shelf, opened):
    both = open_twins("photo")
    for _ in range(2):
        denoise(white(3, tinted=True), model=both)
    assert opened == ["photo"]
    for _ in range(2):
        denoise(white(1), model=both)
    assert opened == ["photo", "photo-gray"]


def test_pictures_side_by_side_open_a_twin_once(shelf, monkeypatch, opened):
    both = open_twins("photo")
    real = twins.open_model

    def slow(model, **options):
        time.sleep(0.05)
        return real(model, **options)

    monkeypatch.setattr(twins, "open_model", slow)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: denoise(white(1), model=both), range(16)))
    assert opened == ["photo", "photo-gray"]
    assert all(np.all(answer == GREY) for answer in answers)


def test_two_files_of_one_kind_behind_a_pair_do_no_harm(shelf):
    pointwise(shelf / "photo-gray.onnx", "Mul", GREY, channels=3)
    assert np.all(denoise(white(1)) == COLOUR)


def test_a_damaged_twin_fails_the_pictures_that_need_it(shelf, tmp_path):
    (shelf / "photo-gray.onnx").write_bytes(b"nothing")
    write(tmp_path / "grey.png", np.full((5, 5), 200, np.uint8))
    write(tmp_path / "red.png", np.full((5, 5, 3), (200, 0, 0), np.uint8))
    given = [tmp_path / "grey.png", tmp_path / "red.png"]
    grey, red = denoise_files(given, tmp_path / "out")
    assert "photo-gray.onnx" in str(grey.error)
    assert red.error is None
    with pytest.raises(CheckpointError):
        denoise(white(1))


@pytest.mark.parametrize("jobs", [1, 3])
def test_files_of_both_kinds_in_one_folder(shelf, tmp_path, jobs):
    (tmp_path / "in").mkdir()
    for i in range(3):
        write(tmp_path / "in" / f"g{i}.png", np.full((8, 9), 200, np.uint8))
        write(tmp_path / "in" / f"r{i}.png", np.full((8, 9, 3), 200, np.uint8))
        write(tmp_path / "in" / f"c{i}.png", np.full((8, 9, 3), (200, 0, 0), np.uint8))
    results = denoise_files([tmp_path / "in"], tmp_path / "out", jobs=jobs)
    assert not [result.error for result in results if result.error]
    for i in range(3):
        assert read(tmp_path / "out" / f"g{i}.png").samples[0, 0].tolist() == [50]
        # Grey that was stored as RGB stays RGB, all three channels alike.
        assert read(tmp_path / "out" / f"r{i}.png").samples[0, 0].tolist() == [50] * 3
        assert read(tmp_path / "out" / f"c{i}.png").samples[0, 0].tolist() == [100, 0, 0]


def test_pages_of_both_kinds_in_one_tiff(shelf, tmp_path):
    samples = [
        np.full((8, 9, 1), 200, np.uint8),
        np.full((8, 9, 3), (0, 200, 0), np.uint16),
        np.full((8, 9, 3), 200, np.uint8),
    ]
    write(tmp_path / "in.tif", [Picture(page) for page in samples])
    results = denoise_files([tmp_path / "in.tif"], tmp_path / "out.tif")
    assert [result.error for result in results] == [None] * 3
    answers = [page.samples[0, 0].tolist() for page in pages(tmp_path / "out.tif")]
    assert answers == [[50], [0, 100, 0], [50] * 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_means_every_sample_of_every_row(dtype):
    x = np.repeat(np.random.default_rng(0).random((3000, 700, 1)) * 200, 3, axis=2).astype(dtype)
    assert is_grey(x[..., :1])
    assert is_grey(x)
    x[-1, -1, 1] += 1
    assert not is_grey(x)


def test_grey_as_rgb_is_the_same_to_the_bit_as_grey(tmp_path):
    model = box(tmp_path / "m.onnx", radius=3)
    x = np.random.default_rng(0).random((60, 70), np.float32) * 900
    x[3, 4] = np.nan
    x[30, 31] = 1e6
    with pytest.warns(UserWarning, match="stay as"):
        grey = denoise(x, model=model, strength=0.7, tile=32)
    with pytest.warns(UserWarning, match="stay as"):
        rgb = denoise(np.repeat(x[..., None], 3, axis=2), model=model, strength=0.7, tile=32)
    assert all(np.array_equal(rgb[..., c], grey, equal_nan=True) for c in range(3))
