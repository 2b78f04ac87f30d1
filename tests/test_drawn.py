"""Promises of restore/drawn.py: drawn pictures are told from photographs, however noisy or dark."""

from __future__ import annotations

import numpy as np
import pytest

from networks import box
from pellucid.images import Picture
from pellucid.restore.denoise import restore_picture
from pellucid.restore.drawn import MOST, looks_drawn
from pellucid.restore.runtime import open_model


def board(height: int = 60, width: int = 80, channels: int = 1) -> np.ndarray:
    plane = (np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)
    return np.repeat(plane[..., None], channels, axis=2)


def noisy(low: float, high: float, sigma: float, channels: int = 1) -> np.ndarray:
    chance = np.random.default_rng(0)
    ramp = np.linspace(low, high, 100)[None, :, None].repeat(90, 0).repeat(channels, 2)
    return np.rint(ramp + chance.normal(0, sigma, ramp.shape)).clip(0, 255).astype(np.uint8)


def pixel_art(colours: int) -> np.ndarray:
    chance = np.random.default_rng(0)
    palette = chance.permutation(np.linspace(0, 255, 3 * colours)).astype(np.uint8).reshape(-1, 3)
    return palette[chance.integers(0, colours, (64, 64))]


@pytest.mark.parametrize(
    "samples",
    [
        *(board(), board(channels=3), board().astype(np.uint16) * 257),
        *(pixel_art(4), pixel_art(16), board(32, 32)),
    ],
)
def test_few_colours_far_apart_are_drawn(samples: np.ndarray) -> None:
    assert looks_drawn(samples)


@pytest.mark.parametrize(
    "samples",
    [
        *(noisy(0, 255, 0), noisy(0, 255, 20), noisy(0, 255, 20, 3), noisy(0, 4, 2)),
        *(noisy(100, 100, 3), pixel_art(MOST + 1), board().astype(np.float32)),
        *(np.zeros((99, 99, 1), np.uint8), np.full((1, 1, 3), 7, np.uint8)),
        *(board(3, 5), noisy(0, 255, 20)[:8, :8]),  # of few pixels there can only be few
    ],
)
def test_photographs_plain_and_float_pictures_are_not(samples: np.ndarray) -> None:
    assert not looks_drawn(samples)


def test_a_late_colour_is_seen() -> None:
    samples = pixel_art(MOST)
    assert looks_drawn(samples)
    samples[-1, -1] = (1, 2, 3)
    assert not looks_drawn(samples)


def test_who_loses_drawn_pixels_is_told_and_nobody_else(tmp_path) -> None:
    blur = open_model(box(tmp_path / "blur.onnx", radius=1, depth=1))
    told: list[str] = []
    restore_picture(Picture(board()), blur, warn=told.append)
    assert len(told) == 1
    assert told[0].startswith("this looks drawn or dithered")
    told.clear()
    restore_picture(Picture(noisy(0, 255, 20)), blur, warn=told.append)
    restore_picture(Picture(board()), blur, 0.0, warn=told.append)
    flat = board()
    flat[:, 40:] = 255
    flat[:, :40] = 0
    restore_picture(Picture(flat[:, :30]), blur, warn=told.append)
    assert told == []
