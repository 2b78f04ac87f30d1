"""Promises of learn/pages.py: print on even white, in the fonts at hand, the same every time."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pellucid.learn import datasets, pages
from pellucid.learn.sources import SPLITS

FEW = {"train": 6, "validation": 2, "test": 2}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "COUNTS", FEW)


@pytest.fixture
def own_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing but matplotlib's DejaVu Sans, copied under 24 names, and two files that are none."""
    import matplotlib

    folder = tmp_path / "fonts"
    folder.mkdir()
    real = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    for number in range(24):
        shutil.copy(real, folder / f"copy{number}.ttf")
    (folder / "damaged.ttf").write_bytes(real.read_bytes()[:300])
    (folder / "words.otf").write_text("no font")
    monkeypatch.setattr(pages, "FOLDERS", (str(folder),))
    monkeypatch.setattr(
        pages, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name)
    )
    return folder


def test_pages_are_print_on_white(few: None) -> None:
    data = datasets.load("pages")
    assert [len(data.split(part)) for part in SPLITS] == list(FEW.values())
    assert data.train.channels == 1
    for index in range(len(data.train)):
        page = data.train.image(index)
        assert tuple(page.shape[-2:]) == pages.SIZE
        assert float(page.median()) > 0.97
        assert 0.01 < float((page < 0.5).float().mean()) < 0.5


def test_they_are_the_same_every_time_and_all_different(own_fonts: Path) -> None:
    faces = pages._faces()
    drawn = [pages._page(np.random.default_rng([0, n]), faces) for n in (1, 2, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert (drawn[0] != drawn[1]).mean() > 0.02


def test_fonts_come_from_the_folders_listed_and_no_part_shares_them(
    own_fonts: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, set[str]] = {part: set() for part in SPLITS}
    real = pages._page

    def watched(rng: np.random.Generator, faces: list[pages.Face]) -> np.ndarray:
        part = SPLITS[int(np.digitize(pages.placed(faces[0].path.name), pages.HELD))]
        used[part] |= {face.path.name for face in faces}
        return real(rng, faces)

    monkeypatch.setattr(pages, "_page", watched)
    pages.pages()
    assert not used["train"] & used["validation"]
    assert not used["train"] & used["test"]
    assert len(used["train"]) > 12


def test_what_is_no_font_or_has_no_letters_is_left_out(own_fonts: Path) -> None:
    faces = pages._faces()
    assert len(faces) == 24
    assert {"latin", "greek", "cyrillic"} <= set(faces[0].scripts)
    assert "chinese" not in faces[0].scripts


def test_fonts_can_be_given_by_the_environment(
    own_fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = tmp_path / "more" / "deep"
    more.mkdir(parents=True)
    shutil.copy(own_fonts / "copy0.ttf", more / "mine.ttf")
    monkeypatch.setenv("PELLUCID_FONTS", str(tmp_path / "more"))
    assert "mine.ttf" in {face.path.name for face in pages._faces()}


def test_without_any_font_it_is_said(
    own_fonts: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FOLDERS", ())
    with pytest.raises(datasets.DataError, match="PELLUCID_FONTS"):
        pages.pages()


PARTS = (
    "paragraph heading display small_print columns items table form bar rule grey_box picture "
    "handwriting drawing"
)


@pytest.mark.parametrize("kind", PARTS.split())
def test_each_part_of_a_page_leaves_ink_and_moves_down(own_fonts: Path, kind: str) -> None:
    sheet = pages._Sheet(np.random.default_rng(3), pages._faces())
    sheet.top = before = 40
    getattr(sheet, kind)()
    ink = np.asarray(sheet.image)
    assert sheet.top > before
    assert (ink < 250).any()
    assert (ink[:25] == 255).all()
