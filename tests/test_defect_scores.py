"""Scores of scores agree with scikit-learn and with counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pellucid.errors import DataError
from pellucid.uses.defect_scores import PixelTally, auroc, f1_max, regions

metrics = pytest.importorskip("sklearn.metrics")


def drawn(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and answers that go with them somewhat."""
    chance = np.random.default_rng(seed)
    flags = chance.random(count) < 0.3
    return np.round(chance.random(count) + 0.4 * flags, 1), flags


@pytest.mark.parametrize("seed", range(3))
def test_the_area_is_that_of_scikit_learn_ties_included(seed: int) -> None:
    scores, flags = drawn(seed)
    assert auroc(scores, flags) == pytest.approx(metrics.roc_auc_score(flags, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_f1_is_that_of_the_best_threshold(seed: int) -> None:
    scores, flags = drawn(seed)
    best, where = f1_max(scores, flags)
    every = {t: metrics.f1_score(flags, scores >= t) for t in np.unique(scores)}
    assert best == pytest.approx(max(every.values()), abs=1e-12)
    assert every[where] == pytest.approx(best, abs=1e-12)


def test_one_kind_alone_has_no_score() -> None:
    assert math.isnan(auroc([1, 2], [False, False]))
    assert math.isnan(auroc([1, 2], [True, True]))
    assert all(math.isnan(value) for value in f1_max([1, 2], [False, False]))
    assert math.isnan(PixelTally().pro())


def test_answers_of_another_number_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(2,\) scores"):
        auroc([1, 2], [True])


def test_defects_that_touch_at_a_corner_are_one() -> None:
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]], bool)
    labels, count = regions(mask)
    assert count == 3
    assert labels[0, 0] == labels[1, 1] != labels[0, 3] != labels[2, 3]


def marked(seed: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Maps of several sizes with masks of several defects; one picture is good."""
    chance = np.random.default_rng(seed)
    found: list[tuple[np.ndarray, np.ndarray | None]] = []
    for height, width in ((20, 30), (17, 13), (24, 24)):
        mask = np.zeros((height, width), bool)
        mask[2:5, 3:9] = mask[10:12, 1:3] = mask[14, 12] = True
        found.append((chance.gamma(2, size=mask.shape) + 1.5 * mask, mask))
    found.append((chance.gamma(2, size=(15, 15)), None))
    return found


def pro_by_hand(pictures: list[tuple[np.ndarray, np.ndarray | None]], limit: float) -> float:
    """Every score as a threshold in turn, as the definition has it."""
    values = np.unique(np.concatenate([scores.ravel() for scores, _ in pictures]))[::-1]
    good = np.concatenate([s[~m] if m is not None else s.ravel() for s, m in pictures])
    parts = []
    for scores, mask in pictures:
        if mask is not None:
            labels, count = regions(mask)
            parts += [scores[labels == i] for i in range(1, count + 1)]
    false = [0.0, *(float((good >= t).mean()) for t in values)]
    found = [0.0, *(float(np.mean([(part >= t).mean() for part in parts])) for t in values)]
    grid = np.linspace(0, limit, 20001)
    return float(np.trapezoid(np.interp(grid, false, found), grid) / limit)


@pytest.mark.parametrize("seed", range(2))
def test_pixels_are_counted_as_by_hand(seed: int) -> None:
    pictures, tally = marked(seed), PixelTally()
    for scores, mask in pictures:
        tally.add(scores, mask)
    flat = np.concatenate([scores.ravel() for scores, _ in pictures])
    masks = [np.zeros(s.shape, bool) if m is None else m for s, m in pictures]
    flags = np.concatenate([mask.ravel() for mask in masks])
    assert tally.auroc() == pytest.approx(metrics.roc_auc_score(flags, flat), abs=2e-4)
    assert tally.f1_max() == pytest.approx(f1_max(flat, flags)[0], abs=2e-3)
    assert tally.pro() == pytest.approx(pro_by_hand(pictures, 0.3), abs=2e-3)
    assert tally.defects == 9


def test_a_perfect_map_scores_one_and_a_blind_one_half() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:15] = mask[30, 30] = True
    perfect, blind = PixelTally(), PixelTally()
    perfect.add(mask.astype(np.float32), mask)
    blind.add(np.zeros(mask.shape, np.float32), mask)
    assert (perfect.auroc(), perfect.f1_max()) == (1.0, 1.0)
    assert perfect.pro() == pytest.approx(1.0)
    assert blind.auroc() == 0.5
    assert blind.pro() == pytest.approx(0.15)


def test_a_small_defect_counts_as_much_as_a_large_one() -> None:
    mask = np.zeros((50, 50), bool)
    mask[:20, :20] = mask[40, 40] = True
    found = mask.copy()
    found[40, 40] = False
    tally = PixelTally()
    tally.add(found.astype(np.float32), mask)
    # Half of the defects at once; the other half only where everything is called a defect.
    assert tally.pro() == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-6)
    assert tally.auroc() > 0.99


def test_two_tallies_are_added() -> None:
    pictures = marked(3)
    parts, whole = [PixelTally(), PixelTally()], PixelTally()
    for i, (scores, mask) in enumerate(pictures):
        parts[i % 2].add(scores, mask)
        whole.add(scores, mask)
    both = parts[0] + parts[1]
    assert (both.auroc(), both.pro()) == (whole.auroc(), pytest.approx(whole.pro()))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_pixels_that_are_no_score_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="finite numbers"):
        PixelTally().add(np.full((2, 2), bad))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="the mask is"):
        PixelTally().add(np.zeros((2, 2)), np.zeros((3, 2), bool))
