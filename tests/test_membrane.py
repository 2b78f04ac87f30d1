"""Promises of restore/membrane.py: a smooth surface between what is known, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.restore.inpaint import fill
from pellucid.restore.membrane import membrane
from pellucid.restore.zoo import names


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (97, 210), (64, 64), (17, 500)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_it_stays_between_what_is_known(shape: tuple[int, int], dtype: str) -> None:
    chance = np.random.default_rng(0)
    samples = chance.uniform(50, 90, (*shape, 3)).astype(dtype)
    lost = chance.random(shape) < 0.3
    lost[shape[0] // 5 :, shape[1] // 5 :] = True
    samples[lost] = 200
    made = membrane(samples, lost, lost)
    known = samples[~lost]
    assert made.shape == (lost.sum(), 3)
    assert made.min() >= known.min() - 1e-6
    assert made.max() <= known.max() + 1e-6


def test_a_slope_goes_on_across_a_hole() -> None:
    slope = np.linspace(0, 1, 512, dtype=np.float32)[None, :, None].repeat(512, axis=0)
    lost = np.zeros((512, 512), bool)
    lost[128:384, 128:384] = True
    made = membrane(slope, lost, lost)
    assert np.abs(made - slope[lost]).max() < 0.2
    assert np.abs(made - slope[lost]).mean() < 0.06


def test_samples_that_are_no_numbers_count_for_nothing() -> None:
    samples = np.full((64, 64, 1), 3.0, np.float32)
    samples[:8, :8] = np.nan
    lost = np.zeros((64, 64), bool)
    lost[20:40, 20:40] = True
    np.testing.assert_allclose(membrane(samples, lost, lost), 3)


@pytest.mark.skipif("inpaint" not in names(), reason="no network that fills holes is in the box")
def test_the_middle_of_a_deep_hole_has_the_colours_around_it() -> None:
    from pellucid.images import Picture
    from pellucid.restore.twins import open_twins

    samples = np.full((320, 320, 3), (30, 60, 20), np.uint8)
    lost = np.zeros((320, 320), bool)
    lost[60:260, 60:260] = True
    told: list[str] = []
    made = fill(Picture(samples), lost, open_twins("inpaint"), warn=told.append).samples
    assert np.abs(made.astype(int) - samples).max() <= 6
    assert "only a smooth surface" in told[0]
