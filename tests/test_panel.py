"""Promises of report/panel.py: nothing lost, nothing cut, pixels kept sharp, fast."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import ImageError
from pellucid.report.panel import draw, panel


def contains(image: Image.Image, patch: np.ndarray) -> bool:
    """Whether the patch (H, W, 3) lies somewhere in the image, pixel for pixel."""
    whole = np.asarray(image)
    windows = np.lib.stride_tricks.sliding_window_view(whole, patch.shape[:2], axis=(0, 1))
    starts = np.argwhere((whole[: windows.shape[0], : windows.shape[1]] == patch[0, 0]).all(-1))
    return any(
        np.array_equal(whole[y : y + patch.shape[0], x : x + patch.shape[1]], patch)
        for y, x in starts
    )


@pytest.fixture
def small() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


def test_small_pictures_are_enlarged_by_whole_factors_and_stay_sharp(small):
    image = draw([[small]])
    enlarged = np.kron(small, np.ones((14, 14), np.uint8))
    assert contains(image, np.repeat(enlarged[:, :, None], 3, 2))


def test_pictures_that_fit_are_shown_pixel_for_pixel(scene):
    assert contains(draw([[scene]], least=1), scene)
    assert contains(draw([[scene.astype(np.float32) / 255]], least=1), scene)


def test_large_pictures_are_reduced_to_the_limit():
    image = draw([[np.zeros((40, 3000), np.uint8)]], most=300)
    assert 300 <= image.width < 400


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (3, 500), (500, 3, 1), (8, 8, 3)])
def test_every_shape_is_drawn(shape):
    image = draw([[np.full(shape, 0.5), None], [np.ones(shape)]], captions=[["a"], ["b"]])
    assert image.mode == "RGB"


def test_floats_outside_the_range_and_not_numbers_are_drawn():
    cell = np.array([[np.nan, -1.0], [2.0, np.inf]])
    image = np.asarray(draw([[cell]], least=1))
    assert contains(
        Image.fromarray(image),
        np.repeat(np.array([[0, 0], [255, 255]], np.uint8)[:, :, None], 3, 2),
    )


def test_no_text_is_cut(small):
    """With room around it, every text lies on paper: the margin keeps the colour of paper."""
    long = "a very long caption that is much wider than the picture above it"
    image = np.asarray(
        draw(
            [[small, small]],
            columns=[long, "short"],
            rows=[long],
            captions=[[long, long]],
            title=long,
            note=long + " " + long,
        )
    )
    border = np.concatenate([image[:4].reshape(-1, 3), image[-4:].reshape(-1, 3)])
    sides = np.concatenate([image[:, :4].reshape(-1, 3), image[:, -4:].reshape(-1, 3)])
    assert (border == 255).all()
    assert (sides == 255).all()


def test_neighbours_do_not_touch(small):
    image = np.asarray(draw([[small, small], [small, small]]))
    rows = (image == 255).all(axis=(1, 2))
    columns = (image == 255).all(axis=(0, 2))
    # Paper, picture, paper, picture, paper: five stretches each way.
    assert 1 + int(np.diff(rows.astype(int)).astype(bool).sum()) == 5
    assert 1 + int(np.diff(columns.astype(int)).astype(bool).sum()) == 5


def test_an_empty_grid_is_a_blank_page():
    assert draw([]).size > (0, 0)
    assert draw([[None]]).size > (0, 0)


def test_the_same_cells_give_the_same_file(small, tmp_path):
    one = panel([[small]], tmp_path / "a" / "1.png", title="x")
    two = panel([[small]], tmp_path / "a" / "2.png", title="x")
    assert one.read_bytes() == two.read_bytes()
    with Image.open(one) as image:
        assert image.format == "PNG"


def test_a_place_that_cannot_be_written_is_told_in_one_line(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"^[^\n]+$"):
        panel([[small]], tmp_path / "file" / "x.png")


def test_eight_digits_take_little_of_an_epoch(tmp_path):
    digits = list(np.random.default_rng(0).random((8, 28, 28)))
    names = ["clean", "damaged", "restored"]
    panel([digits] * 3, tmp_path / "warm.png", rows=names)
    times = []
    for _ in range(5):
        start = time.process_time()
        panel([digits] * 3, tmp_path / "p.png", rows=names, captions=[["20.0 dB"] * 8] * 3)
        times.append(time.process_time() - start)
    assert min(times) < 0.05
