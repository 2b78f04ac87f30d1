"""Pixels go to [0, 1] and back without a change, and what is no picture is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import ImageError
from pellucid.images import Picture
from pellucid.images.picture import bands, is_bilevel, turned


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_sample_comes_back_from_pixels(dtype: str) -> None:
    every = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 16, 1)
    picture = Picture(every)
    assert picture.pixels.dtype == np.float32
    assert (picture.pixels.min(), picture.pixels.max()) == (0, 1)
    for floats in (np.float32, np.float64):
        again = picture.with_pixels(picture.pixels.astype(floats))
        np.testing.assert_array_equal(again.samples, every)
        assert again.samples.dtype == every.dtype


def test_halves_round_to_even_and_what_is_outside_is_clipped() -> None:
    picture = Picture(np.zeros((1, 4, 1), np.uint8))
    pixels = np.array([0.5 / 255, 1.5 / 255, -7, 7])[None]
    assert picture.with_pixels(pixels).samples.ravel().tolist() == [0, 2, 0, 255]


def test_floats_pass_unchanged() -> None:
    values = np.array([[[-2.5], [np.nan], [1e6]]], np.float32)
    picture = Picture(values)
    np.testing.assert_array_equal(picture.pixels, values)
    np.testing.assert_array_equal(picture.with_pixels(values + 1).samples, values + 1)
    assert picture.bits == 32


def test_nan_is_refused_for_whole_numbers() -> None:
    with pytest.raises(ImageError, match="NaN"):
        Picture(np.zeros((2, 2, 1), np.uint16)).with_pixels(np.full((2, 2), np.nan))


def test_one_bit_stays_only_while_it_is_true() -> None:
    picture = Picture(np.array([[[0], [255]]], np.uint8), bits=1)
    assert picture.with_samples(np.array([[255, 255]], np.uint8)).bits == 1
    assert picture.with_samples(np.array([[255, 254]], np.uint8)).bits == 8
    assert picture.with_samples(np.array([[255, 254]], np.uint16)).bits == 16


def test_bilevel_means_zero_and_255() -> None:
    for value in range(256):
        assert is_bilevel(np.full((2, 2, 1), value, np.uint8)) == (value in (0, 255))


def test_a_profile_for_other_channels_is_dropped() -> None:
    picture = Picture(np.zeros((2, 2, 3), np.uint8), icc=b"profile")
    assert picture.with_samples(np.zeros((2, 2, 3), np.uint16)).icc == b"profile"
    assert picture.with_samples(np.zeros((2, 2, 1), np.uint8)).icc is None


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 6))
def test_turning_keeps_every_sample(orientation: int, height: int, width: int) -> None:
    array = np.arange(height * width).reshape(height, width)
    out = turned(array, orientation)
    assert sorted(out.ravel().tolist()) == sorted(array.ravel().tolist())
    assert out.shape == ((width, height) if orientation >= 5 else (height, width))


def test_upright_turns_alpha_and_resolution_too() -> None:
    alpha = np.arange(6, dtype=np.uint8).reshape(2, 3)
    picture = Picture(alpha[..., None], alpha, dpi=(100, 200), orientation=6).upright()
    np.testing.assert_array_equal(picture.alpha, picture.samples[..., 0])
    assert picture.dpi == (200, 100)
    assert (picture.height, picture.width, picture.orientation) == (3, 2, 1)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 3_000_000))
def test_bands_cover_every_row_once(height: int, width: int) -> None:
    rows = list(bands(height, width))
    assert rows[0].start == 0
    assert rows[-1].stop == height
    assert all(a.stop == b.start for a, b in pairwise(rows))


@pytest.mark.parametrize(
    ("samples", "alpha"),
    [
        (np.zeros((4, 4), np.uint8), None),
        (np.zeros((4, 4, 2), np.uint8), None),
        (np.zeros((0, 4, 1), np.uint8), None),
        (np.zeros((4, 4, 1), np.int32), None),
        (np.zeros((4, 4, 1), np.float64), None),
        (np.zeros((4, 4, 1), np.uint8), np.zeros((4, 5), np.uint8)),
        (np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4), np.uint16)),
    ],
)
def test_what_is_no_picture_is_refused(samples: np.ndarray, alpha: np.ndarray | None) -> None:
    with pytest.raises(ImageError):
        Picture(samples, alpha)
