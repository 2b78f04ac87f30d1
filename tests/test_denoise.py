"""Promises of restore/denoise.py: only the pixels change, at any size, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import pellucid
from networks import box, helper, pointwise, save
from pellucid.errors import CheckpointError, OptionError, PellucidError
from pellucid.images import Picture, read, write
from pellucid.restore.denoise import STRENGTHS, denoise, restore_picture
from pellucid.restore.runtime import open_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "grey": box(folder / "grey.onnx", channels=1, radius=2, depth=2),
        "colour": box(folder / "colour.onnx", channels=3, radius=2, depth=2),
        "half": pointwise(folder / "half.onnx", "Mul", 0.5),
        "same": pointwise(folder / "same.onnx", "Mul", 1.0),
    }


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


@pytest.mark.parametrize("name", ["grey", "colour"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5000), (40, 50), (40, 50, 1), (40, 50, 3), (5000, 3, 3)]
)
def test_the_shape_given_is_the_shape_returned(models, name, shape):
    restored = denoise(pixels(*shape), model=models[name])
    assert restored.shape == shape
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()


@pytest.mark.parametrize("name", ["grey", "colour"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiled_equals_whole_to_half_an_8_bit_step(models, name, channels):
    x = pixels(150, 170, channels)
    tiled = denoise(x, model=models[name], tile=40)
    assert np.abs(tiled - denoise(x, model=models[name])).max() < 1e-6 < 0.5 / 255


def test_a_trained_kind_of_network_tiles_exactly(tmp_path):
    torch = pytest.importorskip("torch")
    from pellucid.learn.models import create

    torch.manual_seed(0)
    x = pixels(170, 200, 1)
    for kind, options in (
        ("conv", {"channels": (4, 8), "up": "unpool", "down": "max"}),
        ("conv", {"channels": (4, 8), "up": "bilinear"}),
        ("unet", {"channels": (4, 8, 8), "blocks": 1, "unshuffle": 2}),
    ):
        model = create(kind, **options)
        tiled = denoise(x, model=model, tile=64)
        assert np.abs(tiled - denoise(x, model=model)).max() < 1e-5


def test_a_dense_code_restores_any_size_in_patches():
    torch = pytest.importorskip("torch")
    from pellucid.learn.models import create

    torch.manual_seed(0)
    model = create("conv", channels=(4,), code_size=5, image_size=16)
    for shape in ((9, 11), (16, 16), (50, 33)):
        assert denoise(pixels(*shape), model=model).shape == shape


@pytest.mark.filterwarnings("ignore:this looks drawn")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, bool])
def test_every_dtype_of_array_is_taken(models, dtype):
    x = pixels(20, 30) > 0.5
    x = (
        x
        if dtype is bool
        else x.astype(dtype) * (np.iinfo(dtype).max if dtype in (np.uint8, np.uint16) else 1)
    )
    restored = denoise(x, model=models["half"])
    assert set(np.unique(restored)) == {0.0, 0.5}


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 4)),
        np.zeros((2, 2, 2)),
        np.zeros(3),
        np.zeros((0, 4)),
        np.zeros((4, 4), int),
    ],
)
def test_arrays_that_are_no_picture_are_refused(models, array):
    with pytest.raises(OptionError) as error:
        denoise(array, model=models["grey"])
    assert "\n" not in str(error.value)


def test_strength_goes_from_nothing_to_all(models):
    x = pixels(30, 31, 3)
    full = denoise(x, model=models["grey"])
    assert np.array_equal(denoise(x, model=models["grey"], strength=0), x)
    half = denoise(x, model=models["grey"], strength=0.5)
    assert np.abs(half - (x + full) / 2).max() < 1e-6
    picture = Picture((x * 255).astype(np.uint8))
    assert restore_picture(picture, open_model(models["grey"]), 0) is picture
    for name, share in STRENGTHS.items():
        named = denoise(x, model=models["grey"], strength=name)
        assert np.array_equal(named, denoise(x, model=models["grey"], strength=share))
    for strength in (-0.1, 1.1, float("nan"), "lots", ""):
        with pytest.raises(OptionError, match="strength"):
            denoise(x, model=models["grey"], strength=strength)
    with pytest.raises(OptionError, match="tile"):
        denoise(x, model=models["grey"], tile=3)


def test_what_counts_from_zero_stays_above_it(tmp_path):
    less = pointwise(tmp_path / "less.onnx", "Sub", 0.2)
    x = 3000 * pixels(40, 44)
    assert denoise(x, model=less).min() == 0
    assert denoise(x - 1000, model=less).min() < -1500


def test_grey_and_colour_pictures_go_through_each_others_models(models):
    x = pixels(20, 24)
    assert (
        np.abs(denoise(x, model=models["colour"]) - denoise(x, model=models["grey"])).max() < 1e-6
    )
    y = pixels(20, 24, 3)
    assert (
        np.abs(denoise(y, model=models["colour"]) - denoise(y, model=models["grey"])).max() < 1e-6
    )
    alike = np.repeat(x[..., None], 3, axis=2)
    assert np.array_equal(
        denoise(alike, model=models["grey"])[..., 2], denoise(x, model=models["grey"])
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_the_pixels_change(models, dtype):
    x = (pixels(20, 30, 3) * np.iinfo(dtype).max).astype(dtype)
    picture = Picture(
        x, alpha=x[..., 0].copy(), icc=b"icc", dpi=(300.0, 300.0), orientation=6, kind="png"
    )
    restored = restore_picture(picture, open_model(models["grey"]))
    assert restored.samples.dtype == dtype
    assert not np.array_equal(restored.samples, x)
    kept = replace(restored, samples=x)
    assert all(
        np.array_equal(getattr(kept, field), getattr(picture, field))
        for field in ("samples", "alpha", "bits", "icc", "dpi", "orientation", "kind", "page")
    )


def test_sixteen_bits_are_more_than_eight(models):
    x = np.arange(40_000, dtype=np.uint16).reshape(200, 200, 1)
    restored = restore_picture(Picture(x), open_model(models["same"])).samples
    assert np.array_equal(restored, x)


@pytest.mark.filterwarnings("ignore:this looks drawn")
def test_one_bit_pictures_come_back_grey(models):
    x = (pixels(30, 30, 1) > 0.5).astype(np.uint8) * np.uint8(255)
    restored = restore_picture(Picture(x, bits=1), open_model(models["grey"]))
    assert restored.bits == 8
    assert len(np.unique(restored.samples)) > 10


def test_a_file_comes_upright_and_equals_the_picture_written(models, tmp_path):
    x = (pixels(20, 30, 3) * 255).astype(np.uint8)
    write(tmp_path / "a.tif", Picture(x, orientation=6))
    restored = denoise(tmp_path / "a.tif", model=models["colour"])
    assert restored.shape == (30, 20, 3)
    whole = restore_picture(read(tmp_path / "a.tif"), open_model(models["colour"])).upright()
    assert np.array_equal(np.rint(restored * 255), whole.samples)


def test_float_pictures_keep_their_range_and_their_nan(models):
    x = pixels(40, 50, 1) * 3000 + 200
    x[5:9, 5:9] = np.nan
    told: list[str] = []
    restored = restore_picture(Picture(x), open_model(models["grey"]), warn=told.append).samples
    assert np.array_equal(np.isnan(restored), np.isnan(x))
    inner = restored[10:-10, 10:-10]
    assert 1000 < inner.mean() < 2400
    assert inner.std() < x[10:-10, 10:-10].std() / 3
    assert "NaN" in told[0]
    with pytest.warns(UserWarning, match="NaN"):
        denoise(x, model=models["grey"])


def test_a_hot_pixel_stays_and_harms_nothing_else(models):
    x = pixels(40, 50, 1) * 100 + 1000
    x[7, 7] = 1e7
    told: list[str] = []
    restored = restore_picture(Picture(x), open_model(models["same"]), warn=told.append).samples
    assert np.allclose(restored, x, rtol=1e-5)
    assert "far outside" in told[0]


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_pictures_come_back(models, value):
    x = np.full((30, 30), value, np.uint8)
    assert np.allclose(denoise(x, model=models["same"]), value / 255)


def test_a_network_that_answers_nan_is_refused(tmp_path):
    path = pointwise(tmp_path / "broken.onnx", "Mul", float("nan"))
    with pytest.raises(CheckpointError, match="NaN"):
        denoise(pixels(5, 5), model=path)


def test_somebody_elses_network_restores_a_large_picture(tmp_path):
    nodes = [helper.make_node("Mul", ["image", "w"], ["restored"])]
    path = save(tmp_path / "theirs.onnx", nodes, {"w": np.float32(0.5)})
    x = pixels(900, 901)
    assert np.abs(denoise(x, model=path) - x / 2).max() < 1e-6


def test_without_models_in_the_box_the_message_says_what_to_do(monkeypatch, tmp_path):
    from pellucid.restore import zoo

    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    with pytest.raises(PellucidError, match="give --model"):
        denoise(pixels(5, 5))


def test_a_model_replaced_on_disk_is_opened_again(tmp_path):
    path = pointwise(tmp_path / "m.onnx", "Mul", 0.5)
    assert denoise(np.ones((2, 2)), model=path)[0, 0] == 0.5
    pointwise(path, "Add", -0.25, card={"halo": 0, "multiple_of": 1, "renewed": True})
    assert denoise(np.ones((2, 2)), model=path)[0, 0] == 0.75


def test_the_public_name_is_this_function():
    assert pellucid.denoise is denoise


PEAK = """
import sys, resource
from pathlib import Path
import numpy as np
from pellucid.restore.files import denoise_files
(result,) = denoise_files([sys.argv[1]], sys.argv[2], model=sys.argv[3])
assert result.error is None, result
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")))
"""


def peak_bytes(side: int, channels: int, folder, model) -> int:
    """Peak memory of a process that restores one picture, as TIFF."""
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc")
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, channels), dtype=np.uint8)
    write(folder / "large.tif", Picture(np.tile(tile, (side // 500, side // 500, 1))))
    command = [sys.executable, "-c", PEAK, folder / "large.tif", folder / "clean.tif", model]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return 1024 * int(done.stdout)


def test_a_picture_never_becomes_float_as_a_whole(models, tmp_path):
    side, channels = 5000, 3
    small = peak_bytes(500, channels, tmp_path, models["colour"])
    large = peak_bytes(side, channels, tmp_path, models["colour"])
    # In and out at one byte a sample, some working space, and no float copy (300 MB).
    assert large - small < 2 * side * side * channels + 150e6


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "name"), [(1, "grey"), (3, "colour")])
def test_a_hundred_megapixels_stay_under_one_and_a_half_gigabytes(models, tmp_path, channels, name):
    assert peak_bytes(10_000, channels, tmp_path, models[name]) < 1.5e9


def test_a_cold_start_is_quick(models):
    script = (
        "import time; began = time.perf_counter()\n"
        "import numpy as np, pellucid\n"
        f"pellucid.denoise(np.zeros((512, 512), np.uint8), model={str(models['grey'])!r})\n"
        "assert time.perf_counter() - began < 1.5, time.perf_counter() - began"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_function_is_no_model():
    with pytest.raises(OptionError, match="not function"):
        denoise(np.zeros((9, 9), np.uint8), model=lambda x: x)
