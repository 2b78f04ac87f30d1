"""Promises of the scores of codes: agreement with hands and scikit-learn, and fair parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pellucid.errors import DataError  # noqa: E402 (after the skip)
from pellucid.learn.models import create  # noqa: E402
from pellucid.uses.code_scores import (  # noqa: E402
    compared,
    linear_probe,
    nearest,
    pca,
    purity,
    score,
)
from pellucid.uses.embed import Embedding  # noqa: E402
from pellucid.uses.gallery import Gallery  # noqa: E402


def blobs(count: int = 120, apart: float = 8.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 4) around three middles, and which."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    middles = apart * np.eye(3, 4)
    return (middles[labels] + chance.normal(size=(count, 4))).astype(np.float32), labels


def embedding(
    codes: np.ndarray, labels: np.ndarray | None, splits: list[str], pictures: np.ndarray
) -> Embedding:
    names = tuple(map(str, range(len(codes))))
    shelf = Gallery(tuple(pictures), names, tuple(splits), labels, ("a", "b", "c"))
    places = tuple((i, 0) for i in range(len(codes)))
    kept = ("a", "b", "c") if labels is not None else ()
    return Embedding(
        *(codes, names, tuple(splits), labels, kept, "dense", codes.shape[1:], 0, ()),
        *(places, shelf, 1),
    )


def drawn(count: int = 120, side: int = 8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def test_classes_far_apart_score_everything() -> None:
    points, labels = blobs(apart=50)
    told = score(points[:60], points[60:], labels[:60], labels[60:])
    assert (told.probe, told.knn, told.purity) == (1, 1, 1)
    assert told.nmi == pytest.approx(1)
    assert told.ari == pytest.approx(1)


def test_codes_that_know_nothing_score_chance() -> None:
    points, _ = blobs(apart=0, count=3000)
    labels = np.random.default_rng(3).integers(0, 3, 3000)
    told = score(points[:1500], points[1500:], labels[:1500], labels[1500:])
    assert told.probe == pytest.approx(1 / 3, abs=0.05)
    assert told.knn == pytest.approx(1 / 3, abs=0.05)
    assert abs(told.ari) < 0.02
    assert told.nmi < 0.02


def test_the_nearest_five_vote() -> None:
    points, labels = blobs(apart=2)
    train, test = points[:80], points[80:]
    right = 0
    for point, answer in zip(test, labels[80:], strict=True):
        near = np.argsort(((train - point) ** 2).sum(1))[:5]
        right += int(np.bincount(labels[:80][near]).argmax() == answer)
    assert nearest(train, test, labels[:80], labels[80:]) == right / 40


def test_the_probe_is_least_squares_and_no_scaling_moves_it() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    points, labels = blobs(apart=1.5)
    train, test = points[:80], points[80:]
    columns = np.eye(3)[labels[:80]]
    said = linear.LinearRegression().fit(train, columns).predict(test).argmax(1)
    expected = float((said == labels[80:]).mean())
    assert linear_probe(train, test, labels[:80], labels[80:]) == expected
    scale, shift = np.array([1, 10, 0.1, 3]), 5
    moved = linear_probe(train * scale + shift, test * scale + shift, labels[:80], labels[80:])
    assert moved == expected


def test_the_probe_stands_numbers_that_are_always_nothing_or_twice_the_same() -> None:
    points, labels = blobs(apart=1.5)
    expected = linear_probe(points[:80], points[80:], labels[:80], labels[80:])
    more = np.column_stack([points, np.zeros(120), points[:, :2]]).astype(np.float32)
    assert linear_probe(more[:80], more[80:], labels[:80], labels[80:]) == expected


def test_a_class_that_was_not_learnt_is_never_right() -> None:
    points, labels = blobs(apart=50)
    known = labels[:60] < 2
    told = linear_probe(points[:60][known], points[60:], labels[:60][known], labels[60:])
    assert told == pytest.approx(2 / 3)


def test_purity_counts_the_most_of_each_cluster() -> None:
    assert purity(np.array([0, 0, 1, 1, 2]), np.array([3, 3, 3, 1, 1])) == 3 / 5


@pytest.mark.parametrize("count", [30, 300])
def test_pca_is_that_of_scikit_learn(count: int) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    chance = np.random.default_rng(0)
    rows = (chance.normal(size=(count, 40)) * np.linspace(1, 3, 40)).astype(np.float32)
    theirs = decomposition.PCA(7, svd_solver="full").fit(rows)
    codes, of_test, rebuilt = pca(rows, rows[:9], 7)
    np.testing.assert_allclose(np.abs(codes), np.abs(theirs.transform(rows)), atol=2e-3)
    np.testing.assert_allclose(of_test, codes[:9], atol=1e-4)
    expected = theirs.inverse_transform(theirs.transform(rows[:9]))
    np.testing.assert_allclose(rebuilt, expected, atol=2e-3)


def test_pca_has_no_more_components_than_there_are() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    codes, _, rebuilt = pca(rows, rows, 99)
    assert codes.shape == (6, 4)
    np.testing.assert_allclose(rebuilt, rows, atol=1e-4)


def test_the_test_part_judges_where_there_is_one() -> None:
    points, labels = blobs()
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 40
    told = compared(embedding(points, labels, splits, drawn()))
    assert (told.fitted_on, told.judged_on, told.halves) == (80, 40, False)
    assert (told.size, told.components, told.pixels) == (4, 4, (8, 8, 1))
    assert told.code == score(points[:80], points[80:], labels[:80], labels[80:])
    assert told.code.probe > told.pca.probe
    assert "the test part" in told.table()


def test_without_a_test_part_every_other_of_a_class_judges() -> None:
    points, labels = blobs()
    told = compared(embedding(points, labels, ["test"] * 120, drawn()))
    assert (told.fitted_on, told.judged_on, told.halves) == (60, 60, True)
    tiny = compared(embedding(points, labels, ["train"] * 115 + ["test"] * 5, drawn()))
    assert tiny.halves
    assert tiny.code == told.code


def test_large_pictures_are_reduced_for_pca_and_mixed_ones_fitted() -> None:
    points, labels = blobs(12)
    found = embedding(points, labels, ["train"] * 12, drawn(12, 40))
    assert compared(found).pixels == (32, 32, 1)
    mixed = (*drawn(11, 8), *drawn(1, 16))
    assert compared(replace(found, gallery=replace(found.gallery, items=mixed))).pixels == (
        32,
        32,
        1,
    )


def test_scores_need_classes() -> None:
    points, labels = blobs(12)
    for wrong in (None, np.zeros(12, np.int64)):
        with pytest.raises(DataError, match="at least two"):
            compared(embedding(points, wrong, ["train"] * 12, drawn(12)))
    with pytest.raises(DataError, match="two pictures of a class"):
        compared(embedding(points[:3], labels[:3], ["train"] * 3, drawn(3)))


@pytest.mark.slow
def test_pca_of_mnist_scores_what_is_published_of_it(real: Callable[[str], Path]) -> None:
    from pellucid.uses.embed import embed

    real("mnist")
    torch.manual_seed(0)
    model = create("conv", channels=(2,), code_size=16, image_size=28)
    told = compared(embed(model, "mnist"))
    assert told.pca.knn == pytest.approx(0.963, abs=5e-4)
    assert told.pca.probe == pytest.approx(0.772, abs=1e-3)
