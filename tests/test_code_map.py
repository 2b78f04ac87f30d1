"""Promises of maps and neighbours: what is near is drawn near, and can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pellucid import images
from pellucid.errors import OptionError
from pellucid.uses import code_map
from pellucid.uses.code_map import (
    COLOURS,
    PAPER,
    colour,
    draw_map,
    nearest_rows,
    positions,
    strips,
    thumbnail,
)
from test_code_scores import blobs, drawn, embedding


@pytest.mark.parametrize("way", ["tsne", "pca"])
def test_what_is_alike_lies_together(way: str) -> None:
    points, labels = blobs(90, apart=30)
    where = positions(points, way)
    assert where.min() >= 0
    assert where.max() <= 1
    away = np.linalg.norm(where[:, None] - where[None], axis=2)
    same = labels[:, None] == labels[None]
    assert away[same].mean() < 0.3 * away[~same].mean()
    assert np.array_equal(where, positions(points, way))


def test_a_map_of_two_axes_is_what_pca_sees() -> None:
    points = np.random.default_rng(0).normal(size=(40, 2)) * [9, 1]
    where = positions(points, "pca")
    for axis in (0, 1):
        assert abs(np.corrcoef(where[:, axis], points[:, axis])[0, 1]) > 0.95


@pytest.mark.parametrize("way", ["tsne", "pca"])
@pytest.mark.parametrize("codes", [np.ones((1, 3)), np.ones((9, 3)), np.eye(2), np.ones((7, 1))])
def test_few_or_equal_codes_have_a_place(way: str, codes: np.ndarray) -> None:
    where = positions(codes, way)
    assert where.shape == (len(codes), 2)
    assert np.isfinite(where).all()


def test_an_unknown_map_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown map 'umap'"):
        positions(np.ones((9, 3)), "umap")


def test_a_map_shows_pictures_where_there_is_room(tmp_path: Path) -> None:
    points, labels = blobs(120, apart=30)
    found = embedding(points, labels, ["train"] * 120, drawn())
    drawn_map = draw_map(found, tmp_path / "map.png", way="pca")
    assert drawn_map.placed == 120
    assert 3 <= drawn_map.thumbnails < 120
    pixels = images.read(tmp_path / "map.png").samples
    for paint in (*COLOURS[:3], PAPER):
        assert (pixels == paint).all(2).sum() > 500, paint
    again = tmp_path / "again.png"
    draw_map(found, again, way="pca")
    assert again.read_bytes() == (tmp_path / "map.png").read_bytes()


def test_thumbnails_hardly_lie_on_one_another() -> None:
    chance = np.random.default_rng(0)
    corner = chance.integers(0, 300, (400, 2))
    shown = code_map._uncrowded(corner, 0)
    assert len(shown) > 20
    side = code_map.THUMB
    covered = np.zeros((400, 400), int)
    for x, y in corner[shown]:
        covered[y : y + side, x : x + side] += 1
    assert (covered > 1).sum() < 0.2 * (covered > 0).sum()


def test_of_very_many_pictures_some_are_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_map, "MOST", 10)
    points, _ = blobs()
    found = embedding(points, None, ["train"] * 120, drawn())
    assert draw_map(found, tmp_path / "map.png", way="pca").placed == 10


def test_classes_have_colours_of_their_own() -> None:
    assert len({colour(label) for label in range(40)}) == 40


@pytest.mark.parametrize(("height", "width"), [(8, 8), (100, 40), (3, 90)])
def test_a_thumbnail_keeps_its_shape(height: int, width: int) -> None:
    for picture in (
        np.zeros((height, width, 1), np.uint8),
        np.full((height, width, 3), 1.5, np.float32),
    ):
        made = thumbnail(picture, 50)
        assert made.mode == "RGB"
        assert max(made.size) == 50
        assert made.width / made.height == pytest.approx(width / height, rel=0.2)


def test_the_nearest_are_those_of_all_distances_without_itself() -> None:
    points, _ = blobs(30)
    rows, away = nearest_rows(points, 4, 5)
    every = np.linalg.norm(points - points[4], axis=1)
    assert rows == np.argsort(every)[1:6].tolist()
    assert away == sorted(away)
    assert len(nearest_rows(points[:3], 0, 5)[0]) == 2


def test_strips_show_one_of_each_class_with_its_nearest() -> None:
    points, labels = blobs(60, apart=50)
    made = strips(embedding(points, labels, ["train"] * 60, drawn(60)), 4)
    assert [len(line) for line in made.cells] == [5, 5, 5]
    assert [line[0] for line in made.captions] == ["a", "b", "c"]
    for line in made.captions:
        assert all(said.endswith(f"  {line[0]}") for said in line[1:])
    plain = strips(embedding(points, None, ["train"] * 60, drawn(60)), 2, lines=7)
    assert len(plain.cells) == 7


def test_strips_need_two_pictures() -> None:
    points, _ = blobs(3)
    one = embedding(points[:1], None, ["train"], drawn(1))
    with pytest.raises(OptionError, match="one picture has no neighbours"):
        strips(one)
    with pytest.raises(OptionError, match="0 neighbours are not possible"):
        strips(one, 0)
