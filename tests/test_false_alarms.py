"""A threshold keeps its false-alarm rate on good pictures that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.errors import OptionError
from pellucid.uses.false_alarms import student, threshold


@pytest.mark.parametrize("freedom", [2, 3, 4, 5, 10, 40, 200])
@pytest.mark.parametrize("chance", [0.6, 0.9, 0.99, 0.9999])
def test_student_is_that_of_scipy(freedom: int, chance: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student(chance, freedom) == pytest.approx(stats.t.ppf(chance, freedom), rel=2e-3)


@pytest.mark.parametrize(("count", "rate"), [(8, 0.05), (30, 0.01), (30, 0.2), (400, 0.01)])
def test_the_share_of_false_alarms_is_the_one_asked_for(count: int, rate: float) -> None:
    chance = np.random.default_rng(0)
    alarms = [
        float(
            np.mean(
                chance.lognormal(1, 0.3, 500) > threshold(chance.lognormal(1, 0.3, count), rate)
            )
        )
        for _ in range(400)
    ]
    assert np.mean(alarms) == pytest.approx(rate, abs=0.012)


def test_many_scores_need_no_assumption() -> None:
    chance = np.random.default_rng(0)
    alarms = [
        float(np.mean(chance.pareto(1, 1000) > threshold(chance.pareto(1, 300), 0.05)))
        for _ in range(200)
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.005)


def test_fewer_false_alarms_need_a_higher_threshold() -> None:
    scores = list(np.random.default_rng(1).lognormal(size=40))
    limits = [threshold(scores, rate) for rate in (0.3, 0.1, 0.03, 0.01, 0.001)]
    assert limits == sorted(limits)
    assert limits[-1] > max(scores)


@pytest.mark.parametrize("rate", [0, -1, 0.5, 1, float("nan")])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(OptionError, match="false-alarm rate"):
        threshold([1, 2, 3], rate)


def test_two_scores_are_too_few() -> None:
    with pytest.raises(OptionError, match="3 good pictures"):
        threshold([1, 2], 0.1)


def test_scores_that_are_all_alike_are_the_threshold() -> None:
    assert threshold([2.0] * 20, 0.01) == pytest.approx(2)
    assert threshold([0.0] * 20, 0.01) >= 0
