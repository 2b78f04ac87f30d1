"""Promises of restore/openvino.py: the same answers from another engine, where it is asked for."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from networks import box, helper, pointwise, save
from pellucid.errors import CheckpointError, MissingExtraError, OptionError
from pellucid.restore import openvino as engine
from pellucid.restore.denoise import denoise
from pellucid.restore.runtime import OnnxRunner, open_model

HALF_A_STEP = 0.5 / 255


@pytest.fixture(scope="module")
def vino():
    return pytest.importorskip("openvino")


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_without_the_package_its_extra_is_named(tmp_path, monkeypatch):
    engine._core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[openvino\]"):
        open_model(box(tmp_path / "a.onnx"), device="openvino")


def test_it_is_never_loaded_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert isinstance(open_model(box(tmp_path / "a.onnx"), device="auto"), OnnxRunner)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 7, 5), (3, 3, 33, 64)])
def test_in_float32_it_agrees_with_onnx_runtime(vino, tmp_path, shape):
    path = box(tmp_path / "soft.onnx", channels=3, radius=2, depth=2)
    runner = engine.OpenVinoRunner(path, threads=1, precision="f32")
    assert (runner.name, runner.channels, runner.halo, runner.device) == ("soft", 3, 4, "openvino")
    assert (runner.multiple_of, runner.image_size) == (1, None)
    x = images(*shape)
    assert np.abs(runner(x) - open_model(path, threads=1)(x)).max() < 1e-5 < HALF_A_STEP


def test_an_exported_network_gives_the_same_picture_at_any_size(vino, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from pellucid.learn.export import export
    from pellucid.learn.models import create

    torch.manual_seed(0)
    model = create("unet", channels=(4, 8), blocks=1, unshuffle=2)
    torch.nn.init.normal_(model.last.weight, std=0.05)
    path = tmp_path / "m.onnx"
    export(model, path, check=False)
    exact = engine.OpenVinoRunner(path, threads=1, precision="f32")
    quick = open_model(path, device="openvino", threads=1)
    assert isinstance(quick, engine.OpenVinoRunner)
    for shape in ((40, 53), (1, 2), (3, 70)):
        x = images(*shape)
        expected = denoise(x, model=path, threads=1)
        assert np.abs(expected - x).max() > 1e-3
        assert np.abs(denoise(x, model=exact) - expected).max() < 1e-5 < HALF_A_STEP
        # Eight bits of mantissa on a correction of a few tenths.
        assert np.abs(denoise(x, model=quick) - expected).mean() < HALF_A_STEP


@pytest.mark.parametrize(
    ("able", "slower", "chosen"),
    [
        (["FP32"], 2.0, "f32"),
        (["BF16"], 2.0, "bf16"),
        (["BF16"], 1.1, "f32"),
        (["BF16"], 0.5, "f32"),
    ],
)
def test_bfloat16_is_taken_where_it_is_clearly_quicker(monkeypatch, able, slower, chosen):
    class Core:
        def get_property(self, device, name):
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return able

    monkeypatch.setattr(engine, "_core", Core)
    monkeypatch.setattr(engine, "_seconds", {"bf16": 1.0, "f32": slower}.__getitem__)
    assert engine._quicker.__wrapped__() == chosen


def test_a_precision_is_timed_on_the_engine_itself(vino):
    taken = [engine._seconds(precision) for precision in ("f32", "bf16")]
    assert all(1e-6 < seconds < 5 for seconds in taken)


def test_pictures_side_by_side_do_not_disturb_each_other(vino, tmp_path):
    path = box(tmp_path / "a.onnx", radius=3, depth=3)
    runner = engine.OpenVinoRunner(path, threads=1, precision="f32")
    given = [images(1, 1, 40 + i, 50) for i in range(12)]
    alone = [runner(x) for x in given]
    together = threading.Barrier(4)

    def run(i):
        if i < 4:
            together.wait(timeout=20)
        return runner(given[i])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(12)))
    assert all(np.array_equal(one, other) for one, other in zip(alone, answers, strict=True))


def test_what_it_cannot_open_is_told_in_one_line(vino, tmp_path):
    identity = [helper.make_node("Identity", ["image"], ["restored"])]
    with pytest.raises(CheckpointError, match="input is") as error:
        open_model(save(tmp_path / "rank.onnx", identity, shape=(1, 10)), device="openvino")
    assert "\n" not in str(error.value)
    path = tmp_path / "a.onnx"
    path.write_bytes(box(tmp_path / "b.onnx").read_bytes()[:100])
    with pytest.raises(CheckpointError) as error:
        open_model(path, device="openvino")
    assert "\n" not in str(error.value)
    odd = helper.make_node("Nothing", ["image"], ["restored"], domain="nowhere")
    with pytest.raises(CheckpointError, match="OpenVINO cannot open") as error:
        open_model(save(tmp_path / "odd.onnx", [odd]), device="openvino")
    assert "\n" not in str(error.value)


def test_a_fixed_batch_and_size_are_met(vino, tmp_path):
    path = pointwise(tmp_path / "fixed.onnx", "Mul", 0.5, shape=(4, 1, 8, 8), card=None)
    runner = open_model(path, device="openvino")
    assert runner.image_size == (8, 8)
    x = images(6, 1, 8, 5)
    assert np.abs(runner(x) - x / 2).max() < 0.01


def test_only_exported_models_run_through_it(tmp_path):
    torch = pytest.importorskip("torch")
    from pellucid.learn import checkpoints
    from pellucid.learn.models import create

    torch.manual_seed(0)
    model = create("conv", channels=(4,))
    path = checkpoints.save(model, tmp_path / "model.safetensors")
    for given in (model, path, tmp_path):
        with pytest.raises(OptionError, match="pellucid export"):
            open_model(given, device="openvino")
