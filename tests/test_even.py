"""Promises of restore/even.py: noise goes from everywhere, texture stays where only it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from networks import box
from pellucid.errors import CheckpointError
from pellucid.restore import cells
from pellucid.restore.denoise import denoise
from pellucid.restore.even import even, shares

CARD = {"evens": 1.25}


def scene(noise: float, *, side: int = 256, channels: int = 1) -> tuple[np.ndarray, ...]:
    """A slope with a carpet in one corner: clean, noisy, and with the carpet smoothed as well."""
    slope = np.linspace(0.3, 0.7, side)[:, None, None] * np.ones((side, side, channels))
    carpet = np.zeros_like(slope)
    carpet[:64, :64] = np.random.default_rng(1).normal(0, 0.05, (64, 64, channels))
    noisy = slope + carpet + np.random.default_rng(2).normal(0, noise, slope.shape)
    return slope + carpet, noisy, slope


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one.astype(float) - other))))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_texture_in_one_place_stays_and_noise_goes(noise: float, channels: int) -> None:
    clean, noisy, smooth = scene(noise, channels=channels)
    after = smooth.astype(np.float32)
    even(noisy.astype(np.float32), after, CARD)
    carpet, rest = (slice(8, 56), slice(8, 56)), slice(80, None)
    # Without it the whole carpet, 0.05, would be lost.
    assert distance(after[carpet], clean[carpet]) < 1.2 * noise + 0.01
    assert distance(after[rest], clean[rest]) < 0.1 * noise


def test_it_spares_no_noise_that_lies_everywhere() -> None:
    clean, noisy, _ = scene(0.05)
    noisy[:64, :64] += np.random.default_rng(3).normal(0, 0.02, (64, 64, 1))
    after = clean.astype(np.float32)
    even(noisy.astype(np.float32), after, CARD)
    assert distance(after, clean) < 0.1 * distance(noisy, clean)


def test_noise_may_depend_on_brightness() -> None:
    slope = np.linspace(0.05, 0.95, 256)[:, None, None] * np.ones((1, 256, 1))
    noisy = slope + np.random.default_rng(4).normal(0, 1, slope.shape) * (0.005 + 0.05 * slope)
    after = slope.astype(np.float32)
    even(noisy.astype(np.float32), after, CARD)
    assert distance(after, slope) < 0.15 * distance(noisy, slope)


@pytest.mark.parametrize("ground", [0, 255])
def test_what_was_drawn_in_one_colour_does_not_count(ground: int) -> None:
    before = np.full((256, 256, 3), ground, np.uint8)
    photo = np.clip(np.random.default_rng(5).normal(128, 20, (256, 90, 3)), 0, 255).astype(np.uint8)
    before[:, :90] = photo
    after = before.copy()
    after[:, :90] = 128
    even(before, after, CARD)
    assert distance(after[:, :80], np.full(1, 128)) < 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(256, 200), (131, 517)])
def test_band_by_band_is_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: type, size: tuple[int, int]
) -> None:
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    before = (np.random.default_rng(6).uniform(0.3, 0.7, (*size, 3)) * white).astype(dtype)
    after = (before * 0.99).astype(dtype)
    after[20:90, 30:] = dtype(white * 0.5)
    whole, parts = after.copy(), after.copy()
    even(before, whole, CARD)
    monkeypatch.setattr(cells, "BAND_PIXELS", 1)
    even(before, parts, CARD)
    assert np.array_equal(whole, parts)
    assert not np.array_equal(whole, after)


def test_every_pixel_lies_between_before_and_after() -> None:
    before = np.random.default_rng(7).uniform(size=(200, 300, 1)).astype(np.float32)
    restored = np.random.default_rng(8).uniform(size=before.shape).astype(np.float32)
    restored[:100] = before[:100] + 0.01
    after = restored.copy()
    even(before, after, CARD)
    assert (after >= np.minimum(before, restored) - 1e-6).all()
    assert (after <= np.maximum(before, restored) + 1e-6).all()


def test_a_share_is_kept_by_measure() -> None:
    changes, level = np.full((10, 10), 0.02), np.full((10, 10), 0.5)
    changes[3, 4], changes[7, 7] = 0.1, 0.025
    kept = shares(changes, level, changes > 0, times=1.25)
    assert kept[3, 4] == pytest.approx(0.25)
    assert np.count_nonzero(kept < 1) == 1


@pytest.mark.parametrize("size", [(1, 2), (15, 900), (112, 112), (112, 128)])
def test_small_pictures_say_too_little_of_themselves(size: tuple[int, int]) -> None:
    before = np.random.default_rng(9).uniform(size=(*size, 1)).astype(np.float32)
    after = before.copy()
    after[0, 0] = 9
    even(before, after, CARD)
    assert after[0, 0] == 9


def test_samples_that_are_no_numbers_stay_and_spoil_nothing() -> None:
    clean, noisy, smooth = scene(0.01)
    before, after = noisy.astype(np.float32), smooth.astype(np.float32)
    before[5, 5], before[100, 100] = np.nan, np.inf
    after[5, 5], after[100, 100] = np.nan, np.inf
    even(before, after, CARD)
    assert np.isnan(after[5, 5])
    assert np.isposinf(after[100, 100])
    assert np.isfinite(after).sum() == after.size - 2
    carpet = slice(8, 56)
    assert distance(after[carpet, carpet], clean[carpet, carpet]) < 0.022


def test_through_a_network_at_any_strength_and_unit(tmp_path: Path) -> None:
    clean, noisy, _ = scene(0.01)
    told = box(tmp_path / "mean.onnx", radius=3)
    wary = box(tmp_path / "wary.onnx", radius=3, card=CARD)
    carpet = (slice(8, 56), slice(8, 56), 0)
    image = noisy[..., 0].astype(np.float32)
    for strength in (1.0, 0.5):
        blurred = denoise(image, model=told, strength=strength)
        kept = denoise(image, model=wary, strength=strength)
        assert distance(kept[carpet[:2]], clean[carpet]) < 0.5 * distance(
            blurred[carpet[:2]], clean[carpet]
        )
        image16 = np.rint(image * 65535).astype(np.uint16)
        assert np.allclose(denoise(image16, model=wary, strength=strength), kept, atol=1e-3)
    image[0, :2] = 0, 1
    one = denoise(image, model=wary)
    other = denoise(image * 4095, model=wary) / 4095
    assert np.allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("evens", [0, 0.9, "much", [1, 2], float("nan")])
def test_a_damaged_card_is_told_of(evens: object) -> None:
    picture = np.zeros((4, 4, 1), np.uint8)
    with pytest.raises(CheckpointError, match="card is damaged: evens"):
        even(picture, picture.copy(), {"evens": evens})


def test_a_card_without_it_changes_nothing() -> None:
    before, after = np.zeros((200, 200, 1), np.uint8), np.zeros((200, 200, 1), np.uint8)
    after[:20] = 50
    even(before, after, {})
    assert (after[:20] == 50).all()


@pytest.mark.parametrize("side", [1, 8, 40])
def test_a_picture_of_flat_colour_keeps_it(side: int) -> None:
    before = np.full((side, side, 3), (0.0, 0.1, 1.0), np.float32)
    after = before + 0.05
    even(before, after, CARD)
    assert (after == before).all()
