"""Promises of restore/spare.py: little changes are not made, great ones whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from networks import pointwise
from pellucid.errors import CheckpointError
from pellucid.images import Picture
from pellucid.restore.denoise import denoise, restore_picture
from pellucid.restore.runtime import open_model
from pellucid.restore.spare import share, spare

CARD = {"spares": [1 / 255, 2 / 255]}


def adding(folder: Path, levels: float, *, spares: object = CARD["spares"]) -> Path:
    """A network that adds so many levels of 255 to every pixel."""
    card = {"image_channels": 1, "multiple_of": 1, "halo": 0, "model": "pointwise"}
    return pointwise(folder / "add.onnx", "Add", levels / 255, card=card | {"spares": spares})


def test_the_share_rises_from_nothing_to_all() -> None:
    shares = [share(changed / 255, CARD) for changed in np.linspace(0, 4, 41)]
    assert shares == sorted(shares)
    assert shares[:11] == [0.0] * 11
    assert shares[20:] == [1.0] * 21
    assert share(0.0, {}) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_picture_that_needs_little_comes_back_to_the_last_bit(
    tmp_path: Path, dtype: type
) -> None:
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    samples = np.random.default_rng(0).uniform(0.2, 0.8, (30, 40, 1)) * white
    picture = Picture(samples.astype(dtype))
    runner = open_model(adding(tmp_path, 0.9))
    assert np.array_equal(restore_picture(picture, runner).samples, picture.samples)
    assert np.array_equal(restore_picture(picture, runner, 0.3).samples, picture.samples)


@pytest.mark.parametrize(("levels", "made"), [(1.5, 0.75), (3, 3)])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("unit", [1, 4095])
def test_the_change_itself_decides_whatever_its_strength_and_unit(
    tmp_path: Path, levels: float, made: float, strength: float, unit: int
) -> None:
    image = np.random.default_rng(0).uniform(0.2, 0.8, (30, 40)).astype(np.float32)
    image[0, :2] = 0, 1
    restored = denoise(image * unit, model=adding(tmp_path, levels), strength=strength) / unit
    changed = (restored - image) * 255
    assert np.allclose(changed, made * strength, atol=0.02)


def test_samples_that_are_no_numbers_stay(tmp_path: Path) -> None:
    image = np.full((20, 20), 0.5, np.float32)
    image[3, 4], image[5, 6] = np.nan, np.inf
    with pytest.warns(UserWarning, match="2 samples are NaN or infinite"):
        restored = denoise(image, model=adding(tmp_path, 1.5))
    assert np.isnan(restored[3, 4])
    assert np.isinf(restored[5, 6])
    assert restored[0, 0] == pytest.approx(0.5 + 0.75 / 255, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_drawn_picture_without_noise_stays_and_one_with_noise_does_not(channels: int) -> None:
    board = (np.indices((40, 60)).sum(0) % 2 * 200).astype(np.uint8)
    board = np.repeat(board[..., None], channels, axis=2)
    after = np.full_like(board, 100)
    spare(board, after, CARD)
    assert np.array_equal(after, board)
    noisy = board + np.random.default_rng(0).integers(0, 40, board.shape, np.uint8)
    after = np.full_like(board, 100)
    spare(noisy, after, CARD)
    assert (after == 100).all()


def test_a_card_without_spares_changes_all() -> None:
    before = np.zeros((4, 4, 1), np.uint8)
    after = before + np.uint8(1)
    spare(before, after, {})
    assert (after == 1).all()
    spare(before, after, {"spares": [0.1, 0.2]})
    assert (after == 0).all()


@pytest.mark.parametrize("spares", [[1], "ab", [0.2, 0.1], [-1, 1], [None, 1], [0.1, float("nan")]])
def test_a_damaged_card_is_told_of(tmp_path: Path, spares: object) -> None:
    with pytest.raises(CheckpointError, match="card is damaged: spares"):
        denoise(np.zeros((8, 8), np.float32), model=adding(tmp_path, 1, spares=spares))


def test_scores_are_those_of_what_a_user_gets(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from pellucid.report.evaluate import evaluate

    report = evaluate(adding(tmp_path, 0.5), "digits", "none", limit=3)
    assert report.restored["rmse"] == 0
    report = evaluate(adding(tmp_path, 0.5, spares=None), "digits", "none", limit=3)
    assert report.restored["rmse"] > 0
