"""Promises of restore/runtime.py: a model file becomes a function, or one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from networks import box, helper, pointwise, save
from pellucid.errors import CheckpointError, MissingExtraError, OptionError
from pellucid.restore import runtime
from pellucid.restore.runtime import OnnxRunner, TorchRunner, open_model


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_a_runner_says_what_its_card_says(tmp_path):
    runner = open_model(box(tmp_path / "soft.onnx", channels=3, radius=2, depth=2))
    assert (runner.name, runner.channels, runner.halo) == ("soft", 3, 4)
    assert (runner.multiple_of, runner.image_size, runner.device) == (1, None, "cpu")
    assert runner.metadata["model"] == "box"


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 7, 5), (3, 1, 33, 64)])
def test_any_batch_and_size_runs(tmp_path, shape):
    runner = open_model(pointwise(tmp_path / "half.onnx", "Mul", 0.5))
    x = images(*shape)
    assert np.allclose(runner(x), x / 2)


def test_windows_need_not_be_contiguous(tmp_path):
    runner = open_model(pointwise(tmp_path / "half.onnx", "Mul", 0.5))
    x = images(2, 9, 8, 1).transpose(0, 3, 1, 2)[:, :, ::2]
    assert np.allclose(runner(x), x / 2)


def test_somebody_elses_network_is_padded_to_what_it_may_need(tmp_path):
    nodes = [
        helper.make_node("SpaceToDepth", ["image"], ["folded"], blocksize=16),
        helper.make_node("DepthToSpace", ["folded"], ["restored"], blocksize=16),
    ]
    runner = open_model(save(tmp_path / "theirs.onnx", nodes))
    x = images(1, 1, 19, 37)
    assert runner.metadata == {}
    assert runner.halo is None
    assert np.array_equal(runner(x), x)


def test_a_fixed_batch_and_size_are_met(tmp_path):
    path = pointwise(tmp_path / "fixed.onnx", "Mul", 0.5, shape=(4, 1, 8, 8), card=None)
    runner = open_model(path)
    assert runner.image_size == (8, 8)
    x = images(6, 1, 8, 8)
    assert np.allclose(runner(x), x / 2)
    assert np.allclose(runner(x[:, :, :5, :7]), x[:, :, :5, :7] / 2)


def test_a_runner_is_given_back_as_it_is(tmp_path):
    runner = open_model(box(tmp_path / "a.onnx"))
    assert open_model(runner) is runner


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_model(path)
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "a.onnx"
    assert "no model file" in refused(path)
    path.write_bytes(b"")
    refused(path)
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    refused(path)
    whole = box(tmp_path / "b.onnx").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"anything")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "model.safetensors is beside it" in refused(path)


def test_networks_that_do_not_restore_images_are_refused(tmp_path):
    same = [helper.make_node("Identity", ["image"], ["restored"])]
    assert "input is" in refused(save(tmp_path / "rank.onnx", same, shape=(1, 10)))
    assert "input is" in refused(save(tmp_path / "wide.onnx", same, channels=4))
    double = save(
        tmp_path / "double.onnx", same, kind=helper.np_dtype_to_tensor_dtype(np.dtype("f8"))
    )
    assert "double" in refused(double)
    half = save(tmp_path / "mixed.onnx", same, shape=("b", 1, 8, "w"))
    assert "both free" in refused(half)


def test_a_network_that_changes_the_shape_is_refused_when_it_does(tmp_path):
    nodes = [helper.make_node("Transpose", ["image"], ["restored"], perm=[0, 1, 3, 2])]
    runner = open_model(save(tmp_path / "turn.onnx", nodes, card={"multiple_of": 1, "halo": 0}))
    with pytest.raises(CheckpointError, match="keeps the shape"):
        runner(images(1, 1, 4, 6))


def test_a_damaged_card_is_refused(tmp_path):
    assert "card" in refused(box_with_card(tmp_path, {"multiple_of": "x"}))
    assert "card" in refused(box_with_card(tmp_path, {"multiple_of": 0}))
    assert "card" in refused(box_with_card(tmp_path, {"multiple_of": 1, "halo": -3}))


def box_with_card(folder: Path, card: dict) -> Path:
    return pointwise(folder / "card.onnx", "Mul", 1.0, card=card)


def test_errors_of_the_runtime_stay_off_the_terminal(tmp_path, capfd):
    nodes = [
        helper.make_node("SpaceToDepth", ["image"], ["folded"], blocksize=16),
        helper.make_node("DepthToSpace", ["folded"], ["restored"], blocksize=16),
    ]
    card = {"multiple_of": 1, "halo": 0}
    runner = open_model(save(tmp_path / "odd.onnx", nodes, card=card))
    with pytest.raises(CheckpointError, match="cannot restore images of 5x7"):
        runner(images(1, 1, 5, 7))
    assert capfd.readouterr() == ("", "")


def test_options_out_of_range_are_refused(tmp_path):
    path = box(tmp_path / "a.onnx")
    with pytest.raises(OptionError, match="did you mean 'cuda'"):
        open_model(path, device="cudo")
    with pytest.raises(OptionError, match="threads is 0"):
        open_model(path, threads=0)
    if "CUDAExecutionProvider" not in __import__("onnxruntime").get_available_providers():
        with pytest.raises(OptionError, match="can use: cpu"):
            open_model(path, device="cuda")


def test_a_checkpoint_runs_through_torch_with_the_same_answer(tmp_path):
    torch = pytest.importorskip("torch")
    from pellucid.learn import checkpoints
    from pellucid.learn.models import create

    torch.manual_seed(0)
    model = create("conv", channels=(4, 8)).eval()
    path = checkpoints.save(model, tmp_path / "model.safetensors")
    x = images(2, 1, 13, 22)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    for source in (path, tmp_path, model):
        runner = open_model(source, device="cpu")
        assert isinstance(runner, TorchRunner)
        assert (runner.channels, runner.multiple_of) == (1, 4)
        assert runner.halo == model.halo
        assert np.abs(runner(x) - expected).max() < 1e-6
    assert open_model(tmp_path).name == tmp_path.name


def test_a_checkpoint_without_torch_names_the_extra(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from pellucid.learn import checkpoints
    from pellucid.learn.models import create

    path = checkpoints.save(create("conv", channels=(4,)), tmp_path / "m.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[train\]"):
        open_model(path)


def test_threads_are_what_the_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    there = runtime.available_threads()
    assert there >= 1
    # A busy machine, or a test run side by side with others, asks for fewer.
    for asked, given in (("1", 1), ("100000", there), ("0", 1), ("", there), ("x", there)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert runtime.available_threads() == given


def test_an_onnx_model_never_imports_torch(tmp_path):
    path = box(tmp_path / "a.onnx")
    script = (
        "import sys, numpy as np, pellucid\n"
        f"pellucid.denoise(np.zeros((8, 9), np.uint8), model={str(path)!r})\n"
        "heavy = {'torch', 'lightning', 'matplotlib', 'onnx', 'scipy', 'skimage'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_onnx_runner_can_be_made_by_hand(tmp_path):
    assert OnnxRunner(box(tmp_path / "a.onnx"), threads=1).channels == 1
