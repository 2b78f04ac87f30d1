"""Promises of learn/quantise.py: int8 inside, close to float, the same card, or a clear refusal."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from commands import Command  # noqa: E402
from pellucid.errors import CheckpointError, DataError, OptionError  # noqa: E402
from pellucid.learn import checkpoints  # noqa: E402
from pellucid.learn import quantise as quantiser  # noqa: E402
from pellucid.learn.damage import parse  # noqa: E402
from pellucid.learn.datasets import Dataset  # noqa: E402
from pellucid.learn.export import export  # noqa: E402
from pellucid.learn.models import create  # noqa: E402
from pellucid.learn.pictures import Pictures  # noqa: E402
from pellucid.learn.quantise import quantise  # noqa: E402
from pellucid.learn.rounding import Rounding, best_range  # noqa: E402
from pellucid.restore import zoo  # noqa: E402
from pellucid.restore.denoise import denoise  # noqa: E402
from pellucid.restore.runtime import open_model  # noqa: E402

RECIPE = {
    "damage": {"with": "gaussian:0..30/255", "clip": False},
    "data": {"name": "digits", "channels": None, "size": None, "limit": None},
}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Fewer crops than people need, and smaller."""
    monkeypatch.setattr(quantiser, "CROPS", 12)
    monkeypatch.setattr(quantiser, "HELD", 6)
    monkeypatch.setattr(quantiser, "SIDE", 32)


def network(**options):
    torch.manual_seed(0)
    design = {"channels": (8, 16), "blocks": 1, "unshuffle": 2, "loss": "mse", **options}
    model = create("unet", **design)
    for name, weight in model.named_parameters():
        if weight.ndim == 4:
            torch.nn.init.normal_(weight, std=0.01 if name == "last.weight" else 0.1)
    model.metadata = {"recipe": RECIPE, "licence": "CC0", "scores": {"psnr": 30.0}}
    return model


def pictures(count, channels=1):
    y, x = np.mgrid[0:40, 0:52]
    waves = (127 + 100 * np.sin(x / (3 + i)) * np.cos(y / (4 + i)) for i in range(count))
    return Pictures.from_arrays(
        [np.stack([wave.astype(np.uint8)] * channels, -1) for wave in waves]
    )


