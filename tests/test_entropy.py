"""Bits that add up to whole probabilities, and gradients that see through rounding."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from pellucid.learn.models.entropy import (
    NARROWEST,
    SCALES,
    STEP,
    TAILS,
    WIDEST,
    Logistics,
    bounded,
    exact,
    gaussian_bits,
    rounded,
    widened,
)


@pytest.fixture
def density() -> Logistics:
    """Three qualities of two channels, none like another."""
    torch.manual_seed(0)
    density = Logistics([0.5, 2.0, 9.0], 2)
    with torch.no_grad():
        for weights in density.parameters():
            weights += 0.5 * torch.randn_like(weights)
    return density


@pytest.mark.parametrize("index", [0.0, 0.5, 20.0, 41.3, float(SCALES - 1)])
@pytest.mark.parametrize("mean", [0.0, 0.37, -2.5])
def test_a_gaussian_over_all_whole_numbers_is_one(index: float, mean: float) -> None:
    distance = torch.arange(-4000.0, 4001) - mean
    masses = torch.exp2(-gaussian_bits(distance, torch.full_like(distance, index)))
    assert float(masses.double().sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("distance", "index"), [(0.0, 0.0), (0.3, 10.5), (-4.0, 30.0), (90.0, 60)])
def test_a_gaussian_costs_what_its_distribution_function_says(
    distance: float, index: float
) -> None:
    deviation, mass = NARROWEST * math.exp(STEP * index), 0.0
    for share, factor in TAILS:
        normal = NormalDist(0, factor * deviation)
        mass += share * (normal.cdf(distance + 0.5) - normal.cdf(distance - 0.5))
    found = gaussian_bits(torch.tensor(distance), torch.tensor(index))
    assert float(found) == pytest.approx(-math.log2(mass), abs=1e-4)


def test_the_deviations_run_from_the_first_to_the_last() -> None:
    assert NARROWEST * math.exp(STEP * (SCALES - 1)) == pytest.approx(WIDEST)


@pytest.mark.parametrize("shift", [0.0, 0.43])
def test_every_mixture_over_all_whole_numbers_is_one(density: Logistics, shift: float) -> None:
    code = (torch.arange(-400.0, 401) + shift).expand(3, 2, 1, -1)
    masses = torch.exp2(-density.bits(code, torch.arange(3)))
    torch.testing.assert_close(masses.sum((2, 3)), torch.ones(3, 2), atol=1e-4, rtol=0)


def test_each_picture_is_told_by_the_density_of_its_quality(density: Logistics) -> None:
    code = torch.randn(3, 2, 4, 5)
    together = density.bits(code, torch.tensor([2, 0, 2]))
    alone = [density.bits(code[i : i + 1], torch.tensor([q])) for i, q in enumerate([2, 0, 2])]
    torch.testing.assert_close(together, torch.cat(alone))
    assert not torch.equal(together[0], density.bits(code[:1], torch.tensor([1]))[0])


@pytest.mark.parametrize("value", [0.0, 1e3, -1e8])
def test_far_values_cost_thirty_bits_and_give_finite_gradients(
    density: Logistics, value: float
) -> None:
    code = torch.full((1, 2, 1, 1), value, requires_grad=True)
    bits = density.bits(code, torch.tensor([1])).sum()
    bits += gaussian_bits(code, torch.zeros_like(code, requires_grad=True)).sum()
    assert 0 <= float(bits.detach()) <= 4 * 30
    bits.backward()
    assert code.grad is not None
    assert torch.isfinite(code.grad).all()
    assert all(torch.isfinite(weights.grad).all() for weights in density.parameters())


def test_what_is_out_of_bounds_is_led_back_and_not_further() -> None:
    x = torch.tensor([-1.0, 0.5, 3.0], requires_grad=True)
    assert torch.equal(bounded(x, 0, 2), torch.tensor([0.0, 0.5, 2.0]))
    for direction, wanted in ((1.0, [0.0, 1.0, 1.0]), (-1.0, [-1.0, -1.0, 0.0])):
        (found,) = torch.autograd.grad((direction * bounded(x, 0, 2)).sum(), x)
        assert found.tolist() == wanted


def test_rounding_is_whole_to_the_last_bit_and_its_gradient_that_of_the_value() -> None:
    x = torch.linspace(-3e4, 3e4, 10_007, requires_grad=True)
    made = rounded(x)
    assert torch.equal(made, x.detach().round())
    assert torch.equal(made, rounded(x.detach()))
    (found,) = torch.autograd.grad((2 * made).sum(), x)
    assert torch.equal(found, torch.full_like(x, 2))


def test_far_from_the_mean_there_is_still_a_way_back() -> None:
    """Of one Gaussian nothing is left in float32 beyond 13 deviations, and no gradient leads on."""
    distance = torch.tensor([2.0, 3.0], requires_grad=True)
    index = torch.zeros(2, requires_grad=True)
    gaussian_bits(distance, index).sum().backward()
    assert distance.grad is not None
    assert index.grad is not None
    assert (distance.grad > 0).all()
    assert (index.grad < 0).all()


def test_within_exact_autocast_is_off() -> None:
    matrix = torch.rand(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
        with exact(matrix):
            assert (widened(matrix.bfloat16()) @ matrix).dtype == torch.float32
        assert (matrix @ matrix).dtype == torch.bfloat16
    with exact(matrix):
        assert not torch.is_autocast_enabled("cpu")
