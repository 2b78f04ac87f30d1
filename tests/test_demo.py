"""The demonstration: one folder, one page, and everything that the page links to."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from commands import Command, samples, tree
from pellucid.errors import OptionError
from pellucid.learn import recipes
from pellucid.report import demo as module
from pellucid.report.demo import demo

SMALL = {
    "digits": ("train.epochs=2", "data.limit=100", "model.channels=[4]", "model.convs=1"),
    "photo-minute": (
        *("train.epochs=2", "train.steps=2", "train.batch=2", "train.crop=32"),
        *("model.channels=[4, 8]", "model.blocks=1"),
    ),
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a demonstration in miniature, and what it said."""
    place = tmp_path_factory.mktemp("demo")
    whole = recipes.read
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recipes, "read", lambda name: whole(name, list(SMALL[name])))
        patched.setattr(module, "_baselines", lambda: ["median"])
        patched.chdir(place)
        return place / "shown", demo("shown")


def linked(page: str) -> set[str]:
    found = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#]+)""", page)
    found += re.findall(r"[\w/-]+/\d{4}\.png", page)
    return {unquote(link) for link in found}


def test_the_page_shows_only_files_that_are_there(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = linked(page)
    assert {"digits/curves.png", "digits/test.png", "photo/panel.png"} <= links
    for link in links:
        assert not link.startswith(("http", "//", "/")), f"{link} is not beside the page"
        assert (folder / link).is_file(), link
    assert "digits/epochs/0002.png" in page


def test_all_is_left_that_was_promised(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    there = set(tree(folder))
    assert there >= {
        "digits/history.csv",
        "digits/report.json",
        "photo/clean.png",
        "photo/damaged.png",
        "photo/detail.png",
        "photo/restored.png",
        "photo/scores.json",
    }
    assert not [name for name in there if name.endswith(".part")]
    assert samples(folder / "photo/restored.png").shape == (427, 640, 3)
    scores = json.loads((folder / "photo/scores.json").read_text())
    assert 20 < scores["damaged"]["psnr"] < 21.5  # gaussian:25/255, clipped


def test_it_says_where_to_look_and_how_much_better_it_got(shown: tuple[Path, str]) -> None:
    _, said = shown
    assert f"Open {Path('shown') / 'index.html'} to see everything." in said
    assert re.search(r"\d\d\.\d\d dB before, \d+\.\d\d dB after", said)


def test_a_second_demonstration_does_not_write_over_the_first(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    before = (folder / "index.html").read_bytes()
    with pytest.raises(OptionError, match="holds a demonstration already"):
        demo(folder)
    assert (folder / "index.html").read_bytes() == before


@pytest.mark.slow
def test_the_whole_demonstration_takes_minutes_and_restores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    said = Command(monkeypatch, capsys)("demo", "-o", tmp_path / "demo")
    assert said.code == 0
    assert time.perf_counter() - began < 600
    for name in ("digits/report.json", "photo/scores.json"):
        told = json.loads((tmp_path / "demo" / name).read_text())
        scores = told.get("test", told)
        assert scores["restored"]["psnr"] > scores["damaged"]["psnr"] + 3
