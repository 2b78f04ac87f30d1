"""Promises of learn/codec_file.py: graphs like torch, whole numbers like the prior, one file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commands import Command
from pellucid.errors import CheckpointError, OptionError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from pellucid.learn import checkpoints, codec_file  # noqa: E402
from pellucid.learn.codec_file import write  # noqa: E402
from pellucid.learn.export import export  # noqa: E402
from pellucid.learn.models import create  # noqa: E402
from pellucid.learn.models.codec import Codec  # noqa: E402
from pellucid.learn.models.hyperprior import HyperpriorCodec  # noqa: E402
from pellucid.learn.rounding import session  # noqa: E402
from pellucid.restore import codec_arrays  # noqa: E402
from pellucid.restore.codec import Codec as OpenCodec  # noqa: E402
from pellucid.restore.exact import Prior  # noqa: E402

OPTIONS: dict[str, Any] = {
    "channels": (8, 12, 16),
    "latents": 12,
    "lambdas": (0.002, 0.01, 0.05),
    "image_channels": 3,
}
KINDS: dict[str, dict[str, Any]] = {"hyperprior": {"hyper_latents": 6}, "factorized": {}}


def lively(kind: str) -> Codec:
    """A model whose every weight says something, as those of a trained one do."""
    torch.manual_seed(0)
    model = create(kind, **OPTIONS, **KINDS[kind])
    assert isinstance(model, Codec)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights += (0.2 if "gains" in name else 0.03) * torch.randn_like(weights)
    model.metadata = {"licence": "CC0", "scores": {"psnr": 30.0}}
    return model


@pytest.fixture(scope="module", params=list(KINDS))
def written(request: Any, tmp_path_factory: Any) -> tuple[Codec, Path, dict[str, np.ndarray]]:
    """A model, its file, and what is in it."""
    model = lively(request.param).train()
    path = tmp_path_factory.mktemp("codec") / "small.codec.npz"
    said = write(model, path, metadata={"data": "drawn"})
    assert said.difference < 1e-5
    assert said.size_bytes == path.stat().st_size
    assert str(path) in str(said)
    assert model.training
    assert [entry.name for entry in path.parent.iterdir()] == ["small.codec.npz"]
    with np.load(path, allow_pickle=False) as arrays:
        return model.eval(), path, dict(arrays)


def opened(arrays: dict[str, np.ndarray], role: str) -> Any:
    graph = onnx.load_from_string(arrays[role].tobytes())
    onnx.checker.check_model(graph, full_check=True)
    return session(graph)


def test_the_card_says_what_a_reader_needs(written: Any) -> None:
    model, _, arrays = written
    card = json.loads(arrays["card"].tobytes())
    hyper = model.kind == "hyperprior"
    wanted = {
        "name": "small",
        "model": model.kind,
        "qualities": 3,
        "latents": 12,
        "hyper_latents": 6 if hyper else 0,
        "multiple_of": 64 if hyper else 16,
        "image_channels": 3,
        "licence": "CC0",
        "scores": {"psnr": 30.0},
        "data": "drawn",
    }
    assert {key: card[key] for key in wanted} == wanted
    for side in ("encoder_halo", "decoder_halo"):
        assert card[side] > 0
        assert card[side] % card["multiple_of"] == 0


def test_dtypes_and_shapes_are_those_agreed_on(written: Any) -> None:
    model, _, arrays = written
    hyper = model.kind == "hyperprior"
    count = 6 if hyper else 12
    wide = arrays["z_freq"].shape[-1]
    wanted = {
        "card": ("uint8", arrays["card"].shape),
        "encoder": ("uint8", arrays["encoder"].shape),
        "decoder": ("uint8", arrays["decoder"].shape),
        "z_freq": ("uint16", (3, count, wide)),
        "z_offset": ("int32", (3, count)),
        "z_size": ("int32", (3, count)),
    }
    if hyper:
        wanted |= {
            "y_freq": ("uint16", (64, arrays["y_freq"].shape[-1])),
            "y_offset": ("int32", (64,)),
            "y_size": ("int32", (64,)),
            "z_scale": ("int32", (3, 6)),
            "y_out": ("int32", (3, 12)),
            "y_back": ("int32", (3, 12)),
        }
        layers = {"prior_0": (48, 6), "prior_1": (48, 12)}
        for stage, (known, told) in enumerate(((0, 1), (1, 2), (3, 2), (5, 3), (8, 4))):
            layers[f"stage_{stage}_first"] = (12, 12 + known)
            layers[f"stage_{stage}_last"] = (2 * told, 12)
        for name, (outputs, inputs) in layers.items():
            wanted |= {
                f"{name}_weight": ("int32", (outputs, inputs, 3, 3)),
                f"{name}_bias": ("int64", (3, outputs)),
                f"{name}_shuffle": ("int32", ()),
            }
            assert int(arrays[f"{name}_shuffle"]) == (2 if name.startswith("prior") else 1)
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == wanted


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("quality", [0, 2])
def test_the_graphs_are_torch_at_every_size_and_quality(
    written: Any, size: tuple[int, int], quality: int
) -> None:
    model, _, arrays = written
    at = np.array([quality])
    image = np.random.default_rng(0).random(
        (1, 3, *(side * model.multiple_of for side in size)), np.float32
    )
    made = opened(arrays, "encoder").run(None, {"image": image, "quality": at})
    with torch.no_grad():
        latents = model.latents_of(torch.from_numpy(image))
        wanted = [model.gains(latents, torch.from_numpy(at))]
        if isinstance(model, HyperpriorCodec):
            wanted.append(model.hyper_of(latents, torch.from_numpy(at)))
    for one, other in zip(made, wanted, strict=True):
        largest = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(torch.from_numpy(one), other, atol=2e-5 * largest, rtol=1e-4)
    y = np.random.default_rng(1).normal(0, 0.5 if quality == 0 else 4, (1, 12, *size))
    y = y.round().astype(np.float32)
    (image,) = opened(arrays, "decoder").run(["image"], {"y": y, "quality": at})
    with torch.no_grad():
        wanted = model.image_of(torch.from_numpy(y), torch.from_numpy(at))
    assert image.shape == (1, 3, 16 * size[0], 16 * size[1])
    # Such codes are pictures far beyond white.
    largest = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(torch.from_numpy(image), wanted, atol=2e-5 * largest, rtol=1e-4)


def read_prior(model: HyperpriorCodec) -> Prior:
    """The prior as a reader finds it in a file."""
    return codec_arrays._prior(codec_file._prior(model), (2, len(model.stages)), 3, 6, 12)


@pytest.mark.parametrize("quality", [0, 1, 2])
def test_the_whole_number_prior_is_the_trained_one_but_for_rounding(quality: int) -> None:
    model = lively("hyperprior")
    assert isinstance(model, HyperpriorCodec)
    chance = np.random.default_rng(quality)
    z = chance.normal(0, 3, (6, 3, 4)).round().astype(np.int32)
    latents = chance.normal(0, 3, (12, 12, 16)).astype(np.float32)
    with torch.no_grad():
        given = torch.from_numpy(z).float()[None], torch.from_numpy(latents)[None]
        wanted, spread, code = (a[0].numpy() for a in model.walk(*given, torch.tensor([quality])))
    symbols = (code - wanted).round().astype(np.int32)
    _, mean, index = read_prior(model).walk(z, (12, 16), quality, lambda part, *_: symbols[part])
    out = codec_file._prior(model)["y_out"][quality][:, None, None] / 256
    assert float((wanted / out).std()) > 0.02
    assert np.abs((mean / 256 - wanted) / out).max() < 0.02
    away = np.abs(index - spread)
    assert away.max() < 0.5 + 0.3
    assert np.abs(away).mean() < 0.3


def test_what_leaves_the_prior_s_range_is_held_alike() -> None:
    model = lively("hyperprior")
    assert isinstance(model, HyperpriorCodec)
    with torch.no_grad():
        model.prior[0].bias += 200.0
    z, latents = torch.zeros(1, 6, 2, 2), 900 * torch.ones(1, 12, 8, 8)
    with torch.no_grad():
        wanted, spread, code = (a[0].numpy() for a in model.walk(z, latents, torch.tensor([1])))
    symbols = (code - wanted).round().astype(np.int32)
    whole = z[0].numpy().astype(np.int32)
    _, mean, index = read_prior(model).walk(whole, (8, 8), 1, lambda part, *_: symbols[part])
    largest = max(1.0, float(np.abs(wanted).max()))
    assert np.abs(mean / 256 - wanted).max() < 0.03 * largest
    assert np.abs(index - spread).max() < 0.5 + 0.03 * 64


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(written: Any, tmp_path: Path) -> None:
    model, path, _ = written
    again = write(model, tmp_path / "again.codec.npz", name="small", metadata={"data": "drawn"})
    assert again.path.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("written", ["factorized"], indirect=True)
def test_a_saved_model_of_halves_makes_smaller_graphs(written: Any, tmp_path: Path) -> None:
    model, _, long = written
    checkpoints.save(model, tmp_path / "m.safetensors", halves=True)
    said = write(tmp_path / "m.safetensors", tmp_path / "short.codec.npz")
    with np.load(said.path, allow_pickle=False) as short:
        assert json.loads(short["card"].tobytes())["licence"] == "CC0"
        for role in ("encoder", "decoder"):
            sizes = [
                sum(
                    len(weight.raw_data)
                    for weight in onnx.load_from_string(arrays[role].tobytes()).graph.initializer
                    if weight.dims[:2] not in ([12, 768], [768, 12])  # the cosines stay as they are
                )
                for arrays in (short, long)
            ]
            assert sizes[0] < 0.65 * sizes[1]


def test_the_graphs_tell_nothing_of_the_machine_that_made_them(written: Any) -> None:
    _, _, arrays = written
    for role in ("encoder", "decoder"):
        content = arrays[role].tobytes()
        assert b".py" not in content
        assert b"site-packages" not in content


@pytest.mark.parametrize("value", [float("nan"), 1e7])
def test_a_prior_that_whole_numbers_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    model = lively("hyperprior")
    assert isinstance(model, HyperpriorCodec)
    with torch.no_grad():
        model.prior[1].convolution.weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match="cannot hold"):
        codec_file._prior(model)


def test_graphs_unlike_torch_leave_no_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(codec_file, "_program", lambda *_: None)
    for wrong in (0.5, float("nan")):
        monkeypatch.setattr(codec_file, "_difference", lambda *_, wrong=wrong: wrong)
        with pytest.raises(CheckpointError, match="encoder differs from torch by"):
            write(lively("factorized"), tmp_path / "m.codec.npz")
    assert not list(tmp_path.iterdir())


def test_what_is_no_codec_and_what_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'conv' is no codec"):
        write(create("conv", channels=(4,)), tmp_path / "m.codec.npz")
    with pytest.raises(OptionError, match=r"does not end in .codec.npz"):
        write(lively("factorized"), tmp_path / "m.npz")
    with pytest.raises(CheckpointError, match="no model file"):
        write(tmp_path / "absent.safetensors", tmp_path / "m.codec.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", list(KINDS))
def test_one_graph_of_a_codec_is_declined_with_the_way_to_go(kind: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"name the file \.codec\.npz"):
        export(lively(kind), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_holds_no_pickle(written: Any) -> None:
    _, path, _ = written
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_the_command_writes_what_compress_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, out = Command(monkeypatch, capsys), tmp_path / "mine.codec.npz"
    checkpoints.save(lively("hyperprior"), tmp_path / "m.safetensors")
    given = ("export", tmp_path / "m.safetensors", "-o", out)
    command.refused(*given, "--int8", says="not written in 8 bits")
    assert "differs from torch by at most" in command.done(*given)
    assert (opened := OpenCodec.open(out)).name == "mine"
    assert opened.qualities == 3
