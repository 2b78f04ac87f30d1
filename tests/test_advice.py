"""Promises of report/advice.py: the right line for each shape of history."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from pellucid.report import advice as module
from pellucid.report.advice import advice, diverged, turning_point


def history(train, validation, **more):
    return [
        {"epoch": i + 1, "train_loss": a, "val_loss": b, "lr": 1e-3, **more}
        for i, (a, b) in enumerate(zip(train, validation, strict=True))
    ]


FALLING = [1 / (e + 1) for e in range(20)]
SETTLED = [0.3 + 0.7 * math.exp(-e) for e in range(20)]
TURNING = [0.3 + 0.7 * math.exp(-e) + 0.01 * max(0, e - 6) for e in range(20)]


def test_over_fitting_names_the_epoch_the_loss_and_the_rise():
    rows = history(FALLING, TURNING)
    low = int(np.argmin(TURNING)) + 1
    assert turning_point(rows) == low
    line = advice(rows)
    assert line.startswith("Over-fitting")
    assert f"epoch {low} " in line
    assert "Stop at epoch" in line


def test_a_loss_that_still_falls_asks_for_more_epochs():
    assert "train.epochs=40" in advice(history(FALLING, FALLING))


def test_a_loss_that_has_settled_says_so():
    assert advice(history(SETTLED, SETTLED)).startswith("Settled")


def test_a_rate_that_ended_is_not_taken_for_a_loss_that_settled():
    rows = history(SETTLED, SETTLED)
    for i, row in enumerate(rows):
        row["lr"] = 1e-3 * (1 - i / 20) ** 2
    line = advice(rows)
    assert line.startswith("Finished")
    assert "train.epochs=40" in line
    # The lowest long ago is settled, whatever the rate did since.
    rows[5]["val_loss"] = 0.29
    assert advice(rows).startswith("Settled")


def test_a_wide_gap_is_named_even_without_a_turn():
    line = advice(history([value / 2 for value in SETTLED], SETTLED))
    assert line.startswith("Settled")
    assert "100.0 % above training loss" in line


def test_both_losses_rising_is_not_called_over_fitting():
    assert advice(history(TURNING, TURNING)).startswith("Unstable")


@pytest.mark.parametrize("lost", [math.nan, math.inf])
@pytest.mark.parametrize("key", ["train_loss", "val_loss"])
def test_a_loss_that_is_no_number_is_diverged_with_a_lower_rate(lost, key):
    rows = history(FALLING[:6], FALLING[:6])
    rows[3][key] = lost
    assert diverged(rows) == 4
    assert turning_point(rows) is None
    assert "epoch 4" in advice(rows)
    assert "0.0001" in advice(rows)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_short_histories_are_not_judged(count):
    assert "to judge" in advice(history(FALLING[:count], FALLING[:count]))


def test_missing_values_are_no_error():
    assert "no validation loss" in advice([{"epoch": e, "train_loss": 1.0} for e in range(1, 9)])
    rows = history(FALLING, TURNING)
    for row in rows:
        row["train_loss"] = None
    assert advice(rows).startswith("Over-fitting")
    assert advice([{"val_loss": value} for value in SETTLED]).startswith("Settled")


def test_zero_and_negative_losses_are_no_error():
    assert advice(history([0.0] * 8, [0.0] * 8)).startswith("Settled")
    assert "Still learning" in advice(history([-e for e in range(9)], [-e for e in range(9)]))


def test_one_bad_epoch_is_not_over_fitting():
    validation = list(SETTLED)
    validation[12] *= 1.5
    assert turning_point(history(FALLING, validation)) is None
    validation = list(SETTLED)
    validation[-1] *= 1.5
    assert turning_point(history(FALLING, validation)) is None


@pytest.mark.parametrize("count", [10, 30, 100])
def test_jitter_on_a_plateau_is_seldom_taken_for_a_turn(count):
    chance = np.random.default_rng(count)
    turns = 0
    for _ in range(100):
        validation = 0.3 + 0.2 * np.exp(-np.arange(count) / (count / 8))
        validation = validation + 0.003 * chance.normal(size=count)
        turns += turning_point(history([0.1] * count, validation.tolist())) is not None
    assert turns <= 5


def test_every_advice_is_one_line():
    for train, validation in [(FALLING, TURNING), (SETTLED, SETTLED), (FALLING, FALLING)]:
        assert "\n" not in advice(history(train, validation))


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
