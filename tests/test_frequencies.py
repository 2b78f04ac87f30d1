"""Whole-number tables: what they sum to, what they cost beside the density they stand for."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from pellucid.learn.frequencies import (
    LONGEST,
    TOTAL,
    Rows,
    frequencies,
    gaussian_rows,
    logistic_rows,
)
from pellucid.learn.models.entropy import NARROWEST, SCALES, STEP, TAILS, Logistics


def check(rows: Rows) -> None:
    """What every reader of rows relies on."""
    assert (rows.freq.dtype, rows.offset.dtype, rows.size.dtype) == (np.uint16, np.int32, np.int32)
    assert rows.size.min() >= 2
    assert rows.size.max() == rows.freq.shape[-1] <= LONGEST + 1
    used = np.arange(rows.freq.shape[-1]) < rows.size[..., None]
    assert (rows.freq[used] >= 1).all()
    assert (rows.freq[~used] == 0).all()
    assert (rows.freq.astype(np.int64).sum(-1) == TOTAL).all()


@pytest.mark.parametrize("size", [2, 3, 100, 4097, TOTAL])
def test_frequencies_sum_to_the_total_and_none_is_nothing(size: int) -> None:
    masses = np.random.default_rng(size).random(size) ** 20
    found = frequencies(masses)
    assert found.sum() == TOTAL
    assert found.min() >= 1
    order = np.argsort(masses, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


@pytest.mark.parametrize("masses", [[1.0, 0.0], [1.0, 1e-300, 0.0], [1e-9, 1e-9]])
def test_extreme_masses_still_leave_each_its_one(masses: list[float]) -> None:
    found = frequencies(np.array(masses))
    assert found.sum() == TOTAL
    assert found.min() >= 1
    assert found.max() < TOTAL


def test_the_gaussians_cost_what_their_distribution_functions_say() -> None:
    rows = gaussian_rows()
    check(rows)
    assert rows.freq.shape[0] == SCALES
    for index in range(SCALES):
        deviation = NARROWEST * math.exp(STEP * index)
        normals = [(share, NormalDist(0, factor * deviation)) for share, factor in TAILS]
        size, offset = int(rows.size[index]), int(rows.offset[index])
        symbols = range(offset, offset + size - 1)
        if size < LONGEST:
            assert symbols[0] == -symbols[-1]
        ends = np.arange(offset, offset + size) - 0.5
        masses = np.diff([sum(w * n.cdf(end) for w, n in normals) for end in ends])
        assert 1 - masses.sum() < (2**-15 if size <= LONGEST else 1e-4)
        entropy = -(masses * np.log2(masses)).sum()
        cost = -(masses * np.log2(rows.freq[index, : size - 1] / TOTAL)).sum()
        # The widest lose a third of a per cent: each of 4,096 symbols has its one.
        assert entropy - 1e-3 < cost < 1.004 * entropy + 1e-3


def test_learnt_tables_cost_what_training_reckoned() -> None:
    torch.manual_seed(0)
    density = Logistics([0.3, 2.0, 20.0], 4)
    with torch.no_grad():
        density.means += torch.randn_like(density.means)
        density.weights += torch.randn_like(density.weights)
    rows = logistic_rows(density)
    check(rows)
    assert rows.freq.shape[:2] == rows.offset.shape == rows.size.shape == (3, 4)
    for quality in range(3):
        for channel in range(4):
            size, offset = int(rows.size[quality, channel]), int(rows.offset[quality, channel])
            symbols = torch.arange(offset, offset + size - 1.0)
            code = torch.zeros(1, 4, 1, size - 1)
            code[0, channel, 0] = symbols
            with torch.no_grad():
                bits = density.bits(code, torch.tensor([quality]))[0, channel, 0].double().numpy()
            masses = np.exp2(-bits)
            assert 1 - masses.sum() < 2**-15 + 1e-5
            cost = -np.log2(rows.freq[quality, channel, : size - 1] / TOTAL)
            assert (masses * cost).sum() == pytest.approx((masses * bits).sum(), rel=5e-3, abs=1e-3)


def test_a_density_wider_than_a_table_keeps_its_middle_and_lets_the_rest_escape() -> None:
    density = Logistics([1.0], 2)
    with torch.no_grad():
        density.log_scales.fill_(math.log(3000.0))
        density.means[3:] += 1e7
    rows = logistic_rows(density)
    check(rows)
    assert (rows.size == LONGEST + 1).all()
    assert abs(rows.offset[0, 0] + LONGEST / 2) < 100
    assert abs(rows.offset[0, 1] - 1e7 + LONGEST / 2) < 100
    escaped = rows.freq[0, 0, LONGEST] / TOTAL
    assert escaped == pytest.approx(1 - math.tanh(LONGEST / 4 / 3000), abs=0.07)


def test_a_density_narrower_than_a_symbol_gives_it_nearly_all() -> None:
    density = Logistics([1.0], 1)
    with torch.no_grad():
        density.log_scales.fill_(-50)
        density.means.fill_(-7)
    rows = logistic_rows(density)
    check(rows)
    assert rows.offset[0, 0] + rows.freq[0, 0].argmax() == -7
    assert rows.freq[0, 0].max() > 0.999 * TOTAL
