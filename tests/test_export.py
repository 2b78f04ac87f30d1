"""Promises of learn/export.py: the same numbers without torch, at any size, in one file."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from pellucid.errors import CheckpointError, MissingExtraError, OptionError  # noqa: E402
from pellucid.learn import checkpoints  # noqa: E402
from pellucid.learn import export as exporter  # noqa: E402
from pellucid.learn.export import export  # noqa: E402
from pellucid.learn.models import MODELS, create  # noqa: E402
from pellucid.restore import zoo  # noqa: E402
from pellucid.restore.denoise import denoise  # noqa: E402
from pellucid.restore.runtime import open_model  # noqa: E402

# Each operator that a level can be made of, once; small, because tracing is what takes the time.
CASES = {
    "unpool": ("conv", {"channels": (4, 8), "down": "max", "up": "unpool", "norm": "batch"}),
    "transpose": ("conv", {"channels": (4,), "down": "stride", "up": "transpose"}),
    "bilinear": ("conv", {"channels": (4,), "down": "avg", "up": "bilinear", "activation": "gelu"}),
    "group": ("conv", {"channels": (8,), "up": "nearest", "norm": "group", "activation": "silu"}),
    "dense": ("conv", {"channels": (4,), "code_size": 6, "image_size": (14, 19)}),
    "direct": ("conv", {"channels": (4,), "up": "transpose_upsample", "head": "direct"}),
    "unshuffle": ("unet", {"channels": (4, 8), "blocks": 1, "unshuffle": 2, "image_channels": 3}),
    "concat": ("unet", {"channels": (4, 8), "blocks": 1, "skip": "concat", "up": "bilinear"}),
}
QUICK = ("unpool", "dense", "unshuffle")
SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in CASES if case not in QUICK]


def made(case: str):
    torch.manual_seed(0)
    kind, options = CASES[case]
    return create(kind, **options)


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A model, its exported file and what the exporter said."""
    torch.manual_seed(0)
    model = create("unet", channels=(4, 8), blocks=1, unshuffle=2)
    model.metadata = {"licence": "CC0", "scores": {"psnr": 30.0}}
    model.train()
    path = tmp_path_factory.mktemp("unet") / "model.onnx"
    return model, path, export(model, path)


@pytest.mark.parametrize("case", [*QUICK, *SLOW])
def test_exported_equals_torch_at_even_odd_and_tiny_sizes(case, tmp_path):
    model = made(case)
    said = export(model, tmp_path / "m.onnx")
    assert said.difference < 1e-5
    assert said.size_bytes == (tmp_path / "m.onnx").stat().st_size
    runner = open_model(tmp_path / "m.onnx")
    assert (runner.channels, runner.multiple_of) == (model.image_channels, model.multiple_of)
    assert (runner.halo, runner.image_size) == (model.halo, model.image_size)
    sizes = [model.image_size] if model.image_size else [(16, 24), (17, 9), (1, 1), (2, 61)]
    for batch, (height, width) in enumerate(sizes, start=1):
        x = torch.rand(batch, model.image_channels, height, width)
        with torch.no_grad():
            expected = model.eval()(x).numpy()
        assert np.abs(runner(x.numpy()) - expected).max() < 1e-5


def test_every_model_in_the_table_is_exported_by_some_case():
    assert {kind for kind, _ in CASES.values()} >= set(MODELS) & {"conv", "unet"}


def test_sizes_are_named_and_free(unet):
    _, path, _ = unet
    graph = onnx.load(str(path)).graph
    for port, name in ((graph.input[0], "image"), (graph.output[0], "restored")):
        sides = [side.dim_param or side.dim_value for side in port.type.tensor_type.shape.dim]
        assert (port.name, sides) == (name, ["batch", 1, "height", "width"])


def test_the_file_is_whole_valid_and_carries_the_card(unet):
    model, path, _ = unet
    onnx.checker.check_model(str(path), full_check=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]
    card = zoo.card(path)
    assert card["model"] == "unet"
    assert card["licence"] == "CC0"
    assert card["scores"] == {"psnr": 30.0}
    assert card["options"] == json.loads(json.dumps(model.options))
    assert card["halo"] == model.halo


def test_the_file_tells_nothing_of_the_machine_that_made_it(unet):
    _, path, _ = unet
    content = path.read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


def test_weights_that_fit_into_16_bits_take_16_bits_and_give_the_same(tmp_path):
    torch.manual_seed(0)
    model = create("unet", channels=(16, 32), blocks=1)
    checkpoints.save(model, tmp_path / "m.safetensors", halves=True)
    model = checkpoints.load(tmp_path / "m.safetensors")
    short = export(model, tmp_path / "short.onnx")
    long = export(model, tmp_path / "long.onnx", halves=False)
    assert short.size_bytes < 0.6 * long.size_bytes
    onnx.checker.check_model(str(short.path), full_check=True)
    x = np.random.default_rng(0).random((2, 1, 21, 34), np.float32)
    one, other = (open_model(said.path)(x) for said in (short, long))
    assert np.array_equal(one, other)
    # A weight that 16 bits would change, be it by overflow, stays as it is.
    with torch.no_grad():
        model.first.weight[0, 0, 0, 0] = 1e6
        model.middle[0].layers[0].weight[0, 0, 0, 0] = 1 + 2**-20
    kept = export(model, tmp_path / "kept.onnx")
    assert kept.size_bytes > short.size_bytes
    assert kept.difference < 1e-4


def test_the_model_is_left_as_it_was(unet):
    model, _, _ = unet
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_checkpoint_is_exported_with_its_card_and_without_a_word(tmp_path, capfd):
    path = checkpoints.save(made("transpose"), tmp_path / "m.safetensors", licence="CC0")
    said = export(path, tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")
    assert zoo.card(said.path) == zoo.card(path)
    assert "differs from torch by at most" in str(said)


def test_the_answer_is_the_same_through_torch_and_onnx(unet):
    model, path, _ = unet
    x = np.random.default_rng(0).random((150, 170, 3), dtype=np.float32)
    assert np.abs(denoise(x, model=path, tile=64) - denoise(x, model=model)).max() < 1e-5


@pytest.mark.parametrize("difference", [1e-3, float("nan")])
def test_a_network_that_differs_is_not_written(tmp_path, monkeypatch, difference):
    monkeypatch.setattr(exporter, "_program", lambda network: SimpleNamespace(model=None))
    monkeypatch.setattr(exporter, "_tidy", lambda model, network: None)
    monkeypatch.setattr(exporter, "_difference", lambda network, program: (difference, ()))
    with pytest.raises(CheckpointError, match="differs from torch"):
        export(made("transpose"), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"\.onnx"):
        export(made("transpose"), tmp_path / "m.pt")


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[onnx\]"):
        export(made("transpose"), tmp_path / "m.onnx")
