"""Promises of report/results.py: JSON that others read, a table that lines up, panels that show."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from pellucid import __version__
from pellucid.report.results import BaselineScores, Example, Report

NOISY = {"psnr": 20.171, "ssim": 0.41234, "rmse": 0.09801, "mae": 0.07812}
BETTER = {"psnr": 29.0149, "ssim": 0.8321, "rmse": 0.03541, "mae": 0.025}


def report(side: int = 8, n: int = 3, **changes) -> Report:
    picture = np.random.default_rng(0).random((side, side + 2, 1), dtype=np.float32)
    examples = tuple(
        Example(label, "a.png", picture, picture, picture, before=20.0, after=29.0)
        for label in ("best", "median", "worst")
    )
    given = {
        "model": "conv",
        "data": "digits",
        "split": "test",
        "damage": "gaussian:0.1",
        "clipped": True,
        "rounded": True,
        "seed": 0,
        "channels": 1,
        "n": n,
        "total": n,
        "damaged": NOISY,
        "restored": BETTER,
        "images": ({"path": "a.png", "damaged": NOISY, "restored": BETTER},) * n,
        "baselines": {
            "median": BaselineScores(NOISY, n=n, restored=BETTER, setting={"size": 3}),
            "bm3d": BaselineScores(BETTER, n=n, restored=BETTER, sigma="known"),
            "pca": BaselineScores(None, reason="the model has no code"),
        },
        "examples": examples,
    }
    return Report(**(given | changes))


def test_the_json_has_the_keys_that_other_programs_read():
    told = json.loads(report().to_json())
    assert told["version"] == __version__
    for key in ("data", "damage", "clipped", "n", "damaged", "restored", "baselines", "images"):
        assert key in told
    assert set(told["damaged"]) == set(told["restored"]) == {"psnr", "ssim", "rmse", "mae"}
    assert told["baselines"]["bm3d"]["psnr"] == 29.0149
    assert told["baselines"]["bm3d"]["sigma"] == "known"
    assert told["baselines"]["pca"]["psnr"] is None
    assert told["baselines"]["pca"]["reason"] == "the model has no code"
    assert len(told["images"]) == told["n"] == 3


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null_and_a_dash(lost):
    odd = report(restored={**BETTER, "psnr": lost})
    assert json.loads(odd.to_json())["restored"]["psnr"] is None
    assert "NaN" not in odd.to_json()
    line = next(line for line in odd.table().splitlines() if line.startswith("restored"))
    assert line.split()[1] == "-"


def test_the_table_lines_up_and_says_how_each_score_came_about():
    lines = report().table().splitlines()
    assert lines[0] == "conv on digits (test): 3 pictures, damage gaussian:0.1, clipped"
    rows = {line.split()[0]: line for line in lines[3:]}
    assert list(rows) == ["damaged", "restored", "median", "bm3d", "pca"]
    points = {line.index(".") for line in rows.values() if "not applicable" not in line}
    assert len(points) == 1
    assert rows["median"].endswith("size 3")
    assert rows["bm3d"].endswith("sigma known")
    assert rows["pca"].endswith("not applicable: the model has no code")
    assert all(line == line.rstrip() for line in lines)


def test_the_table_says_on_how_many_pictures_the_baselines_ran():
    few = {"nlm": BaselineScores(NOISY, n=2, restored=BETTER, sigma=0.06)}
    text = report(n=9, baselines=few).table()
    assert "on 2 of these pictures" in text
    assert text.count("\nrestored") == 2
    assert "sigma 0.06" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total": 10_000}, "3 of 10,000 pictures"),
        ({"n": 1, "total": 1}, "1 picture,"),
        ({"clipped": False}, "gaussian:0.1, not clipped"),
        ({"damage": "pairs", "clipped": False}, "damage pairs"),
    ],
)
def test_the_first_line_says_what_was_done(changes, said):
    line = report(**changes).table().splitlines()[0]
    assert said in line
    assert "pairs," not in line


@pytest.mark.parametrize("side", [8, 80])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_panel_is_drawn_for_small_and_large_pictures(side, count, tmp_path):
    one = report(side=side)
    one = report(side=side, examples=one.examples[:count])
    with Image.open(one.panel(tmp_path / "panel.png")) as image:
        assert image.width > 3 * side
