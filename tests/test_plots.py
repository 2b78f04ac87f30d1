"""Promises of report/plots.py: every history becomes a picture, with its turning point marked."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pellucid.report.plots import LINES, TRAIN, VALIDATION, curves, rates


def history(count: int, **changes):
    rows = []
    for e in range(1, count + 1):
        row = {
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 0.2 + 1 / e + 0.05 * max(0, e - 5),
            "val_psnr": 20 + e / 10,
            "val_ssim": 0.5 + e / 100,
        }
        rows.append(row | {k: v for k, v in changes.items() if k in row})
    return rows


def colours(path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return set(map(tuple, np.unique(pixels, axis=0).tolist()))


def hexed(colour: str) -> tuple[int, int, int]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_both_losses_are_drawn(tmp_path):
    found = colours(curves(history(12), tmp_path / "curves.png", title="digits"))
    assert {hexed(TRAIN), hexed(VALIDATION)} <= found


@pytest.mark.parametrize(
    "rows",
    [
        [],
        history(1),
        history(3),
        history(6, val_loss=None),
        history(6, val_loss=math.nan),
        history(6, train_loss=math.inf, val_psnr=None, val_ssim=None),
        history(6, val_psnr=math.nan),
        history(6, train_loss=0.0, val_loss=0.0),
        history(6, train_loss=-1.0),
        [{"epoch": 3, "train_loss": 1.0}],
        [{}],
    ],
    ids=lambda rows: f"{len(rows)}-{list(rows[0].values())[1:2] if rows else ''}",
)
def test_every_history_becomes_a_picture(rows, tmp_path):
    with Image.open(curves(rows, tmp_path / "deep" / "curves.png")) as image:
        assert image.format == "PNG"
        assert image.width > 500


def test_matplotlib_opens_only_when_a_curve_is_drawn():
    code = "import sys, pellucid.report.plots; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_codec_has_its_line(tmp_path):
    lines = {
        name: [(0.2 * 2**i, 26 + number + 3 * i) for i in range(4)]
        for number, name in enumerate(("ours", "JPEG", "WebP", "AVIF"))
    }
    found = colours(rates(lines, tmp_path / "new" / "rates.png", title="pictures"))
    assert {hexed(colour) for colour in LINES[:4]} <= found
