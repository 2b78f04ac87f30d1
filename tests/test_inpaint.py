"""Filling a picture's holes: only they change, whatever the file holds, and mistakes are told."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import Command
from pellucid import images
from pellucid.errors import OptionError
from pellucid.images import Picture
from pellucid.restore import zoo
from pellucid.restore.denoise import denoise
from pellucid.restore.inpaint import fill, inpaint, missing
from pellucid.restore.runtime import open_model

torch = pytest.importorskip("torch")
from pellucid.learn import checkpoints  # noqa: E402
from pellucid.learn.models import create  # noqa: E402


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def network(channels: int = 1):
    torch.manual_seed(0)
    model = create("inpaint", channels=(4, 6), blocks=1, image_channels=channels)
    torch.nn.init.normal_(model.last.weight, std=0.3)
    return model.eval()


def holes(height: int, width: int) -> np.ndarray:
    lost = np.random.default_rng(1).random((height, width)) < 0.2
    lost[height // 3 : height // 2, width // 4 : width // 2] = True
    return lost


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("taken", [1, 3])
def test_known_samples_stay_bit_for_bit(dtype: str, channels: int, taken: int) -> None:
    chance = np.random.default_rng(0)
    samples = chance.random((30, 41, channels))
    samples = (samples * (np.iinfo(dtype).max if dtype != "float32" else 1.5)).astype(dtype)
    lost = holes(30, 41)
    made = fill(Picture(samples), lost, open_model(network(taken))).samples
    assert made.dtype == samples.dtype
    np.testing.assert_array_equal(made[~lost], samples[~lost])
    assert (made[lost] != samples[lost]).mean() > 0.5


def test_what_the_holes_held_makes_no_difference() -> None:
    chance = np.random.default_rng(0)
    grey = np.repeat(chance.integers(0, 256, (24, 24, 1), dtype=np.uint8), 3, axis=2)
    lost = holes(24, 24)
    red = grey.copy()
    red[lost] = (255, 0, 0)
    made = [inpaint(Picture(samples), lost, model=network()) for samples in (grey, red)]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize(("low", "high"), [(-1000.0, 1200.0), (0.0, 65535.0), (300.0, 310.0)])
def test_floats_are_filled_in_their_own_unit(low: float, high: float) -> None:
    slope = np.linspace(low, high, 48, dtype=np.float32)
    samples = np.broadcast_to(slope[:, None, None], (48, 40, 1)).copy()
    lost = np.zeros((48, 40), bool)
    lost[20:26, 8:30] = True
    model = create("inpaint", channels=(4, 6), blocks=1).eval()  # its first guess, as it begins
    filled = fill(Picture(np.where(lost[..., None], 0, samples)), lost, open_model(model)).samples
    assert np.abs(filled - samples).max() < 0.1 * (high - low)
    np.testing.assert_array_equal(filled[~lost], samples[~lost])


def test_windows_leave_no_seam() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (150, 140, 1), dtype=np.uint8)
    lost = holes(150, 140)
    lost[:40] = False  # windows without holes are not looked at
    model = open_model(network())
    whole = fill(Picture(samples), lost, model).samples
    cut = fill(Picture(samples), lost, model, tile=48).samples
    assert np.abs(whole.astype(int) - cut).max() <= 1


def test_alpha_and_orientation_survive(tmp_path: Path, command: Command) -> None:
    chance = np.random.default_rng(0)
    samples = chance.integers(0, 256, (20, 31, 3), dtype=np.uint8)
    alpha = chance.integers(0, 256, (20, 31), dtype=np.uint8)
    images.write(tmp_path / "a.png", Picture(samples, alpha, orientation=6))
    lost = holes(31, 20)  # as it is viewed
    images.write(tmp_path / "mask.png", lost)
    file = checkpoints.save(network(3), tmp_path / "model.safetensors")
    said = command.done(
        "inpaint", tmp_path / "a.png", "--mask", tmp_path / "mask.png", "-o", tmp_path / "b.png",
        "--model", file,
    )  # fmt: skip
    assert f"{100 * lost.mean():.1f} % filled" in said
    before = images.read(tmp_path / "a.png").upright()
    after = images.read(tmp_path / "b.png").upright()
    np.testing.assert_array_equal(after.alpha, before.alpha)
    np.testing.assert_array_equal(after.samples[~lost], before.samples[~lost])


def test_an_exported_network_fills_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from pellucid.learn.export import export

    model = network()
    export(model, tmp_path / "holes.onnx")
    picture = np.random.default_rng(0).random((33, 26)).astype(np.float32)
    lost = holes(33, 26)
    found = inpaint(picture, lost, model=tmp_path / "holes.onnx")
    np.testing.assert_allclose(found, inpaint(picture, lost, model=model), atol=1e-4)


def test_neither_pages_nor_originals_are_lost(tmp_path: Path, command: Command) -> None:
    page = Picture(np.random.default_rng(0).integers(0, 256, (12, 12, 1), dtype=np.uint8))
    images.write(tmp_path / "pages.tif", [page, page])
    images.write(tmp_path / "a.png", page)
    images.write(tmp_path / "mask.png", holes(12, 12))
    before = [(tmp_path / name).read_bytes() for name in ("a.png", "mask.png")]
    model = checkpoints.save(network(), tmp_path / "m.safetensors")
    mask = ["--mask", tmp_path / "mask.png", "--model", model]
    command.refused(
        "inpaint", tmp_path / "pages.tif", *mask, "-o", tmp_path / "b.tif", says="has 2 pages"
    )
    for name in ("a.png", "mask.png"):
        command.refused(
            "inpaint", tmp_path / "a.png", *mask, "-o", tmp_path / name, says="be overwritten"
        )
    assert [(tmp_path / name).read_bytes() for name in ("a.png", "mask.png")] == before
    assert not (tmp_path / "b.tif").exists()


def test_a_mask_is_white_in_any_channel() -> None:
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, 1, 2] = 1
    assert missing(mask).tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize("name", ["mask.jpg", "mask.webp", "mask.png"])
def test_what_a_format_does_to_black_is_no_hole(name: str, tmp_path: Path) -> None:
    wanted = np.zeros((60, 80), bool)
    wanted[10:40, 20:50] = True
    Image.fromarray((wanted * 255).astype(np.uint8)).save(tmp_path / name, quality=75)
    found = missing(tmp_path / name)
    assert found[wanted].all()
    assert (found != wanted).mean() < 0.02


def test_a_mask_that_is_hardly_meant_so_is_told(tmp_path: Path, command: Command) -> None:
    model = tmp_path / "m.safetensors"
    checkpoints.save(network(), model)
    grey = np.random.default_rng(0).integers(1, 255, (24, 24), np.uint8)
    images.write(tmp_path / "a.png", grey)
    white = np.zeros((24, 24), np.uint8)
    white[4:6, 4:9] = 255
    soft = white.copy()
    soft[10:14] = 3
    for name, mask, says in (
        ("black", white * 0, "all black, so nothing is missing"),
        ("soft", soft, "grey in places, and all that is not black is filled"),
        ("white", white, ""),
    ):
        images.write(tmp_path / f"{name}.png", mask)
        done = command(
            *("inpaint", tmp_path / "a.png", "--mask", tmp_path / f"{name}.png"),
            *("-o", tmp_path / f"{name}-out.png", "--model", model),
        )
        assert done.code == 0
        assert says in done.err if says else done.err == ""


def test_a_hole_that_is_too_deep_to_see_across_is_told() -> None:
    model = open_model(network())
    side = 2 * model.halo + 40
    lost = np.zeros((side, side), bool)
    lost[5:-5, 5:-5] = True
    with pytest.warns(UserWarning, match="only a smooth surface"):
        fill(Picture(np.zeros((side, side, 1), np.uint8)), lost, model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lost[:] = False
        lost[5:11, 5:-5] = True
        fill(Picture(np.zeros((side, side, 1), np.uint8)), lost, model)


def test_an_export_is_compared_where_there_are_holes(tmp_path: Path) -> None:
    exporter = pytest.importorskip("pellucid.learn.export")
    model, other = network(), network()
    torch.nn.init.normal_(other.last.weight, std=1.0)
    path = exporter.export(model, tmp_path / "m.onnx").path
    runner = open_model(path)

    def program(images: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.from_numpy(runner(images.numpy())),)

    assert exporter._difference(model, program)[0] < 1e-4
    assert exporter._difference(other, program)[0] > 0.01


def test_mistakes_are_told_in_one_line(tmp_path: Path, command: Command) -> None:
    picture = Picture(np.zeros((8, 9, 1), np.uint8))
    with pytest.raises(OptionError, match="the mask is 8x8 but the picture is 9x8"):
        fill(picture, np.ones((8, 8), bool), open_model(network()))
    with pytest.raises(OptionError, match="white everywhere"):
        fill(picture, np.ones((8, 9), bool), open_model(network()))
    other = open_model(create("conv", channels=(4,)).eval())
    with pytest.raises(OptionError, match="fills no holes"):
        fill(picture, holes(8, 9), other)
    with pytest.raises(OptionError, match="use 'pellucid inpaint"):
        denoise(np.zeros((8, 9), np.uint8), model=network())
    images.write(tmp_path / "a.png", picture)
    if zoo.INPAINT not in zoo.names():
        command.refused(
            "inpaint", tmp_path / "a.png", "--mask", tmp_path / "a.png", "-o", tmp_path / "b.png",
            says="train inpaint",
        )  # fmt: skip
    command.refused(
        "inpaint", tmp_path / "a.png", "--mask", tmp_path / "none.png", "-o", tmp_path / "b.png",
        "--model", checkpoints.save(network(), tmp_path / "m.safetensors"), says="none.png",
    )  # fmt: skip
    assert not (tmp_path / "b.png").exists()
