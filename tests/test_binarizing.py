"""Promises of report/binarizing.py: ink is counted as the contests count it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

pytest.importorskip("torch")
from typer.testing import CliRunner

import networks
from pellucid import images
from pellucid.cli import app
from pellucid.errors import DataError, OptionError
from pellucid.report.binarizing import evaluate_binarizing, measures


def ink() -> np.ndarray:
    mask = np.zeros((120, 160), bool)
    mask[40:80:8, 30:130] = mask[41:80:8, 30:130] = True
    return mask


def save(path: Path, dark: int, light: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, np.where(ink(), dark, light).astype(np.uint8))


@pytest.fixture
def same(tmp_path: Path) -> Path:
    return networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0)


# Measures


def test_measures_are_those_of_scikit_learn() -> None:
    found, truth = np.random.default_rng(0).random((2, 40, 30)) < 0.3
    told = measures(found, truth)
    assert told["fm"] == pytest.approx(100 * f1_score(truth.ravel(), found.ravel()))
    assert told["psnr"] == pytest.approx(-10 * np.log10(np.mean((found * 1.0 - truth) ** 2)))


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_truth_itself_is_the_best(height: int, width: int, share: float, seed: int) -> None:
    found, truth = np.random.default_rng(seed).random((2, height, width)) < share
    best, told = measures(truth, truth), measures(found, truth)
    assert best["fm"] == 100
    assert 0 <= told["fm"] <= 100
    assert told["psnr"] <= best["psnr"]


# Pages


def test_pages_and_truths_in_one_folder_or_two(tmp_path: Path, same: Path) -> None:
    save(tmp_path / "one" / "a_source.png", 60, 220)
    save(tmp_path / "one" / "a_target.png", 0, 255)
    save(tmp_path / "one" / "b_source.png", 60, 220)  # no truth, and so not judged
    save(tmp_path / "pages" / "a.png", 60, 220)
    save(tmp_path / "truths" / "a.tif", 0, 255)
    for data in (str(tmp_path / "one"), f"{tmp_path / 'pages'}:{tmp_path / 'truths'}"):
        report = evaluate_binarizing(same, data)
        assert [page["path"] for page in report.pages] == ["a"]
        assert report.scores["same"]["fm"] == report.scores["untouched"]["fm"] == 100


def test_a_network_that_whitens_everything_finds_no_ink(tmp_path: Path) -> None:
    white = networks.pointwise(tmp_path / "white.onnx", "Add", 1.0)
    save(tmp_path / "pages" / "a_source.png", 60, 220)
    save(tmp_path / "pages" / "a_target.png", 0, 255)
    assert evaluate_binarizing(white, tmp_path / "pages").scores["white"]["fm"] == 0


def test_the_command_line_counts_ink(tmp_path: Path, same: Path) -> None:
    pytest.importorskip("cv2")
    save(tmp_path / "pages" / "a_source.png", 60, 220)
    save(tmp_path / "pages" / "a_target.png", 0, 255)
    command = ["evaluate", str(same), "--data", str(tmp_path / "pages"), "--task", "binarize"]
    more = ["--baselines", "--with", "gaussian:0.05", "--json", str(tmp_path / "told.json")]
    run = CliRunner().invoke(app, [*command, *more])
    assert run.exit_code == 0, run.output
    assert "FM %" in run.output
    told = json.loads((tmp_path / "told.json").read_text())
    assert set(told["scores"]) == {"untouched", "same", "otsu", "sauvola", "background+otsu"}
    assert told["scores"]["otsu"]["fm"] == 100
    refused = CliRunner().invoke(app, [*command, "--split", "all"])
    assert isinstance(refused.exception, OptionError)


# Bad input


def test_pages_without_truths_are_refused(tmp_path: Path, same: Path) -> None:
    save(tmp_path / "pages" / "a.png", 60, 220)
    with pytest.raises(DataError, match="no page has its truth; give pages:truths"):
        evaluate_binarizing(same, tmp_path / "pages")
    (tmp_path / "truths").mkdir()
    images.write(tmp_path / "truths" / "a.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(DataError, match="have 160x120 and 6x5 pixels"):
        evaluate_binarizing(same, f"{tmp_path / 'pages'}:{tmp_path / 'truths'}")
    with pytest.raises(OptionError, match="limit 0"):
        evaluate_binarizing(same, tmp_path / "pages", limit=0)
