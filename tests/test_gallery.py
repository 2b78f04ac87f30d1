"""Promises of a gallery: every picture once, by a name of its own, opened when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from commands import noisy, samples
from pellucid.errors import DataError, OptionError, PellucidError
from pellucid.uses.gallery import gallery


def test_a_folder_is_its_pictures_in_order(tmp_path: Path) -> None:
    for i, name in enumerate(("b/2.png", "a/1.png", "b/1.png")):
        noisy(tmp_path / "zoo" / name, seed=i)
    found = gallery(tmp_path / "zoo")
    assert found.names == ("a/1.png", "b/1.png", "b/2.png")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 1]
    assert found.class_names == ("a", "b")
    for index, name in enumerate(found.names):
        assert np.array_equal(found.pages(index)[0], samples(tmp_path / "zoo" / name))


def test_one_picture_is_a_gallery(tmp_path: Path) -> None:
    path = noisy(tmp_path / "a.png")
    found = gallery(path)
    assert (found.names, found.labels) == (("a.png",), None)
    assert np.array_equal(found.first()[1], samples(path))


def test_arrays_are_named_by_their_split(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=stack, labels=np.arange(20) % 2, class_names=["a", "b"])
    found = gallery(tmp_path / "x.npz")
    assert len(found) == len(set(found.names)) == 20
    assert all(name.startswith(f"{s}/") for name, s in zip(found.names, found.splits, strict=True))
    seen = {found.pages(i)[0].tobytes() for i in range(20)}
    assert seen == {one.tobytes() for one in stack}
    assert len(gallery(tmp_path / "x.npz", "test")) == found.splits.count("test")


def test_classes_without_names_are_called_by_their_numbers(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=stack, labels=np.arange(20) % 3)
    found = gallery(tmp_path / "x.npz", "test")
    assert found.class_names[: found.labels.max() + 1] == ("0", "1", "2")[: found.labels.max() + 1]


def test_of_pairs_the_clean_pictures_are_taken(tmp_path: Path) -> None:
    for side in ("clean", "damaged"):
        for i in range(3):
            noisy(tmp_path / "pairs" / side / f"{i}.png", seed=i)
    found = gallery(tmp_path / "pairs")
    assert found.names == tuple(f"clean/{i}.png" for i in range(3))
    assert found.labels is None


def test_the_first_is_the_first_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "a.png").write_bytes(b"no picture")
    with pytest.raises(PellucidError, match=r"a\.png"):
        gallery(tmp_path / "zoo").first()
    noisy(tmp_path / "zoo" / "b.png")
    assert gallery(tmp_path / "zoo").first()[0] == "b.png"


def test_a_gallery_of_a_split_that_is_not_there_says_which_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy(tmp_path / "set12" / "a.png")
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    assert gallery("set12").names == ("a.png",)
    with pytest.raises(DataError, match="'set12' has no train pictures; it has: test, all"):
        gallery("set12", "train")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown split 'tests'; did you mean 'test'"):
        gallery("digits", "tests")
    with pytest.raises(PellucidError, match="does not exist"):
        gallery(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PellucidError, match="no pictures in this folder"):
        gallery(tmp_path / "empty")
