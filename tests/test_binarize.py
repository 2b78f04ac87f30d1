"""Promises of restore/binarize.py: ink becomes black and paper white, however light falls."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from pellucid.restore import binarize as module
from pellucid.restore import cells
from pellucid.restore.binarize import binarize

WORDS = "Whatever the light\nis like, the words\nstay where they are"


def page(level: int = 20) -> np.ndarray:
    sheet = Image.new("L", (500, 300), 255)
    font = ImageFont.load_default(28)
    ImageDraw.Draw(sheet).multiline_text((40, 40), WORDS, fill=level, font=font, spacing=20)
    return np.asarray(sheet)[..., None]


TRUTH = page() < 128


def f_measure(found: np.ndarray) -> float:
    return float(2 * (found & TRUTH).sum() / (found.sum() + TRUTH.sum()))


def test_a_clean_page_is_parted_in_its_middle() -> None:
    assert f_measure(binarize(page()) == 0) > 0.95
    np.testing.assert_array_equal(np.unique(binarize(page())), [0, 255])


@pytest.mark.parametrize("darkest", [0.8, 0.5, 0.3])
def test_shadow_over_the_page_takes_nothing_and_adds_nothing(darkest: float) -> None:
    light = np.linspace(1, darkest, 500)[None, :, None]
    assert f_measure(binarize((page() * light).astype(np.uint8)) == 0) > 0.95


@pytest.mark.parametrize("level", [20, 90, 140])
def test_dark_paper_and_faint_ink_are_told_apart(level: int) -> None:
    assert f_measure(binarize((page(level) * 0.4).astype(np.uint8)) == 0) > 0.95


def test_an_empty_page_stays_empty() -> None:
    noise = np.random.default_rng(0).normal(0, 8, (300, 200, 1))
    for paper in (250, 180, 90):
        grain = noise * paper / 250
        assert (binarize((paper + grain).clip(0, 255).astype(np.uint8)) == 255).mean() > 0.9999


def test_what_is_black_over_a_wide_place_stays_black() -> None:
    clean = page().copy()
    clean[220:, :200] = 30
    found = binarize(clean)
    assert not found[220:, :200].any()
    assert f_measure((found == 0) & (np.arange(300) < 220)[:, None, None]) > 0.95
    assert not binarize(np.zeros((64, 64, 1), np.uint8)).any()


def test_depth_of_the_samples_and_colour_change_nothing() -> None:
    whole = binarize(page(90))
    np.testing.assert_array_equal(binarize(page(90).astype(np.uint16) * 257), whole)
    np.testing.assert_array_equal(binarize((page(90) / 255).astype(np.float32)), whole)
    np.testing.assert_array_equal(binarize(np.repeat(page(90), 3, axis=2)), whole)


def test_a_large_page_in_bands_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    shaded = (page() * np.linspace(1, 0.5, 300)[:, None, None]).astype(np.uint8)
    whole = binarize(shaded)
    for pixels in (500 * 8, 500 * 40):
        monkeypatch.setattr(cells, "BAND_PIXELS", pixels)
        np.testing.assert_array_equal(binarize(shaded), whole)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_any_size_and_any_content_comes_back_in_two_levels(
    height: int, width: int, seed: int
) -> None:
    given_page = np.random.default_rng(seed).integers(0, 256, (height, width, 1), np.uint8)
    found = binarize(given_page)
    assert found.shape == (height, width, 1)
    assert set(np.unique(found)) <= {0, 255}


@given(st.integers(0, 2**32 - 1), st.integers(1, 4000))
@settings(max_examples=100, deadline=None)
def test_the_level_is_that_of_opencv(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(60, 20, count), rng.normal(190, 25, 3 * count)])
    grey = values.clip(0, 255).astype(np.uint8)[None]
    expected, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    assert abs(module._otsu(np.bincount(grey.ravel(), minlength=256)) - expected) <= 1
