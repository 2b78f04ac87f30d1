"""Promises of restore/cheaper.py: it counts what the coder writes, and never chooses the dearer."""

from __future__ import annotations

import math

import numpy as np
import pytest

import small_codecs as codecs
from pellucid.restore.cheaper import WORTH, Costs
from pellucid.restore.codec_arrays import Rows


@pytest.fixture(scope="module")
def table() -> Rows:
    scales = np.exp(np.linspace(math.log(0.11), math.log(256), 64))
    made = codecs.rows([codecs.bell(float(scale)) for scale in scales], (64,), "y")
    return Rows(*(made[f"y_{part}"].astype(np.int64) for part in ("freq", "offset", "size")))


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values and the rows that tell them, some of them far out."""
    chance = np.random.default_rng(seed)
    rows = chance.integers(0, 64, count)
    return chance.normal(0, 0.11 * np.exp(rows * 0.123)) * chance.choice([1, 6], count), rows


def test_the_bits_are_those_that_the_coder_writes(table: Rows) -> None:
    entropy = pytest.importorskip("pellucid.uses.entropy")
    pytest.importorskip("constriction")
    values, rows = drawn(20000)
    symbols = np.rint(values).astype(np.int64)
    coder = entropy.Encoder()
    coder.put(symbols, rows, table)
    written = 8 * sum(map(len, coder.finish()))
    counted = float(Costs(table).bits(symbols, rows).sum())
    assert counted == pytest.approx(written, rel=0.01)


def test_what_is_chosen_is_the_cheaper_of_the_two(table: Rows) -> None:
    values, rows = drawn(3000, seed=1)
    costs = Costs(table)
    found = costs.rounded(values, rows)
    nearest = np.rint(values).astype(np.int64)
    inwards = nearest - np.sign(nearest)
    assert ((found == nearest) | (found == inwards)).all()

    def worth(symbols: np.ndarray) -> np.ndarray:
        return costs.bits(symbols, rows) + WORTH * np.square(values - symbols)

    least = np.minimum(worth(nearest), worth(inwards))
    assert np.allclose(worth(found), least, atol=1e-4)
    assert 0.01 < (found != nearest).mean() < 0.5


def test_shapes_stay_and_what_is_nothing_stays_nothing(table: Rows) -> None:
    costs = Costs(table)
    values = np.full((2, 3, 4), 0.49)
    rows = np.zeros((2, 3, 4), np.uint8)
    assert not costs.rounded(values, rows).any()
    assert costs.rounded(values, rows).shape == (2, 3, 4)
    assert costs.rounded(np.empty((0, 3)), np.empty((0, 3), np.uint8)).shape == (0, 3)
    far = np.array([2.0**20, -(2.0**20)])
    assert np.array_equal(costs.rounded(far, np.array([0, 63])), far)
