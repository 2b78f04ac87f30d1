"""Promises of report/reading.py and page_filters.py: pages are read, and errors counted right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("torch")
pytest.importorskip("rapidfuzz")
from typer.testing import CliRunner

import networks
from pellucid.cli import app
from pellucid.errors import DataError, OptionError
from pellucid.report import reading
from pellucid.report.page_filters import PAGE_FILTERS, at_hand

SAID = "Seven quick foxes"
needs_tesseract = pytest.mark.skipif(
    not shutil.which("tesseract"), reason="tesseract is not installed"
)


def page(text: str = SAID, ink: int = 0) -> np.ndarray:
    sheet = Image.new("L", (560, 140), 255)
    ImageDraw.Draw(sheet).text((40, 40), text, fill=ink, font=ImageFont.load_default(40))
    return np.asarray(sheet)


def save(folder: Path, name: str, pixels: np.ndarray, text: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{name}.png", dpi=(200, 200))
    if text is not None:
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


# Counting


@pytest.mark.parametrize(
    ("truth", "read", "expected"),
    [
        ("abc", "abc", (0, 0)),
        ("abc def", "abd def", (1, 1)),
        ("abc", "", (3, 1)),
        ("abc", "x" * 99, (3, 1)),
        ("", "noise", (0, 0)),
        ("a b c", "a c", (2, 1)),
    ],
)
def test_errors_are_edits_and_never_more_than_all(
    truth: str, read: str, expected: tuple[int, int]
) -> None:
    assert reading.errors(truth, read) == expected


@given(st.text("ab \n“’–", max_size=20), st.text("ab \n", max_size=20))
def test_spaces_and_curly_marks_cost_nothing(text: str, other: str) -> None:
    straight = text.translate(str.maketrans("“’–", "\"'-"))
    assert reading.plain(text) == reading.plain(f"  {straight}\n\n")
    characters, words = reading.errors(reading.plain(text), reading.plain(other))
    assert 0 <= characters <= len(reading.plain(text))
    assert 0 <= words <= len(text.split())


# Reading


@needs_tesseract
def test_a_page_is_read() -> None:
    assert reading.plain(reading.read_page(page())) == SAID


@needs_tesseract
def test_a_network_that_whitens_everything_reads_nothing(tmp_path: Path) -> None:
    white = networks.pointwise(tmp_path / "white.onnx", "Max", 1.0)
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    for name in ("a", "b"):
        save(tmp_path / "pages", name, page(), SAID)
    report = reading.evaluate_reading(white, tmp_path / "pages")
    assert report.n == 2
    assert report.scores[reading.UNTOUCHED].cer == 0
    assert report.scores["white"].cer == report.scores["white"].wer == 1
    kept = reading.evaluate_reading(same, tmp_path / "pages", limit=1)
    assert kept.n == 1
    assert kept.scores["same"].cer == 0
    assert "untouched" in kept.table()
    told = json.loads(kept.to_json())
    assert told["scores"]["same"]["cer"] == 0
    assert told["pages"][0]["characters"] == len(SAID)


@needs_tesseract
def test_damage_is_done_first_and_the_same_each_time(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    save(tmp_path / "set" / "clean", "a", page())
    (tmp_path / "set" / "text").mkdir()
    (tmp_path / "set" / "text" / "a.txt").write_text(SAID)
    scores = [
        reading.evaluate_reading(same, tmp_path / "set", "gaussian:0.5").scores for _ in range(2)
    ]
    assert scores[0]["same"].cer > 0.3
    assert scores[0]["same"].cer == scores[1]["same"].cer


@needs_tesseract
def test_pairs_are_held_against_the_reading_of_the_clean_page(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    save(tmp_path / "noisy", "a", page("Seven quick faxes"))
    save(tmp_path / "clean", "a", page())
    data = f"{tmp_path / 'noisy'}:{tmp_path / 'clean'}"
    report = reading.evaluate_reading(same, data, baselines=True)
    assert report.scores["same"].cer == pytest.approx(1 / len(SAID))
    assert report.scores["same"].wer == pytest.approx(1 / 3)
    assert set(at_hand()) < set(report.scores)


@needs_tesseract
def test_the_command_line_reads(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    save(tmp_path / "pages", "a", page(), SAID)
    told = tmp_path / "told.json"
    command = ["evaluate", str(same), "--data", str(tmp_path / "pages"), "--task", "ocr"]
    run = CliRunner().invoke(app, [*command, "--json", str(told)])
    assert run.exit_code == 0, run.output
    assert "CER %" in run.output
    assert json.loads(told.read_text())["task"] == "ocr"
    refused = CliRunner().invoke(app, [*command, "--published"])
    assert isinstance(refused.exception, OptionError)


# Bad input


@needs_tesseract
def test_folders_without_texts_are_refused(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    save(tmp_path / "pages", "a", page())
    with pytest.raises(DataError, match="no page has a text beside it"):
        reading.evaluate_reading(same, tmp_path / "pages")
    save(tmp_path / "other", "b", page())
    with pytest.raises(DataError, match=r"no page of .* has a partner"):
        reading.evaluate_reading(same, f"{tmp_path / 'pages'}:{tmp_path / 'other'}")
    with pytest.raises(OptionError, match="limit 0"):
        reading.evaluate_reading(same, tmp_path / "pages", limit=0)
    with pytest.raises(OptionError, match=r"does not know the language xyz; it has .*eng"):
        reading.evaluate_reading(same, tmp_path / "pages", language="eng+xyz")


def test_without_tesseract_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="tesseract is not installed"):
        reading.check_tesseract("eng")


# Filters


@pytest.mark.parametrize("name", PAGE_FILTERS)
def test_filters_keep_size_and_white_paper(name: str) -> None:
    pytest.importorskip("cv2")
    for shape in ((140, 560), (1, 1), (3, 50)):
        white = np.full(shape, 255, np.uint8)
        made = PAGE_FILTERS[name](white)
        assert made.shape == shape
        assert made.dtype == np.uint8
        if name not in ("otsu",):  # which finds two halves in anything
            assert made.min() == 255


def test_dividing_by_the_paper_takes_shadow_away() -> None:
    pytest.importorskip("cv2")
    shadow = np.linspace(1, 0.5, 560)
    shaded = (page() * shadow).astype(np.uint8)
    even = PAGE_FILTERS["background"](shaded)
    assert np.abs(even.astype(int) - page()).mean() < np.abs(shaded.astype(int) - page()).mean() / 5


def test_thresholds_give_ink_and_paper_only() -> None:
    pytest.importorskip("cv2")
    for name in ("otsu", "sauvola"):
        made = PAGE_FILTERS[name](page(ink=80))
        assert set(np.unique(made)) == {0, 255}
        assert 0.02 < (made == 0).mean() < 0.3


@pytest.mark.skipif(not shutil.which("unpaper"), reason="unpaper is not installed")
def test_unpaper_takes_specks_away() -> None:
    speckled = page().copy()
    speckled[100, 400] = 0
    cleaned = at_hand()["unpaper"](speckled)
    assert cleaned.shape == speckled.shape
    assert cleaned[100, 400] == 255
