"""Folders of data sets are found by name under $PELLUCID_DATA, two folders deep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pellucid.learn.places import find, find_file, found_names


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two"]
    for root in made:
        root.mkdir()
    given = os.pathsep.join(["", *map(str, made), str(tmp_path / "absent")])
    monkeypatch.setenv("PELLUCID_DATA", given)
    return made


def picture_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    return folder


def test_nothing_is_found_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PELLUCID_DATA", raising=False)
    assert find("mnist") is None
    assert found_names() == []


def test_a_file_is_found_two_folders_deep_and_no_deeper(roots: list[Path]) -> None:
    assert find_file("a.bin") is None
    for place in (roots[1] / "one/two/three", roots[1] / "one/two", roots[0]):
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.bin").touch()
        nearest = None if place.name == "three" else place / "a.bin"
        assert find_file("a.bin") == nearest
    (roots[0] / "a.bin").unlink()
    (roots[0] / "a.bin").mkdir()
    assert find_file("a.bin") == roots[1] / "one/two/a.bin"


def test_two_folders_deep_and_no_deeper(roots: list[Path]) -> None:
    near, far = picture_in(roots[1] / "near"), picture_in(roots[1] / "group" / "far")
    picture_in(roots[1] / "group" / "far" / "deeper")
    assert find("near") == near
    assert find("far") == far
    assert find("deeper") is None


def test_earlier_roots_and_nearer_folders_win(roots: list[Path]) -> None:
    second = picture_in(roots[1] / "set")
    assert find("set") == second
    deep = picture_in(roots[0] / "group" / "set")
    assert find("set") == deep
    near = picture_in(roots[0] / "set")
    assert find("set") == near


def test_a_root_that_is_the_data_set_itself_is_found(roots: list[Path]) -> None:
    assert find("one") == roots[0]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../one", "*", "s?t", "[s]et", "a:b"])
def test_only_plain_names_are_looked_for(roots: list[Path], name: str) -> None:
    picture_in(roots[0] / "set")
    assert find(name) is None


def test_a_file_is_no_data_set(roots: list[Path]) -> None:
    (roots[0] / "set").touch()
    assert find("set") is None


def test_names_are_those_of_folders_with_data(roots: list[Path]) -> None:
    picture_in(roots[0] / "group" / "photos")
    picture_in(roots[1] / "photos")
    picture_in(roots[1] / "split" / "train")
    picture_in(roots[1] / "shelf" / "faces" / "s1")
    (roots[1] / "notes").mkdir()
    (roots[1] / "notes" / "README.md").touch()
    picture_in(roots[1] / ".hidden")
    assert found_names() == ["faces", "photos", "split"]
