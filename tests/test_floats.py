"""Promises of restore/floats.py: any range gets to [0, 1] and back, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import ImageError
from pellucid.restore.floats import prepared


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def quiet(message: str) -> None:
    raise AssertionError(message)


def test_integers_come_back_as_they_are():
    x = np.zeros((4, 5, 1), np.uint16)
    assert prepared(x, quiet) == (x, None) or prepared(x, quiet)[0] is x


@pytest.mark.parametrize("sigma", [0.0, 0.1, 50 / 255])
def test_noise_that_leaves_the_range_changes_no_scale(sigma):
    clean = np.clip(np.linspace(0, 1, 64 * 80), 0, 1).reshape(64, 80, 1)
    x = (clean + rng().normal(0, sigma, clean.shape)).astype(np.float32)
    same, scale = prepared(x, quiet)
    assert same is x
    assert scale is None


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 4000), (-5, 5), (273, 310), (0, 1.5), (0, 1e-3), (0.5, 0.503), (-1e-6, 1e-6)],
)
def test_other_ranges_are_found(low, high):
    x = np.linspace(low, high, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    _, scale = prepared(x, quiet)
    assert scale == (np.float32(low), np.float32(high))


@pytest.mark.parametrize(("low", "zero"), [(0, 0), (40, 0), (900, 0), (1100, 1100), (-40, -40)])
def test_what_begins_near_zero_counts_from_zero(low, zero):
    x = np.linspace(low, low + 4000, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    _, scale = prepared(x, quiet)
    assert scale == (np.float32(zero), np.float32(low + 4000))


def test_a_hot_pixel_does_not_squeeze_the_rest():
    x = rng().uniform(100, 200, (64, 64, 1)).astype(np.float32)
    x[3, 4] = 1e6
    told: list[str] = []
    _, scale = prepared(x, told.append)
    assert scale is not None
    assert scale[0] == pytest.approx(100, abs=1)
    assert 200 < scale[1] < 300
    assert len(told) == 1
    assert told[0].startswith("1 samples lie far outside")


def test_nan_is_filled_from_its_neighbours_in_a_copy():
    x = rng().uniform(0.4, 0.6, (30, 40, 3)).astype(np.float32)
    x[0, 0] = np.nan
    x[10:29, 10:29, 1] = np.inf
    before = x.copy()
    told: list[str] = []
    filled, scale = prepared(x, told.append)
    assert np.array_equal(x, before, equal_nan=True)
    assert np.isfinite(filled).all()
    assert filled.min() >= 0.4
    assert filled.max() <= 0.6
    assert scale is None
    assert told == [f"{3 + 19 * 19} samples are NaN or infinite and stay as they are"]


def test_a_picture_of_nothing_but_nan_is_refused():
    with pytest.raises(ImageError, match="no finite sample"):
        prepared(np.full((3, 3, 1), np.nan, np.float32), quiet)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 500.0, -3.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 50, 1), (20, 20, 3)])
def test_constant_pictures_have_a_range(value, shape):
    _, scale = prepared(np.full(shape, value, np.float32), quiet)
    assert scale is None or scale[1] > scale[0]
