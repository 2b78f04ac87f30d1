"""Models survive the disk; hostile and foreign files are refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from pellucid.errors import CheckpointError, ImageError, OptionError
from pellucid.learn.checkpoints import begin, load, read_metadata, save
from pellucid.learn.models import MODELS, Restorer, create


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_save_and_load_agree_exactly(kind: str, tmp_path: Path) -> None:
    model = create(kind).eval()
    again = load(save(model, tmp_path / "m.safetensors", data="digits", scores={"psnr": 20.5}))
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(again(image), model(image))
    assert again.options == model.options
    assert again.metadata["data"] == "digits"
    assert again.metadata["scores"] == {"psnr": 20.5}


def test_weights_of_16_bits_take_half_the_file_and_load_as_32(tmp_path: Path) -> None:
    model = create("unet", channels=(32, 64), image_channels=3).eval()
    nn.init.normal_(model.get_parameter("last.weight"), std=0.02)
    whole = save(model, tmp_path / "whole.safetensors")
    half = save(model, tmp_path / "half.safetensors", halves=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    again = load(half)
    assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32}
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert float((again(image) - model(image)).abs().max()) < 1e-3
    # What was rounded once is not rounded again.
    twice = save(again, tmp_path / "twice.safetensors", halves=True)
    assert twice.read_bytes() == half.read_bytes()


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    model = create("conv", channels=(4,))
    first, second = (save(model, tmp_path / f"{i}.safetensors").read_bytes() for i in "12")
    assert first == second


def test_saving_a_loaded_model_keeps_its_origin(tmp_path: Path) -> None:
    first = save(create("conv"), tmp_path / "a.safetensors", data="digits", licence="CC0")
    second = save(load(first), tmp_path / "b.safetensors", licence="MIT")
    assert read_metadata(second)["data"] == "digits"
    assert read_metadata(second)["licence"] == "MIT"


def test_a_run_folder_opens_as_its_model(tmp_path: Path) -> None:
    save(create("conv", channels=(3,)), tmp_path / "model.safetensors")
    assert load(tmp_path).options["channels"] == (3,)


def described(path: Path, **changes: object) -> Path:
    """A checkpoint whose description was changed by hand."""
    good = save(create("conv", channels=(4,)), path.with_name("good.safetensors"))
    told = read_metadata(good) | changes
    save_file({"x": torch.zeros(2)}, path, {"pellucid": json.dumps(told)})
    return path


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    good = save(create("conv", channels=(4,)), tmp_path / "good.safetensors").read_bytes()
    cases = {
        "empty.safetensors": b"",
        "text.safetensors": b"hello, I am not a model",
        "cut.safetensors": good[: len(good) // 2],
        "header.safetensors": good[:40],
        "huge.safetensors": (2**62).to_bytes(8, "little") + good[8:],
        "pickle.ckpt": pickle.dumps({"a": 1}),
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name) as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("evil.pt", "evil.safetensors", "evil.ckpt"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(CheckpointError):
            load(tmp_path / name)
    torch.save({"model": Bomb()}, tmp_path / "torch.safetensors")
    with pytest.raises(CheckpointError):
        load(tmp_path / "torch.safetensors")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 99, "version": "7.0"}, "format 99, written by pellucid 7.0"),
        ({"model": "transformer"}, "unknown model 'transformer'"),
        ({"model": ["conv"]}, "description is damaged"),
        ({"options": {"depth": 3}}, "unknown option of 'conv' 'depth'"),
        ({"options": {"channels": [10**6, 10**6]}}, "does not belong to its own"),
        ({"options": {"channels": "wide"}}, "do not fit|one width|takes a list"),
        ({"options": {"channels": [8]}}, "does not belong to its own description"),
        ({"model": "hyperprior", "options": {"latents": 10**9}}, "latents is 1000000000; a width"),
    ],
)
def test_descriptions_that_lie_are_refused(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=says):
        load(described(tmp_path / "bad.safetensors", **changes))


def test_weights_without_a_description_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="says nothing of its model"):
        load(tmp_path / "foreign.safetensors")


def test_a_device_is_auto_or_one_that_is_there(tmp_path: Path) -> None:
    path = save(create("conv", channels=(4,)), tmp_path / "m.safetensors")
    assert load(path, device="auto").options["channels"] == (4,)
    with pytest.raises(OptionError, match="device 'tpu' is not available"):
        load(path, device="tpu")


def test_a_missing_file_and_a_bare_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model file .*absent"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)


def test_saving_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        save(create("conv", channels=(4,)), tmp_path / "no" / "m.safetensors")


# Beginning


def unet(**options: object) -> Restorer:
    made = create("unet", **({"channels": (8, 16), "blocks": 1, "unshuffle": 2} | options))
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.1)
    return made


def test_a_model_begins_with_the_weights_of_another(tmp_path: Path) -> None:
    first, second = unet(), unet()
    save(first, tmp_path / "model.safetensors", data="photos", licence="free")
    begin(second, tmp_path)
    x = torch.rand(1, 1, 12, 12)
    assert torch.equal(first(x), second(x))
    assert second.metadata["licence"] == "free"


def test_a_grey_model_begins_one_for_colour_that_does_the_same_to_grey(tmp_path: Path) -> None:
    grey, colour = unet(), unet(image_channels=3)
    save(grey, tmp_path / "grey.safetensors")
    begin(colour, tmp_path / "grey.safetensors")
    x = torch.rand(1, 1, 12, 12)
    torch.testing.assert_close(colour(x.expand(-1, 3, -1, -1)), grey(x).expand(-1, 3, -1, -1))


def test_a_colour_model_begins_one_for_grey_that_gives_the_mean_of_its_colours(
    tmp_path: Path,
) -> None:
    grey, colour = unet(bias=True), unet(bias=True, image_channels=3)
    save(colour, tmp_path / "colour.safetensors")
    begin(grey, tmp_path / "colour.safetensors")
    x = torch.rand(1, 1, 12, 12)
    torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)).mean(1, keepdim=True))


@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1)])
def test_a_network_that_fills_holes_begins_another_with_its_mask_in_place(
    tmp_path: Path, first: int, second: int
) -> None:
    def inpainter(image_channels: int) -> Restorer:
        made = create("inpaint", channels=(8, 12), unshuffle=2, image_channels=image_channels)
        for weight in made.parameters():
            nn.init.normal_(weight, std=0.1)
        return made

    one, other = inpainter(first), inpainter(second)
    save(one, tmp_path / "one.safetensors")
    begin(other, tmp_path / "one.safetensors")
    x = torch.rand(1, 1, 12, 12)
    x[:, :, 3:7, 2:9] = torch.nan
    grey = [model(x.expand(-1, model.image_channels, -1, -1)).mean(1) for model in (one, other)]
    torch.testing.assert_close(*grey)


@pytest.mark.parametrize("kind", ["factorized", "hyperprior"])
def test_a_codec_begins_one_with_more_blocks_that_does_the_same(tmp_path: Path, kind: str) -> None:
    design = {"channels": (8, 12, 16), "latents": 12}
    plain, longer = create(kind, **design), create(kind, blocks=2, **design)
    save(plain, tmp_path / "plain.safetensors")
    begin(longer, tmp_path / "plain.safetensors")
    x = torch.rand(1, 1, 64, 64)
    assert torch.equal(plain(x), longer(x))
    save(longer, tmp_path / "longer.safetensors")
    with pytest.raises(CheckpointError, match=r"cannot begin this model: weight 'mending\."):
        begin(plain, tmp_path / "longer.safetensors")


@pytest.mark.parametrize("options", [{"channels": (8, 24)}, {"blocks": 2}, {"bias": True}])
def test_another_design_cannot_begin_a_model(tmp_path: Path, options: dict[str, object]) -> None:
    save(unet(), tmp_path / "model.safetensors")
    other = unet(**options)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError, match="cannot begin this model: weight '"):
        begin(other, tmp_path)
    assert all(torch.equal(before[name], now) for name, now in other.state_dict().items())


@pytest.mark.parametrize("other", [{"activation": "gelu"}, {"residual": False}])
def test_what_no_shape_shows_is_compared_before_a_model_begins(
    tmp_path: Path, other: dict[str, object]
) -> None:
    path = save(create("unet", channels=(4, 8), blocks=1), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=f"its {next(iter(other))} is .* and here"):
        begin(create("unet", channels=(4, 8), blocks=1, **other), path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_other_depths_load_as_32_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    model = create("conv", channels=(4,)).eval()
    path = save(model, tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        told = file.metadata()
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata=told)
    image = torch.rand(1, 1, 16, 16)
    assert load(path)(image).dtype == torch.float32
    assert torch.allclose(load(path)(image), model(image), atol=0.02)
