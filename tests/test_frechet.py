"""The Fréchet distance agrees with its closed forms, and knows near from far."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.errors import DataError, OptionError
from pellucid.learn.frechet import code_features, featured, frechet_distance, normals_distance
from pellucid.learn.models import create

CHANCE = np.random.default_rng(0)


def covariance(size: int = 5, rank: int | None = None) -> np.ndarray:
    factor = CHANCE.normal(size=(size, rank or size))
    return factor @ factor.T


def test_in_one_dimension_it_is_the_distance_of_means_and_deviations() -> None:
    found = normals_distance(np.array([1.0]), np.array([[4.0]]), np.array([4.0]), np.array([[25]]))
    assert found == pytest.approx((4 - 1) ** 2 + (5 - 2) ** 2)


def test_where_covariances_commute_it_is_the_distance_of_their_roots() -> None:
    turn = np.linalg.qr(CHANCE.normal(size=(6, 6)))[0]
    one, other = CHANCE.uniform(0.1, 9, (2, 6))
    means = CHANCE.normal(size=(2, 6))
    found = normals_distance(means[0], (turn * one) @ turn.T, means[1], (turn * other) @ turn.T)
    expected = np.square(means[0] - means[1]).sum() + np.square(one**0.5 - other**0.5).sum()
    assert found == pytest.approx(expected)


def test_in_two_dimensions_it_is_the_formula_by_determinants() -> None:
    # The eigenvalues of a 2x2 product add up, under their roots, to sqrt(trace + 2 sqrt(det)).
    one, other = covariance(2), covariance(2)
    product = one @ other
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    found = normals_distance(np.zeros(2), one, np.zeros(2), other)
    assert found == pytest.approx(np.trace(one) + np.trace(other) - 2 * root)


def test_it_is_symmetric_and_nothing_between_equals() -> None:
    one, other, mean = covariance(), covariance(rank=2), CHANCE.normal(size=5)
    there = normals_distance(mean, one, np.zeros(5), other)
    assert there == pytest.approx(normals_distance(np.zeros(5), other, mean, one))
    assert there > 0
    assert normals_distance(mean, other, mean, other) == pytest.approx(0, abs=1e-6)


def test_features_are_compared_by_mean_and_covariance() -> None:
    one, other = CHANCE.normal(size=(400, 3)), CHANCE.normal(1.0, 2.0, size=(300, 3))
    expected = normals_distance(one.mean(0), np.cov(one.T), other.mean(0), np.cov(other.T))
    assert frechet_distance(one, other) == pytest.approx(expected)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    large = CHANCE.normal(size=(100_000, 2)), CHANCE.normal(1.0, 2.0, size=(100_000, 2))
    assert frechet_distance(*large) == pytest.approx(4, rel=0.05)
    assert frechet_distance(one[:, :1], one[:, :1] + 2) == pytest.approx(4)


@pytest.mark.parametrize("shapes", [((9, 3), (9, 4)), ((1, 3), (9, 3)), ((9,), (9,))])
def test_sets_that_cannot_be_compared_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        frechet_distance(*(np.zeros(shape) for shape in shapes))


def test_noise_takes_pictures_away_in_the_code_of_an_autoencoder() -> None:
    torch.manual_seed(0)
    features = code_features(create("conv", channels=(4, 6), code_size=8, image_size=16).eval())
    ramp = torch.linspace(0, 1, 16).expand(300, 1, 16, 16) * torch.rand(300, 1, 1, 1)
    clean, others = (featured(features, half) for half in ramp.chunk(2))
    noisy = featured(features, (ramp[:150] + 0.5 * torch.randn(150, 1, 16, 16)).clamp(0, 1))
    assert clean.shape == (150, 8)
    assert frechet_distance(noisy, clean) > 5 * frechet_distance(others, clean)


def test_any_callable_is_a_feature_network() -> None:
    means = featured(lambda x: x.mean((2, 3)), torch.rand(5, 3, 4, 4))
    assert means.shape == (5, 3)


def test_a_model_without_a_code_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match="'unet' has no code"):
        code_features(create("unet", channels=(4,)))
