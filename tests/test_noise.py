"""Promises of restore/noise.py: sigma within a tenth on photographs, and never an accident."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pellucid.restore.noise import difference, estimate_sigma


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    """Noise clipped and rounded to 8 bits, as a saved file has it."""
    values = clean / 255 + np.random.default_rng(0).normal(0, sigma, clean.shape)
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "name", ["camera", "astronaut", "coffee", "chelsea", "rocket", "moon", "brick"]
)
def test_sigma_is_within_a_tenth_on_photographs(name):
    data = pytest.importorskip("skimage.data")
    clean = getattr(data, name)()[:512, :512]
    for sigma in (5 / 255, 20 / 255, 50 / 255):
        found = estimate_sigma(noisy(clean, sigma))
        assert abs(found / sigma - 1) < 0.1, (sigma * 255, found * 255)


@pytest.mark.parametrize("name", ["camera", "astronaut", "coffee", "chelsea", "moon"])
def test_clean_photographs_have_next_to_no_noise(name):
    data = pytest.importorskip("skimage.data")
    assert estimate_sigma(getattr(data, name)()) < 2.5 / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_the_scale_is_the_same_for_every_dtype(dtype):
    flat = np.full((120, 140), 0.5) + np.random.default_rng(0).normal(0, 0.05, (120, 140))
    if np.issubdtype(dtype, np.integer):
        flat = flat * np.iinfo(dtype).max
    assert estimate_sigma(flat.astype(dtype)) == pytest.approx(0.05, rel=0.06)


def test_float_pictures_of_any_range_are_judged_on_their_own_scale():
    counts = np.random.default_rng(0).normal(4000, 60, (200, 200)).astype(np.float32)
    assert estimate_sigma(counts) == pytest.approx(60, rel=0.06)


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 900), (3, 3), (3, 5000), (5000, 3), (7, 7, 3), (20, 20)]
)
def test_small_and_narrow_pictures_give_a_number(shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert 0 <= estimate_sigma(x) < 1


def test_a_constant_picture_has_no_noise():
    assert estimate_sigma(np.full((100, 100, 3), 77, np.uint8)) < 1e-6
    assert estimate_sigma(np.full((100, 100), 1e6, np.float32)) < 1


def test_nan_is_left_out():
    x = np.random.default_rng(0).normal(0.5, 0.1, (200, 200)).astype(np.float32)
    x[50:60] = np.nan
    assert estimate_sigma(x) == pytest.approx(0.1, rel=0.06)
    assert estimate_sigma(np.full((50, 50), np.nan, np.float32)) == 0


def test_large_pictures_are_judged_by_samples_of_them():
    row = np.random.default_rng(0).integers(100, 140, (1, 12_000, 1), dtype=np.uint8)
    broad = np.broadcast_to(row, (9000, 12_000, 1))
    began = time.process_time()
    estimate_sigma(broad)
    assert time.process_time() - began < 2


def test_channels_count_as_a_root_mean_square():
    x = np.random.default_rng(0).normal(0.5, (0.03, 0.04, 0.0), (200, 200, 3)).astype(np.float32)
    assert estimate_sigma(x) == pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 3), rel=0.06)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_was_removed_is_the_root_mean_square_of_the_change(dtype):
    # More than one band of rows, and the last one short.
    clean = np.full((1100, 1000, 1), 0.5)
    damaged = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    scale = 1 if dtype == np.float32 else np.iinfo(dtype).max
    one, other = ((picture * scale).astype(dtype) for picture in (damaged, clean))
    assert difference(one, other) == pytest.approx(0.1, rel=0.01)
    assert difference(one, one) == 0


def test_samples_that_are_no_numbers_do_not_count_as_removed():
    one = np.zeros((4, 4, 1), np.float32)
    other = np.ones((4, 4, 1), np.float32)
    one[0, 0], other[0, 0] = np.nan, np.nan
    one[1, 1], other[1, 1] = np.inf, np.inf
    assert difference(one, other) == 1
    assert difference(np.full((2, 2, 1), np.nan, np.float32), np.zeros((2, 2, 1), np.float32)) == 0
