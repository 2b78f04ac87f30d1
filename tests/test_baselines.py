"""Promises of report/baselines.py: every method on every picture, and each at its best."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import errors
from pellucid.errors import DataError, MissingExtraError, OptionError
from pellucid.report import baselines
from pellucid.report.baselines import BASELINES, pca_reconstruction, tuned


def psnr(restored, clean) -> float:
    return float(-10 * np.log10(np.mean((np.clip(restored, 0, 1) - clean) ** 2)))


def noisy(clean, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(size=clean.shape)
    return (clean + sigma * noise).astype(np.float32)


@pytest.fixture
def picture(scene):
    return scene.astype(np.float32) / 255


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 8, 1), (8, 8, 3), (17, 2, 3)])
def test_every_method_takes_every_shape(name, shape):
    damaged = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = damaged.copy()
    restored = BASELINES[name](damaged, 0.1)
    assert restored.shape == shape
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()
    assert np.array_equal(damaged, before)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_picture_stays_flat(name, channels):
    flat = np.full((24, 20, channels), 0.5, np.float32)
    # 8 bits have no 0.5.
    near = 1 / 255 if name == "opencv_nlm" else 1e-3
    assert BASELINES[name](flat, 0.1) == pytest.approx(flat, abs=near)


KNOWING = [name for name, baseline in BASELINES.items() if baseline.uses_sigma]


@pytest.mark.parametrize("name", KNOWING)
def test_a_noise_level_of_zero_changes_nothing(name, picture):
    assert np.array_equal(BASELINES[name](picture, 0.0), picture)


@pytest.mark.parametrize("name", KNOWING)
def test_methods_that_know_the_noise_remove_gaussian_noise(name, picture):
    for clean in (picture, picture[:, :, :1]):
        damaged = noisy(clean, 0.1)
        assert psnr(BASELINES[name](damaged, 0.1), clean) > psnr(damaged, clean) + 3.5


def test_opencv_sees_colours_in_its_own_order(picture):
    damaged = noisy(picture, 0.05)
    told = BASELINES["opencv_nlm"](damaged, 0.05)
    turned = BASELINES["opencv_nlm"](np.ascontiguousarray(damaged[..., ::-1]), 0.05)[..., ::-1]
    # Red and blue are not alike in CIELAB.
    assert psnr(told, picture) > psnr(damaged, picture)
    assert not np.array_equal(told, turned)


@pytest.mark.parametrize("sigma", [15, 25, 50])
@pytest.mark.parametrize("name", ["opencv_nlm", "tv_chambolle"])
def test_strengths_that_were_chosen_elsewhere_are_near_the_best(name, sigma):
    """On a photograph that took no part in the choice."""
    from skimage import data

    clean = data.camera()[100:228, 200:328, None].astype(np.float32) / 255
    damaged = noisy(clean, sigma / 255)
    scores = {
        strength: psnr(BASELINES[name](damaged, sigma / 255, strength=strength), clean)
        for strength in BASELINES[name].settings["strength"]
    }
    first = scores[BASELINES[name].settings["strength"][0]]
    assert first > max(scores.values()) - 0.6, scores


def test_bm3d_restores_grey_that_is_stored_as_colour(picture):
    damaged = noisy(picture[:16, :16, 1:2], 0.1)
    as_colour = BASELINES["bm3d"](np.repeat(damaged, 3, axis=2), 0.1)
    assert as_colour[:, :, :1] == pytest.approx(BASELINES["bm3d"](damaged, 0.1), abs=1e-5)


def test_the_median_removes_impulses_and_tuning_finds_its_size(picture):
    chance = np.random.default_rng(0).random((*picture.shape[:2], 1))
    few = np.where(chance < 0.05, 0, np.where(chance > 0.95, 1, picture)).astype(np.float32)
    many = np.where(chance < 0.25, 0, np.where(chance > 0.75, 1, picture)).astype(np.float32)
    assert psnr(BASELINES["median"](few), picture) > psnr(few, picture) + 5
    assert tuned(BASELINES["median"], [(few, picture)], [None]) == {"size": 3}
    assert tuned(BASELINES["median"], [(many, picture)], [None])["size"] > 3


@pytest.mark.parametrize("name", ["gaussian_blur", "nlm", "opencv_nlm", "tv_chambolle"])
def test_tuning_never_does_worse_than_the_defaults(name, picture):
    for sigma in (0.02, 0.3):
        damaged = noisy(picture, sigma)
        setting = tuned(BASELINES[name], [(damaged, picture)], [sigma])
        best = psnr(BASELINES[name](damaged, sigma, **setting), picture)
        assert best >= psnr(BASELINES[name](damaged, sigma), picture)


def test_a_known_noise_level_is_never_replaced():
    for baseline in BASELINES.values():
        assert all("sigma" not in setting for setting in baseline.candidates(sigma_known=True))
    unknown = list(BASELINES["bm3d"].candidates(sigma_known=False))
    assert unknown[0] == {"share": 1.0}
    assert {"sigma": 0.25} in unknown


def test_an_unknown_noise_level_is_estimated(picture):
    large = np.kron(picture, np.ones((2, 2, 1), np.float32))
    damaged = noisy(large, 0.1)
    told, guessed = BASELINES["nlm"](damaged, 0.1), BASELINES["nlm"](damaged)
    assert psnr(guessed, large) == pytest.approx(psnr(told, large), abs=0.3)


@pytest.mark.parametrize("count", [200, 30])
def test_pca_agrees_with_scikit_learn(count):
    from sklearn.decomposition import PCA

    chance = np.random.default_rng(0)
    mixed = chance.random((count + 20, 6)) @ chance.random((6, 48))
    pictures = (mixed + 0.1 * chance.random(mixed.shape)).reshape(-1, 4, 4, 3).astype(np.float32)
    train, test = pictures[:count], pictures[count:]
    reference = PCA(5, svd_solver="full").fit(train.reshape(count, -1))
    codes = reference.transform(test.reshape(20, -1))
    expected = reference.inverse_transform(codes).reshape(test.shape)
    assert pca_reconstruction(train, test, 5) == pytest.approx(expected, abs=1e-4)


def test_pca_with_a_code_as_large_as_the_picture_loses_nothing():
    pictures = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    restored = pca_reconstruction(pictures, pictures[:5], 99)
    assert restored == pytest.approx(pictures[:5] / 255, abs=1e-4)


def test_pca_of_identical_or_few_pictures_is_finite():
    same = np.full((3, 4, 4, 1), 0.25, np.float32)
    assert pca_reconstruction(same, same, 2) == pytest.approx(same, abs=1e-6)
    assert np.isfinite(pca_reconstruction(same[:1], same, 2)).all()


def test_pca_refuses_what_it_cannot_do():
    a, b = np.zeros((3, 4, 4, 1), np.float32), np.zeros((3, 5, 4, 1), np.float32)
    with pytest.raises(DataError, match="one size"):
        pca_reconstruction(a, b, 2)
    with pytest.raises(OptionError, match="at least 1"):
        pca_reconstruction(a, a, 0)


@pytest.mark.parametrize("name", sorted(BASELINES.keys() - {"identity"}))
def test_a_missing_package_names_the_extra(name, monkeypatch, picture):
    def absent(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(errors, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pellucid\[baselines\]"):
        baselines.BASELINES[name](picture, 0.1)


@pytest.mark.data
def test_bm3d_reaches_its_published_score(real):
    """The cameraman, first of Set12, at sigma 25: 29.45 dB is published."""
    from PIL import Image

    with Image.open(sorted(real("set12").rglob("*.png"))[0]) as image:
        clean = np.asarray(image.convert("L"), np.float32)[:, :, None] / 255
    restored = BASELINES["bm3d"](noisy(clean, 25 / 255), 25 / 255)
    assert psnr(restored, clean) == pytest.approx(29.45, abs=0.15)