DATA = Dataset("waves", pictures(5), pictures(2), pictures(1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, its int8 file and what was said of it."""
    model = network()
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CROPS", 12), ("HELD", 6), ("SIDE", 32)):
            patch.setattr(quantiser, name, value)
        keep = path.with_name("float.onnx")
        patch.setattr(
            quantiser, "export", lambda *g, **how: shutil.copy(export(*g, **how).path, keep)
        )
        return model, path, quantise(model, path, data=DATA)


def weights_of(path):
    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def test_it_restores_nearly_as_the_float_model_at_any_size(made):
    model, path, _ = made
    runner = open_model(path)
    assert (runner.channels, runner.multiple_of, runner.halo) == (1, 4, model.halo)
    for batch, height, width in ((1, 32, 24), (2, 33, 47), (3, 1, 1)):
        x = torch.rand(batch, 1, height, width)
        with torch.no_grad():
            expected = model.eval()(x).numpy()
        changed = np.abs(expected - x.numpy()).mean()
        assert np.abs(runner(x.numpy()) - expected).mean() < 0.05 * changed


def test_inner_convolutions_are_int8_and_the_ends_float(made):
    _, path, _ = made
    weights = weights_of(path)
    in_float = zoo.card(path)["int8"]["float"]
    last_block = [f"decoder.0.0.layers.{index}.weight" for index in (0, 2)]
    assert in_float == ["first.weight", *last_block, "last.weight"]
    assert all(weights[name].dtype == np.float32 for name in in_float)
    inner = {name: value for name, value in weights.items() if value.dtype == np.int8}
    rounded = {name for name in inner if name.endswith("weight_quantized")}
    assert len(rounded) == 5
    # A scale for every channel: each uses the whole of its range.
    for name in rounded:
        assert (np.abs(inner[name].astype(int)).max(axis=(1, 2, 3)) == 127).all()
    kinds = {value.dtype for name, value in weights.items() if name.endswith("zero_point")}
    assert kinds == {np.dtype(np.uint8), np.dtype(np.int8)}


def test_sums_read_their_inputs_whole(made):
    _, path, _ = made
    graph = onnx.load(path).graph
    assert not [node for node in graph.node if node.op_type == "Identity"]
    adds = [node for node in graph.node if node.op_type == "Add"]
    # Of what is summed, only what an int8 convolution has just given comes rounded.
    rounded = [name for node in adds for name in node.input if "DequantizeLinear" in name]
    assert len(rounded) == len(set(rounded)) == 3


def test_the_card_is_kept_and_says_the_loss(made):
    _, path, said = made
    card = zoo.card(path)
    assert (card["model"], card["licence"], card["recipe"]) == ("unet", "CC0", RECIPE)
    assert card["scores"] == {"psnr": 30.0}
    assert card["int8"]["loss_db"] == said.loss_db
    assert card["int8"]["data"] == "waves"
    # The recipe's own damage, and the levels of tables that lie within.
    levels = [f"gaussian:{sigma}/255" for sigma in (2, 5, 15, 25)]
    assert list(said.loss_db) == ["gaussian:0..30/255", *levels]
    assert max(said.loss_db.values()) < 0.1
    assert "dB at gaussian:5/255" in str(said)


def test_the_file_is_valid_and_tells_nothing_of_the_machine(made):
    _, path, said = made
    onnx.checker.check_model(str(path), full_check=True)
    assert said.size_bytes == path.stat().st_size
    model = onnx.load(path)
    assert model.producer_name == "pellucid"
    assert [entry.key for entry in model.metadata_props] == ["pellucid"]
    assert b"site-packages" not in path.read_bytes()
    sides = [
        side.dim_param or side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert sides == ["batch", 1, "height", "width"]


def test_denoise_takes_it_as_any_model_in_tiles_too(made):
    model, path, _ = made
    x = np.random.default_rng(0).random((90, 110, 1), dtype=np.float32)
    assert np.abs(denoise(x, model=path, tile=32) - denoise(x, model=model)).mean() < 2e-3


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    _, path, _ = made
    quantise(network(), tmp_path / "again.onnx", data=DATA)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"bias": True, "norm": "batch", "image_channels": 3},
        {"skip": "concat", "up": "bilinear", "down": "avg", "activation": "gelu"},
        {"norm": "group", "unshuffle": 1, "down": "max", "activation": "leaky_relu"},
    ],
    ids=["bias", "concat", "group"],
)
def test_other_forms_of_the_network_work_too(options, tmp_path):
    channels = options.get("image_channels", 1)
    data = Dataset("waves", *(pictures(count, channels) for count in (5, 2, 1)))
    said = quantise(network(**options), tmp_path / "m.onnx", data=data)
    assert max(said.loss_db.values()) < 0.3
    assert any(value.dtype == np.int8 for value in weights_of(said.path).values())


def test_the_command_writes_it_with_the_models_own_data(tmp_path, monkeypatch, capsys):
    run = Command(monkeypatch, capsys)
    model = checkpoints.save(network(), tmp_path / "m.safetensors")
    said = run("export", model, "-o", tmp_path / "m.onnx", "--int8")
    assert (said.code, said.err) == (0, "")
    assert "int8, loses" in said.out
    assert "'digits'" in said.out
    assert zoo.card(tmp_path / "m.onnx")["int8"]["data"] == "digits"


def test_data_without_int8_is_refused(tmp_path, monkeypatch, capsys):
    said = Command(monkeypatch, capsys)(
        "export", "m", "-o", tmp_path / "m.onnx", "--data", "digits"
    )
    assert said.code == 2
    assert "--int8" in said.err


def test_too_great_a_loss_is_refused(made, tmp_path, monkeypatch):
    ready = made[1].with_name("float.onnx")
    monkeypatch.setattr(quantiser, "export", lambda _, draft, **__: shutil.copy(ready, draft))
    monkeypatch.setattr(quantiser, "_score", lambda *_: float("nan"))
    with pytest.raises(CheckpointError, match=r"still loses nan dB at gaussian:0\.\.30/255"):
        quantise(network(), tmp_path / "m.onnx", data=DATA)
    assert not list(tmp_path.iterdir())


def test_what_is_felt_stays_in_float_until_little_is_lost(made, tmp_path, monkeypatch):
    ready = made[1].with_name("float.onnx")
    monkeypatch.setattr(quantiser, "export", lambda _, draft, **__: shutil.copy(ready, draft))
    graph = Rounding(ready)
    names = [node.input[1] for node in graph.inner]
    exact = graph.session()

    def closeness(rounded, damaged, _clean):
        """To the network itself: against the clean picture rounding may gain by chance."""
        given = [{"image": x[None].numpy()} for x in damaged]
        errors = [rounded.run(None, one)[0] - exact.run(None, one)[0] for one in given]
        return -1000 * float(np.sqrt(np.mean(np.square(errors))))

    monkeypatch.setattr(quantiser, "_score", closeness)
    monkeypatch.setattr(quantiser, "LIMIT", np.inf)
    loss = max(quantise(network(), tmp_path / "whole.onnx", data=DATA).loss_db.values())
    assert loss > 0.001
    # Where products of 8 bits are exact, two of the five in float leave 0.67 of it (the best pair
    # 0.56) and one leaves 0.89.
    limit = 0.7 * loss
    monkeypatch.setattr(quantiser, "LIMIT", limit)
    path = tmp_path / "m.onnx"
    said = quantise(network(), path, data=DATA)
    left = set(zoo.card(path)["int8"]["float"]) & set(names)
    assert 1 <= len(left) <= len(names) // 2
    assert max(said.loss_db.values()) <= limit
    assert path.stat().st_size > made[1].stat().st_size


def test_the_convolution_that_is_felt_most_comes_first(made):
    graph = Rounding(made[1].with_name("float.onnx"))
    images = DATA.train.crops(torch.arange(4), 32)[0]
    ranges = graph.ranges(images, np.random.default_rng(0))
    names = [node.input[1] for node in graph.inner]
    # One activation over a hundred times its range: of its steps two or three are left.
    spoilt = graph.inner[len(names) // 2]
    low, high = ranges[spoilt.input[0]]
    order = graph.felt(ranges | {spoilt.input[0]: (100 * low, 100 * high)}, images)
    assert order[0] is spoilt
    assert sorted(node.input[1] for node in order) == sorted(names)
    assert [node.input[1] for node in graph.inner] == names


def test_a_model_that_says_nothing_of_its_damage_is_refused(tmp_path):
    model = network()
    model.metadata = {}
    with pytest.raises(OptionError, match="no recipe"):
        quantise(model, tmp_path / "m.onnx", data=DATA)


@pytest.fixture
def unexported(monkeypatch):
    """Skip the export, for refusals that come after it."""
    monkeypatch.setattr(quantiser, "export", lambda *_, **__: None)
    monkeypatch.setattr(quantiser, "Rounding", lambda path: None)


@pytest.mark.usefixtures("unexported")
def test_data_that_is_not_here_names_the_option(tmp_path):
    model = network()
    model.metadata = {"recipe": {**RECIPE, "data": {"name": "no/such/folder"}}}
    with pytest.raises(DataError, match=r"'no/such/folder'.* give --data NAME"):
        quantise(model, tmp_path / "m.onnx")
    model.metadata = {"recipe": {**RECIPE, "data": None}}
    with pytest.raises(OptionError, match="give --data NAME"):
        quantise(model, tmp_path / "m.onnx")


@pytest.mark.usefixtures("unexported")
def test_pictures_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 channels but the model takes 1"):
        quantise(network(), tmp_path / "m.onnx", data=replace(DATA, train=pictures(2, channels=3)))
    bound = create("conv", channels=(4,), code_size=6, image_size=(64, 64))
    bound.metadata = {"recipe": RECIPE}
    with pytest.raises(DataError, match="smaller than 64x64"):
        quantise(bound, tmp_path / "m.onnx", data=DATA)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"m\.pt' does not end in \.onnx"):
        quantise(network(), tmp_path / "m.pt", data=DATA)


def test_a_network_with_nothing_between_the_ends_is_refused(tmp_path):
    from networks import box

    with pytest.raises(CheckpointError, match=r"1 convolutions, .* without --int8"):
        Rounding(box(tmp_path / "box.onnx", radius=1))


def test_the_best_range_gives_up_rare_peaks_for_finer_steps():
    values = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    values[0] = 30.0
    low, high = best_range(values)
    assert -5 < low < -3.5
    assert high < 28
    assert best_range(torch.zeros(4)) == (0.0, 1.0)
    # Zero, which padding adds, is always inside.
    assert best_range(torch.linspace(2, 3, 100))[0] == 0.0


def test_a_recipe_of_many_damages_is_told_in_short(tmp_path):
    said = quantiser.Quantised(tmp_path, 10, {"gaussian:0.1 | none": 0.1}, "waves")
    assert "loses 0.100 dB at the damage of its recipe on held-out" in str(said)


def test_levels_are_those_of_the_widest_plain_range():
    def told(spec):
        return [str(level) for level in quantiser._levels(parse(spec))]

    wide = [f"gaussian:{sigma}/255" for sigma in (2, 5, 15, 25)]
    assert told("gaussian:0..30/255") == wide
    assert told("jpeg:20..90 | gaussian:0..12/255 | gaussian:0..30/255 | none") == wide
    assert told("gaussian:10/255..20/255 | gaussian:0..55/255+jpeg:40") == ["gaussian:15/255"]
    assert told("gaussian:25/255") == told("jpeg:20..90 | none") == []
