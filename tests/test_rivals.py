"""Promises of report/rivals.py: baselines see what the model saw, and are told what is known."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import OptionError
from pellucid.learn.datasets import Dataset
from pellucid.learn.models import create
from pellucid.learn.pictures import Pictures
from pellucid.report.baselines import BASELINES, Baseline
from pellucid.report.evaluate import evaluate
from pellucid.report.rivals import PCA, chosen


def same(picture: np.ndarray) -> np.ndarray:
    return picture


def pictures(count: int, side: int = 16, channels: int = 1) -> Pictures:
    chance = np.random.default_rng(0)
    coarse = chance.integers(0, 256, (count, side // 4, side // 4, channels))
    return Pictures.from_arrays(np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.uint8))


def test_true_means_all_and_names_are_checked():
    assert chosen(True) == [*BASELINES, PCA]
    assert chosen(False) == []
    assert chosen("nlm") == ["nlm"]
    with pytest.raises(OptionError, match="did you mean 'median'"):
        chosen(["medan"])


def test_every_method_is_scored_on_grey_and_colour():
    cheap = [name for name in BASELINES if name != "bm3d"]
    for channels in (1, 3):
        data = pictures(3, channels=channels)
        report = evaluate(same, data, "gaussian:0.1", baselines=cheap)
        assert list(report.baselines) == cheap
        for found in report.baselines.values():
            assert found.reason is None
            assert found.n == 3
            assert np.isfinite(list(found.scores.values())).all()


def test_doing_nothing_scores_what_a_model_that_does_nothing_scores():
    report = evaluate(same, pictures(5), "gaussian:0.1", baselines=["identity"])
    assert report.baselines["identity"].scores == pytest.approx(report.restored)


def test_a_model_is_compared_on_the_same_pictures():
    report = evaluate(same, pictures(6), "gaussian:0..0.3", baselines="identity", baselines_limit=2)
    found = report.baselines["identity"]
    assert found.n == 2
    assert found.restored == pytest.approx(found.scores)
    assert found.restored["psnr"] != pytest.approx(report.restored["psnr"], abs=1e-3)


@pytest.mark.parametrize(
    ("damage", "known"),
    [
        ("gaussian:0.1", True),
        ("gaussian:0..0.2", True),
        ("speckle:0.3", False),
        ("gaussian:0.1+jpeg:40", False),
    ],
)
def test_the_report_says_which_noise_level_was_used(damage, known):
    found = evaluate(same, pictures(2), damage, baselines="nlm").baselines["nlm"]
    if known:
        assert found.sigma == "known"
    else:
        assert found.sigma == "estimated" or found.sigma > 0
    assert "sigma" not in found.setting
    assert evaluate(same, pictures(2), damage, baselines="median").baselines["median"].sigma is None


def test_a_blind_range_tells_each_picture_its_own_level(monkeypatch):
    told = []

    def note(damaged, sigma=None):
        told.append(sigma)
        return damaged

    monkeypatch.setitem(BASELINES, "noting", Baseline(note, "", uses_sigma=True))
    report = evaluate(same, pictures(4), "gaussian:0.05..0.2", baselines="noting")
    drawn = [row["strengths"][0] for row in report.images]
    assert told[-4:] == drawn
    assert len(set(drawn)) == 4


def test_a_tuned_method_beats_doing_nothing():
    names = ["identity", "median", "gaussian_blur", "nlm"]
    for damage in ("gaussian:0.2", "salt_pepper:0.2"):
        found = evaluate(same, pictures(6, side=32), damage, baselines=names).baselines
        best = {name: scores.scores["psnr"] for name, scores in found.items()}
        assert max(best.values()) > best["identity"] + 3


def test_pca_has_the_codes_size_and_beats_nothing_at_reconstruction():
    parts = [pictures(n) for n in (40, 5, 5)]
    model = create("conv", channels=(4,), code_size=8, image_size=(16, 16), image_channels=1)
    found = evaluate(model, Dataset("mine", *parts), "none", baselines="pca").baselines["pca"]
    assert found.setting == {"code_size": 8}
    more = create("conv", channels=(4,), code_size=15, image_size=(16, 16), image_channels=1)
    better = evaluate(more, Dataset("mine", *parts), "none", baselines="pca").baselines["pca"]
    # Pictures of 4x4 blocks have 16 degrees of freedom: 15 components all but keep them.
    assert better.scores["psnr"] > found.scores["psnr"] + 2


@pytest.mark.parametrize("reason", ["training", "code of", "differ in size", "no code", "not say"])
def test_pca_says_why_it_does_not_apply(reason):
    model = create("conv", channels=(64,), image_channels=1)
    data = Dataset("mine", *[pictures(3)] * 3)
    if reason == "training":
        data = data.test
    elif reason == "differ in size":
        mixed = [np.zeros((8, 8, 1), np.uint8), np.zeros((9, 8, 1), np.uint8)]
        data = Dataset("mine", *[Pictures.from_arrays(mixed)] * 3)
    elif reason == "no code":
        model = create("unet", image_channels=1)
    elif reason == "not say":
        model = same
    found = evaluate(model, data, "none", baselines="pca").baselines["pca"]
    assert found.scores is None
    assert reason in found.reason
    told = found.told()
    assert told["psnr"] is None
    assert told["reason"]
