"""Promises of restore/ink.py: print that goes is noticed, dirt that goes is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

import networks
from pellucid import images
from pellucid.cli import app
from pellucid.images import Picture
from pellucid.restore import cells
from pellucid.restore.binarize import binarize
from pellucid.restore.ink import CELL, ink_lost

CARD = {"image_channels": 1, "multiple_of": 1, "halo": 0, "model": "pages", "ink": True}
WORDS = "What the page says\nin several lines\nof ordinary size\nmust not be lost"


def page(text: str = WORDS, *, ink: int = 20) -> np.ndarray:
    sheet = Image.new("L", (640, 400), 255)
    font = ImageFont.load_default(28)
    ImageDraw.Draw(sheet).multiline_text((60, 60), text, fill=ink, font=font, spacing=20)
    return np.asarray(sheet)[..., None]


def noisy(clean: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, clean.shape)
    return (clean + noise).clip(0, 255).astype(np.uint8)


def test_nothing_is_lost_where_nothing_changed() -> None:
    found = ink_lost(page(), page())
    assert found.removed == 0
    assert found.lost == ()


def test_a_line_that_goes_is_found_where_it_was() -> None:
    clean = page()
    without = clean.copy()
    without[105:150] = 255
    found = ink_lost(clean, without)
    assert 0.1 < found.removed < 0.5
    top, left, height, width = found.lost[0]
    assert 95 <= top <= 115
    assert top + height <= 160
    assert left >= 48
    assert width >= 2 * CELL
    everything = ink_lost(clean, np.full_like(clean, 255))
    assert everything.removed == 1
    assert len(everything.lost) >= 4


def test_a_large_page_is_looked_at_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = noisy(page(), 12)
    without = clean.copy()
    without[105:150] = 255
    whole = ink_lost(clean, without)
    assert whole.lost
    for pixels in (640 * 8, 640 * 40):
        monkeypatch.setattr(cells, "BAND_PIXELS", pixels)
        assert ink_lost(clean, without) == whole


def test_a_faint_page_has_ink_too() -> None:
    faint = page(ink=190)
    assert ink_lost(faint, np.full_like(faint, 255)).removed == 1
    assert ink_lost(faint, page()).removed < 0.02
    blank = np.full_like(faint, 250)
    assert ink_lost(blank, blank).removed == 0


@pytest.mark.parametrize("sigma", [10, 30, 60])
def test_noise_may_go(sigma: float) -> None:
    found = ink_lost(noisy(page(), sigma), page())
    assert found.lost == ()
    assert found.removed < 0.1


def test_specks_streaks_shadow_and_soft_stains_may_go() -> None:
    clean = page()
    specks = clean.copy()
    specks[np.random.default_rng(1).random(clean.shape) < 0.05] = 0
    streaks = clean.copy()
    streaks[:, [300, 301, 302, 500]] = 0
    rows, columns = np.mgrid[0:400, 0:640]
    rim = np.exp(-(((np.hypot(rows - 200, columns - 320) - 120) / 10) ** 2))
    light = (1 - 0.6 * columns / 640) * (1 - 0.5 * rim)
    stained = np.rint(clean * light[..., None]).astype(np.uint8)
    for dirty in (specks, streaks, stained):
        found = ink_lost(dirty, clean)
        assert found.lost == ()
    assert ink_lost(stained, clean).removed < 0.05


def test_thinner_strokes_are_not_lost() -> None:
    blurred = Image.fromarray(page()[..., 0]).resize((320, 200)).resize((640, 400))
    assert ink_lost(np.asarray(blurred)[..., None], page()).removed < 0.05


@settings(deadline=None, max_examples=50)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_any_picture_has_an_answer(height: int, width: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 256, (2, height, width, channels), np.uint8)
    found = ink_lost(before, after)
    assert 0 <= found.removed <= 1
    for top, left, tall, wide in found.lost:
        assert 0 <= top < height
        assert 0 <= left < width
        assert tall >= CELL
        assert wide >= CELL
    deep = ink_lost(before.astype(np.uint16) * 257, after.astype(np.uint16) * 257)
    assert deep == found


# On the command line


def denoise(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["denoise", *map(str, arguments)])


@pytest.fixture
def whitening(tmp_path: Path) -> Path:
    """A network for pages that takes everything away."""
    return networks.pointwise(tmp_path / "white.onnx", "Max", 1.0, card=CARD)


def test_a_page_that_would_lose_print_stays(tmp_path: Path, whitening: Path) -> None:
    source, target, told = tmp_path / "in.tif", tmp_path / "out.tif", tmp_path / "told.json"
    blank = np.full((400, 640, 1), 250, np.uint8)
    images.write(source, [Picture(page()), Picture(blank)])
    run = denoise(source, "-o", target, "--model", whitening, "--json", told)
    assert run.exit_code == 0, run.output
    assert "page 1: print may be lost" in run.output
    first, second = json.loads(told.read_text())["files"]
    assert first["ink_removed"] == 0
    assert second["ink_removed"] == 0
    assert not second["warnings"]
    kept, cleaned = images.pages(target)
    np.testing.assert_array_equal(kept.samples, page())
    assert (cleaned.samples == 255).all()
    forced = denoise(
        source, "-o", target, "--model", whitening, "--json", told, "--force", "--overwrite"
    )
    assert forced.exit_code == 0
    assert json.loads(told.read_text())["files"][0]["ink_removed"] == 1
    assert (images.read(target).samples == 255).all()


def test_models_for_photographs_are_not_asked_for_ink(tmp_path: Path) -> None:
    white = networks.pointwise(tmp_path / "white.onnx", "Max", 1.0)
    images.write(tmp_path / "in.png", page())
    told = tmp_path / "told.json"
    denoise(tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", white, "--json", told)
    assert "ink_removed" not in json.loads(told.read_text())["files"][0]
    assert (images.read(tmp_path / "out.png").samples == 255).all()


def test_a_photograph_given_to_a_model_for_pages_is_told(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0, card=CARD)
    grey = np.random.default_rng(0).normal(110, 40, (200, 300)).clip(0, 255).astype(np.uint8)
    for name, picture, warned in (("photo", grey, True), ("page", page()[..., 0], False)):
        images.write(tmp_path / f"{name}.png", picture)
        run = denoise(
            tmp_path / f"{name}.png", "-o", tmp_path / "out.png", "--model", same, "--overwrite"
        )
        assert run.exit_code == 0
        assert ("does not look like print on paper" in run.output) == warned


def test_a_page_that_is_black_and_white_already_takes_one_bit_too(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0, card=CARD)
    sheet = np.where(page() < 128, 0, 255).astype(np.uint8)
    images.write(tmp_path / "in.png", Picture(sheet))
    target = tmp_path / "out.png"
    run = denoise(tmp_path / "in.png", "-o", target, "--model", same, "--binarize")
    assert run.exit_code == 0, run.output
    assert images.read(target).bits == 1
    np.testing.assert_array_equal(images.read(target).samples, sheet)


def test_print_too_pale_to_become_black_is_kept_and_told(tmp_path: Path) -> None:
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0, card=CARD)
    source, told = tmp_path / "in.png", tmp_path / "told.json"
    images.write(source, page(ink=215))

    def run(*more: str) -> tuple[str, float, np.ndarray]:
        options = ("--model", same, "--json", told, "--overwrite", *more)
        made = denoise(source, "-o", tmp_path / "out.png", *options)
        assert made.exit_code == 0, made.output
        share = json.loads(told.read_text())["files"][0]["ink_removed"]
        return made.output, share, images.read(tmp_path / "out.png").samples

    said, share, samples = run()
    assert (share, "lost" in said) == (0, False)
    said, share, samples = run("--binarize")
    assert "print may be lost" in said
    np.testing.assert_array_equal(samples, page(ink=215))
    said, share, samples = run("--binarize", "--force")
    assert share == 1
    assert "100% of the ink is too pale to become black" in said
    assert (samples == 255).all()


@pytest.mark.parametrize(("strength", "bits"), [("1", 1), ("0.5", 8)])
def test_a_one_bit_page_stays_one_at_full_strength(
    tmp_path: Path, strength: str, bits: int
) -> None:
    dimmed = networks.pointwise(tmp_path / "dim.onnx", "Mul", 0.9, card=CARD)
    sheet = np.where(page() < 128, 0, 255).astype(np.uint8)
    images.write(tmp_path / "in.tif", Picture(sheet, bits=1))
    target = tmp_path / "out.tif"
    run = denoise(tmp_path / "in.tif", "-o", target, "--model", dimmed, "--strength", strength)
    assert run.exit_code == 0, run.output
    made = images.read(target)
    assert made.bits == bits
    assert np.array_equal(made.samples, sheet) == (bits == 1)


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 1), (".tif", 1), (".pdf", 1), (".jpg", 8)])
def test_pages_become_black_and_white(tmp_path: Path, suffix: str, bits: int) -> None:
    if suffix == ".pdf":
        pytest.importorskip("pikepdf")
    same = networks.pointwise(tmp_path / "same.onnx", "Mul", 1.0, card=CARD)
    colour = np.repeat(page(ink=90), 3, axis=2)
    colour[:40, :40] = (200, 30, 30)
    images.write(tmp_path / "in.png", colour)
    target = tmp_path / f"out{suffix}"
    run = denoise(tmp_path / "in.png", "-o", target, "--model", same, "--binarize")
    assert run.exit_code == 0, run.output
    made = images.read(target)
    assert (made.bits, made.channels) == (bits, 1)
    expected = binarize(colour)[..., 0]
    assert np.abs(made.samples[..., 0].astype(int) - expected).mean() < 3
    if bits == 1:
        np.testing.assert_array_equal(made.samples[..., 0], expected)
