"""Promises of restore/neighbours.py: the same as Pillow's rank filters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pellucid.images import picture
from pellucid.restore.neighbours import largest, median, smallest

SHAPES = [(1, 1), (1, 7), (9, 1), (2, 3), (33, 40), (64, 64)]


def plane(shape: tuple[int, int], *, values: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, values, shape, np.uint8)


def by_pillow(samples: np.ndarray, kind: ImageFilter.RankFilter) -> np.ndarray:
    return np.asarray(Image.fromarray(samples).filter(kind))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values", [2, 256])
def test_they_are_pillow_s_rank_filters(shape: tuple[int, int], values: int) -> None:
    given = plane(shape, values=values)
    for side in (3, 5):
        assert np.array_equal(largest(given, side), by_pillow(given, ImageFilter.MaxFilter(side)))
        assert np.array_equal(smallest(given, side), by_pillow(given, ImageFilter.MinFilter(side)))
    assert np.array_equal(median(given), by_pillow(given, ImageFilter.MedianFilter(3)))


def test_strips_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    given = plane((50, 31))
    whole = largest(given, 5), smallest(given, 5), median(given)
    monkeypatch.setattr(picture, "BAND_PIXELS", 31 * 7)
    for one, other in zip(
        (largest(given, 5), smallest(given, 5), median(given)), whole, strict=True
    ):
        assert np.array_equal(one, other)
