"""Promises of report/display.py: whatever the package makes becomes one picture."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid
from pellucid.errors import DataError, OptionError
from pellucid.learn import datasets
from pellucid.report import display as module
from pellucid.report.plots import curves
from pellucid.uses.code_map import strips
from pellucid.uses.embed import embed
from pellucid.uses.features import features
from pellucid.uses.generate import Maker
from pellucid.uses.interpolation import interpolations


@pytest.fixture(scope="module")
def run() -> Any:
    torch.manual_seed(0)
    model = pellucid.create("variational", channels=(4,), code_size=3, image_size=8)
    return pellucid.fit(model, "digits", epochs=2, steps=2, batch=8)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_a_run_is_shown_by_its_curves(run: Any, tmp_path: Path) -> None:
    with Image.open(curves(run.history, tmp_path / "curves.png")) as expected:
        assert np.array_equal(pixels(pellucid.show(run)), pixels(expected))


def test_epochs_that_taught_single_levels_are_not_in_the_curves() -> None:
    torch.manual_seed(0)
    model = pellucid.create("stacked", channels=(4, 4), pretraining=0.5)
    run = pellucid.fit(model, "digits", epochs=4, steps=2, batch=8)
    assert run.prepared == 2
    assert [row["epoch"] for row in run.judged] == [3, 4]


def test_a_report_is_shown_by_its_panel(run: Any, tmp_path: Path) -> None:
    report = pellucid.evaluate(run.model, "digits", "none", limit=9)
    with Image.open(report.panel(tmp_path / "panel.png")) as expected:
        assert np.array_equal(pixels(pellucid.show(report)), pixels(expected))


def test_all_that_uses_make_is_shown(run: Any) -> None:
    digits = datasets.load("digits").test
    found = embed(run.model, "digits", split="test")
    maker = Maker(run.model, data="digits")
    made = {
        "map": found,
        "neighbours": strips(found, 3),
        "strips": interpolations(run.model, found),
        "features": features(run.model, digits.array()[0]),
        "samples": maker.samples(9),
        "walks": maker.walks("3:8", 2),
    }
    shown = {name: pellucid.show(each) for name, each in made.items()}
    assert all(pixels(image).std() > 5 for image in shown.values())
    assert len({image.size for image in shown.values()}) >= 5


def test_rows_of_tensors_and_arrays_show_the_pictures_themselves() -> None:
    data = datasets.load("digits").test
    clean, array = data.whole()[0], data.array()
    assert np.array_equal(array, clean.permute(0, 2, 3, 1).numpy())
    whole = pixels(pellucid.show([clean, array, list(array)], most=4))
    # Enlarged eightfold with sharp pixels, somewhere on white paper.
    first = np.rint(255 * array[0, :, :, 0]).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    grey = whole[:, :, 0]
    windows = np.lib.stride_tricks.sliding_window_view(grey, first.shape)
    found = np.argwhere((windows == first).all((2, 3)))
    assert len(found) == 3
    assert len(set(found[:, 1])) == 1
    one, several = pellucid.show(clean, most=1), pellucid.show(clean, most=5)
    assert one.size[0] < several.size[0] < pellucid.show(clean).size[0]
    assert np.array_equal(pixels(pellucid.show(clean)), pixels(pellucid.show([clean])))


def test_a_gradient_does_not_hinder(run: Any) -> None:
    clean = datasets.load("digits").test.whole()[0][:3]
    restored = run.model(clean)
    assert restored.requires_grad
    assert pellucid.show([clean, restored], rows=("clean", "restored")).size[0] > 100


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (3, "int cannot be shown"),
        ("digits", "str cannot be shown"),
        ([], "no picture"),
        ([torch.zeros(0, 1, 8, 8)], "no picture"),
        (torch.zeros(8, 8), r"\(N, C, H, W\)"),
        ([np.zeros((8, 8))], r"\(H, W, C\)"),
        ([[3]], "int"),
    ],
)
def test_what_is_no_picture_is_refused(made: Any, says: str) -> None:
    with pytest.raises((DataError, OptionError), match=says):
        pellucid.show(made)


def test_words_are_for_rows_of_pictures(run: Any) -> None:
    with pytest.raises(OptionError, match="brings its own words"):
        pellucid.show(run, title="mine")
    with pytest.raises(OptionError, match="at least 1"):
        pellucid.show(torch.zeros(1, 1, 8, 8), most=0)


def test_pictures_of_many_sizes_do_not_stack() -> None:
    pictures = datasets.load("photographs").train
    with pytest.raises(DataError, match="size=N"):
        pictures.whole()


def test_examples_in_docstrings_work() -> None:
    assert doctest.testmod(module).failed == 0
