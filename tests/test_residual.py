"""Promises of restore/residual.py: what was removed is shown, and told from noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, median_filter
from scipy.stats import rankdata
from typer.testing import CliRunner

from networks import box, pointwise
from pellucid import images
from pellucid.cli import app
from pellucid.errors import OptionError
from pellucid.images.picture import Picture
from pellucid.learn import datasets
from pellucid.restore.denoise import denoise
from pellucid.restore.files import denoise_files
from pellucid.restore.residual import SUSPICIOUS, _ranks, residual, structure


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A photograph, grey, (192, 256, 1)."""
    image = datasets.load("photographs", channels=1).test.image(0)[0, 0]
    return image.numpy()[100:292, 200:456, None]


def noisy(clean: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, clean.shape)
    return (clean + noise).astype(np.float32)


@pytest.mark.parametrize("sigma", [5, 15, 25])
def test_noise_that_was_removed_has_no_structure(photo: np.ndarray, sigma: float) -> None:
    assert abs(structure(noisy(photo, sigma / 255), photo)) < 0.12
    counted = np.random.default_rng(0).poisson(60 * photo) / 60
    assert abs(structure(counted.astype(np.float32), photo)) < 0.12


@pytest.mark.parametrize("sigma", [5, 15])
def test_what_a_plain_filter_removes_has(photo: np.ndarray, sigma: float) -> None:
    damaged = noisy(photo, sigma / 255)
    for blurred in (gaussian_filter(damaged, (1, 1, 0)), median_filter(damaged, (5, 5, 1))):
        assert structure(damaged, blurred) > SUSPICIOUS


@pytest.mark.parametrize("name", ["gaussian-gray", "photo-gray"])
def test_the_networks_of_the_box_are_not_suspected(photo: np.ndarray, name: str) -> None:
    damaged = noisy(photo, 15 / 255)
    assert structure(damaged, denoise(damaged, model=name)) < SUSPICIOUS


def test_where_nothing_can_be_told_nothing_is(photo: np.ndarray) -> None:
    assert structure(photo, photo) is None
    assert structure(photo[:40, :40], photo[:40, :40] * 0) is None
    flat = np.zeros((128, 128, 1), np.float32)
    assert structure(noisy(flat, 0.1), flat) is None
    holes = photo.copy()
    holes[:] = np.nan
    assert structure(holes, holes) is None


def test_padding_counts_as_unchanged(photo: np.ndarray) -> None:
    damaged, clean = noisy(photo, 0.05), photo.copy()
    damaged[:40] = clean[:40] = np.nan
    assert abs(structure(damaged, clean)) < 0.15


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 1e4), shift=st.floats(-1e3, 1e3))
def test_units_do_not_matter(scale: float, shift: float) -> None:
    clean = gaussian_filter(np.random.default_rng(1).normal(size=(96, 96, 1)), (3, 3, 0))
    damaged = clean + 0.02 * np.random.default_rng(2).normal(size=clean.shape)
    before, after = ((scale * x + shift).astype(np.float64) for x in (damaged, clean))
    expected = structure(damaged, clean)
    assert structure(before, after) == pytest.approx(expected, abs=0.1)


def test_ranks_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 9, 40).astype(float)
    np.testing.assert_allclose(_ranks(values), (rankdata(values) - 1) / 39 - 0.5)


def test_the_residual_is_before_minus_after_or_grey_to_look_at() -> None:
    before = Picture(np.full((4, 5, 1), 200, np.uint8), dpi=(300, 300))
    after = before.with_samples(np.full((4, 5, 1), 149, np.uint8))
    signed = residual(before, after, signed=True)
    assert (signed.samples.dtype, signed.dpi) == (np.float32, (300, 300))
    np.testing.assert_allclose(signed.samples, 51 / 255, rtol=1e-6)
    assert (residual(before, after, signed=False).samples == 128 + 51).all()
    measured = Picture(np.linspace(-1000, 3000, 20, dtype=np.float32).reshape(4, 5, 1))
    higher = measured.with_samples(measured.samples + 1000)
    np.testing.assert_allclose(residual(measured, higher, signed=True).samples, -1000, rtol=1e-6)
    assert abs(residual(measured, higher, signed=False).samples.astype(int) - 64).max() <= 1


def test_the_command_line_writes_it_and_warns(tmp_path: Path, photo: np.ndarray) -> None:
    blur = str(box(tmp_path / "blur.onnx", radius=2, depth=2))
    samples = np.uint8(np.rint(255 * photo))
    images.write(tmp_path / "a.png", Picture(samples))
    given = ["denoise", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--model", blur]
    told = tmp_path / "told.json"
    done = CliRunner().invoke(
        app, [*given, "--residual", str(tmp_path / "r.tif"), "--json", str(told)]
    )
    assert done.exit_code == 0, done.output
    restored = images.read(tmp_path / "b.png").samples.astype(int)
    removed = images.read(tmp_path / "r.tif").samples * 255
    np.testing.assert_allclose(removed, samples.astype(int) - restored, atol=1e-3)
    entry = json.loads(told.read_text())["files"][0]
    assert entry["structure"] > SUSPICIOUS
    assert "detail may have gone" in entry["warnings"][0]
    assert "structure in it +0." in done.output


def test_folders_and_pages_get_files_of_their_own(tmp_path: Path) -> None:
    half = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    page = Picture(np.full((20, 30, 1), 100, np.uint8))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    images.write(tmp_path / "in" / "a.png", page)
    images.write(tmp_path / "in" / "deep" / "b.tif", [page, page])
    places = tmp_path / "in", tmp_path / "out"
    results = denoise_files([places[0]], places[1], model=half, residual=tmp_path / "gone")
    assert not any(result.error for result in results)
    found = sorted(p.relative_to(tmp_path).as_posix() for p in (tmp_path / "gone").rglob("*.tif"))
    assert found == [
        "gone/a.png.tif",
        "gone/deep/b.tif-0000.tif",
        "gone/deep/b.tif-0001.tif",
    ]
    np.testing.assert_allclose(images.read(tmp_path / found[1]).samples, 50 / 255)


@pytest.mark.parametrize("name", ["x.png", "y.png"])
def test_neither_input_nor_output_is_written_over(tmp_path: Path, name: str) -> None:
    half = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    images.write(tmp_path / "x.png", Picture(np.full((20, 30, 1), 100, np.uint8)))
    with pytest.raises(OptionError, match="another place"):
        denoise_files(
            [tmp_path / "x.png"], tmp_path / "y.png", model=half, residual=tmp_path / name
        )
    with pytest.raises(OptionError, match="TIFF or PNG"):
        denoise_files(
            [tmp_path / "x.png"], tmp_path / "y.png", model=half, residual=tmp_path / "r.dcm"
        )
    assert not (tmp_path / "y.png").exists()
