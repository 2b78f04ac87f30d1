"""Promises of report/likelihood.py: bounds that are bounds, named, where the exact answer is known.

The outside reference is probabilistic PCA, whose likelihood scikit-learn has in closed form.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

import pellucid
from commands import Command
from pellucid.errors import OptionError
from pellucid.learn import checkpoints, datasets
from pellucid.learn.models import create
from pellucid.learn.models.variational import VariationalAutoencoder
from pellucid.learn.pictures import Pictures
from pellucid.report.evaluate import evaluate

SIZE = 4


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


class LinearGaussian(VariationalAutoencoder):
    """x = W z + mean + noise: the encoder and decoder that scikit-learn's PCA implies.

    Everything else, the bounds among it, is the class's own.
    """

    def use(self, known: PCA, *, wider: float = 1.0) -> LinearGaussian:
        """Take the exact posterior, its deviations `wider` times as large."""
        noise = known.noise_variance_
        scale = np.sqrt(known.explained_variance_ - noise)
        self.weight = torch.tensor(known.components_.T * scale)
        self.mean = torch.tensor(known.mean_)
        # The components are orthogonal, so that the posterior's covariance is diagonal.
        precision = (self.weight.square().sum(0) + noise) / noise
        self.spread = wider * precision.rsqrt()
        self.back = self.weight.T / noise / precision[:, None]
        self.log_scale = 0.5 * math.log(noise)
        return self

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (x.flatten(1).double() - self.mean) @ self.back.T
        return mean, self.spread.expand_as(mean)

    def _decode(self, code: Tensor, places: list[Tensor | None]) -> Tensor:
        # The class's density takes what comes before a sigmoid.
        return torch.logit(code.double() @ self.weight.T + self.mean).view(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def known() -> tuple[PCA, Pictures, np.ndarray]:
    """PCA of the digits, its test pictures, and what scikit-learn says of their likelihood."""
    data = datasets.load("digits")

    def narrow(pictures: Pictures) -> np.ndarray:
        # About grey, so that no answer of the linear model leaves [0, 1].
        whole = pictures.whole(torch.arange(len(pictures)))[0]
        return (0.5 + 0.1 * (whole - 0.5)).numpy()

    train, test = narrow(data.train), narrow(data.test)
    fitted = PCA(SIZE).fit(train.reshape(len(train), -1).astype(np.float64))
    exact = fitted.score_samples(test.reshape(len(test), -1).astype(np.float64))
    return fitted, Pictures.from_arrays(test.transpose(0, 2, 3, 1)), -exact


def linear(known: PCA, **how: Any) -> LinearGaussian:
    model = LinearGaussian(channels=(2,), code_size=SIZE, image_size=8, likelihood="gaussian")
    return model.eval().use(known, **how)


def test_with_the_exact_posterior_the_weighted_bound_is_the_likelihood(known: Any) -> None:
    pca, pictures, exact = known
    found = evaluate(linear(pca), pictures, "none", samples=3, device="cpu").likelihood
    assert found is not None
    elbo, weighted = found.costs
    assert (elbo.bound, weighted.bound) == ("ELBO", "IWAE-3")
    assert weighted.nats == pytest.approx(exact.mean(), abs=1e-3)
    assert weighted.error == pytest.approx(exact.std(ddof=1) / math.sqrt(len(exact)), abs=1e-3)
    # One draw makes it chance, and no more than that.
    assert elbo.nats == pytest.approx(exact.mean(), abs=5 * math.sqrt(SIZE / 2 / len(exact)))


def test_with_another_posterior_the_bounds_lie_above_and_draws_close_the_gap(known: Any) -> None:
    pca, pictures, exact = known
    model, wider = linear(pca, wider=2.0), 2.0
    gaps = {}
    for samples in (2, 8, 128):
        found = evaluate(model, pictures, "none", samples=samples, device="cpu").likelihood
        assert found is not None
        gaps |= {cost.bound: cost.nats - exact.mean() for cost in found.costs}
    # The ELBO's gap is the divergence from the posterior, which is a known number here.
    expected = SIZE * (0.5 * (wider**2 - 1) - math.log(wider))
    assert gaps["ELBO"] == pytest.approx(expected, abs=5 * wider**2 * math.sqrt(SIZE / 2 / 180))
    assert gaps["ELBO"] > gaps["IWAE-2"] > gaps["IWAE-8"] > gaps["IWAE-128"] > 0
    assert gaps["IWAE-128"] < 0.05 * gaps["ELBO"]


def small(**options: Any) -> VariationalAutoencoder:
    torch.manual_seed(0)
    model = create("variational", channels=(4,), code_size=3, image_size=8, **options)
    assert isinstance(model, VariationalAutoencoder)
    return model.eval()


@pytest.mark.parametrize(
    ("options", "binarisation", "says"),
    [
        ({"binarized": True}, "stochastic", "drawn black or white"),
        ({}, "greys", "not comparable"),
        ({"likelihood": "gaussian"}, "density", "a density of greys"),
    ],
)
def test_the_answer_names_what_its_pixels_are(options: Any, binarisation: str, says: str) -> None:
    report = evaluate(small(**options), "digits", "none", limit=5)
    assert report.likelihood is not None
    assert report.likelihood.binarisation == binarisation
    assert [cost.bound for cost in report.likelihood.costs] == ["ELBO"]
    assert says in report.table()
    assert "nats a picture" in report.table()
    told = json.loads(report.to_json())["likelihood"]
    assert told["n"] == 5
    assert told["binarisation"] == binarisation
    assert told["bounds"]["ELBO"]["nats"] == pytest.approx(
        report.likelihood.costs[0].nats, abs=1e-6
    )


def test_both_bounds_judge_the_same_pixels_and_a_seed_repeats_them() -> None:
    # With a decoder that ignores the code, and a posterior that is the prior, nothing is left
    # that could differ but the drawing of the pixels.
    model = small(binarized=True)
    with torch.no_grad():
        for weights in (*model.to_code.parameters(), model.from_code.weight):
            weights.zero_()
    one, same, other = (
        evaluate(model, "digits", "none", samples=4, seed=seed).likelihood for seed in (0, 0, 1)
    )
    assert one is not None
    assert other is not None
    assert one == same
    assert one.costs[0].nats == pytest.approx(one.costs[1].nats, abs=1e-4)
    assert one.costs[0].nats != other.costs[0].nats


def test_with_damage_the_clean_picture_is_judged() -> None:
    clean = evaluate(small(), "digits", "none", limit=9).likelihood
    noisy = evaluate(small(), "digits", "gaussian:0.5", limit=9).likelihood
    assert clean is not None
    assert noisy is not None
    assert (clean.damage, noisy.damage) == ("none", "gaussian:0.5")
    assert clean.costs != noisy.costs


def test_one_picture_has_no_standard_error() -> None:
    report = evaluate(small(), "digits", "none", limit=1)
    assert "standard error" not in report.table()
    told = json.loads(report.to_json())["likelihood"]
    assert told["bounds"]["ELBO"]["standard_error"] is None


def test_a_model_without_likelihood_says_nothing_of_it_and_refuses_draws(tmp_path: Path) -> None:
    plain = create("conv", channels=(4,))
    report = evaluate(plain, "digits", "none", limit=2)
    assert report.likelihood is None
    assert json.loads(report.to_json())["likelihood"] is None
    assert "nats" not in report.table()
    with pytest.raises(OptionError, match="'conv' has no likelihood"):
        evaluate(plain, "digits", "none", limit=2, samples=5)
    with pytest.raises(OptionError, match="no likelihood"):
        evaluate(lambda picture: picture, "digits", "none", limit=2, samples=5)
    with pytest.raises(OptionError, match="ensemble"):
        evaluate(small(), "digits", "none", limit=2, samples=5, ensemble=True)
    assert evaluate(small(), "digits", "none", limit=2, ensemble=True).likelihood is None


def test_a_grey_likelihood_is_not_told_of_colour_pictures() -> None:
    colour = Pictures.from_arrays(np.zeros((2, 8, 8, 3), np.uint8))
    assert evaluate(small(), colour, "none").likelihood is None
    with pytest.raises(OptionError, match="3 channels"):
        evaluate(small(), colour, "none", samples=2)


@pytest.mark.parametrize("samples", [0, 1, -3])
def test_too_few_draws_are_refused(samples: int) -> None:
    with pytest.raises(OptionError, match="at least 2"):
        evaluate(small(), "digits", "none", samples=samples)


def test_the_command_tells_the_same(command: Command, tmp_path: Path) -> None:
    path = checkpoints.save(small(binarized=True), tmp_path / "v.safetensors", data="digits")
    given = ("evaluate", path, "--data", "digits", "--with", "none", "--limit", 7)
    out = command.done(*given, "--samples", 5, "--json", tmp_path / "told.json")
    told = json.loads((tmp_path / "told.json").read_text())
    assert set(told["likelihood"]["bounds"]) == {"ELBO", "IWAE-5"}
    assert {"data", "damage", "clipped", "n", "damaged", "restored", "images"} <= set(told)
    assert f"IWAE-5        at most {told['likelihood']['bounds']['IWAE-5']['nats']:.2f} nats" in out
    expected = pellucid.evaluate(path, "digits", "none", limit=7, samples=5)
    assert expected.likelihood is not None
    for cost in expected.likelihood.costs:
        assert told["likelihood"]["bounds"][cost.bound]["nats"] == pytest.approx(
            cost.nats, abs=1e-5
        )
    command.refused(*given, "--samples", 1, says="at least 2")
