"""What both codecs promise: qualities in order, losses that are what they are named, any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor
from torch.nn import functional as F

from pellucid.errors import OptionError
from pellucid.learn import checkpoints, recipes
from pellucid.learn.models import create, summary
from pellucid.learn.models.codec import Codec
from pellucid.learn.models.cosines import CosineTransform
from pellucid.learn.muon import Muon

KINDS = ("factorized", "hyperprior")
SMALL = {"channels": (8, 12, 16), "latents": 12}


def small(kind: str, **more: object) -> Codec:
    torch.manual_seed(0)
    model = create(kind, **{**SMALL, **more})
    assert isinstance(model, Codec)
    return model


def pictures(count: int, side: int = 64) -> Tensor:
    """Soft shapes: most of what they hold is in few numbers."""
    rough = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    return F.interpolate(rough, (side, side), mode="bicubic").clamp(0, 1)


def costs(model: Codec, x: Tensor, quality: int) -> tuple[float, float]:
    """Bits a pixel and mean squared error of pictures at a quality."""
    at = torch.full((len(x),), quality)
    latents = model.latents_of(x)
    generator = torch.Generator().manual_seed(0)
    bits, code = model.coded(latents, at, generator)
    error = (model.image_of(code, at) - x).square().mean()
    return float(bits.mean()) / x[0, 0].numel(), float(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_quality_costs_more_bits_and_errs_less(kind: str) -> None:
    lambdas = (0.0005, 0.005, 0.05)
    model = small(kind, lambdas=lambdas)
    seen, unseen = pictures(24).split((16, 8))
    with torch.no_grad():
        before = [costs(model, unseen, q) for q in range(3)]
    optimiser = Muon(model.parameters(), 5e-3, halves=False)
    generator = torch.Generator().manual_seed(1)
    for step in range(80):
        optimiser.param_groups[0]["lr"] = 5e-3 * min(1, (80 - step) / 40)
        batch = seen[torch.randint(16, (8,), generator=generator)]
        sum(model.loss(batch, batch, generator=generator).values()).backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        after = [costs(model, unseen, q) for q in range(3)]
    bits, errors = zip(*after, strict=True)
    assert list(bits) == sorted(bits)
    assert bits[2] > 1.2 * bits[0]
    assert list(errors) == sorted(errors, reverse=True)
    assert errors[2] < 0.8 * errors[0]
    first, last = (
        sum(
            bits + weight * 255**2 * error for (bits, error), weight in zip(c, lambdas, strict=True)
        )
        for c in (before, after)
    )
    assert last < 0.75 * first
    assert 0 < bits[0] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_bits_a_pixel_and_weighed_squared_error(kind: str) -> None:
    model = small(kind, lambdas=(0.02,)).eval()
    damaged, clean = torch.rand(2, 3, 1, 64, 128).unbind()
    found = model.loss(damaged, clean, generator=torch.Generator().manual_seed(4))
    assert list(found) == ["rate", "distortion"]
    with torch.no_grad():
        error = (model(damaged) - clean).square().mean()
    torch.testing.assert_close(found["distortion"], 0.02 * 255**2 * error)
    # The first draw is the qualities', and there is one only.
    generator = torch.Generator().manual_seed(4)
    torch.rand(3, generator=generator)
    bits, _ = model.coded(model.latents_of(damaged), torch.zeros(3, dtype=torch.long), generator)
    torch.testing.assert_close(found["rate"], bits.mean() / (64 * 128))


@pytest.mark.parametrize("kind", KINDS)
def test_qualities_are_drawn_from_the_generator_and_all_of_them(kind: str) -> None:
    model, seen = small(kind), []
    plain = model.image_of
    model.image_of = lambda code, quality: seen.append(quality) or plain(code, quality)  # type: ignore[method-assign]
    x = torch.rand(64, 1, 16, 16)
    losses = [model.loss(x, x, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    assert torch.equal(seen[0], seen[1])
    assert sorted(set(seen[0].tolist())) == list(range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_under_bfloat16_only_the_picture_s_layers_lose_digits(kind: str) -> None:
    model = small(kind)
    x = pictures(4)
    plain = model.loss(x, x, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(x, x, generator=torch.Generator().manual_seed(0))
        latents = model.latents_of(x)
        assert latents.dtype == torch.float32
        assert model(x).dtype == torch.float32
    for name, term in half.items():
        assert term.dtype == torch.float32
        assert float(term.detach()) == pytest.approx(float(plain[name].detach()), rel=0.02)
    sum(half.values()).backward()
    assert all(torch.isfinite(weights.grad).all() for weights in model.parameters())
    # Of the same latents the bits are the same ones.
    at = torch.arange(4)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        dtype = model.encode(x).dtype
    assert dtype == torch.float32
    bits, _ = model.coded(latents, at, torch.Generator().manual_seed(0))
    assert torch.isfinite(bits).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_one_and_any_size_has_a_loss(kind: str, channels: int) -> None:
    model = small(kind, image_channels=channels)
    for size in ((1, 1), (65, 30), (200, 3)):
        x = torch.rand(1, channels, *size)
        terms = model.loss(x, x)
        assert all(torch.isfinite(term) and term > 0 for term in terms.values())
        assert model.encode(x).shape == (
            1,
            12,
            *(-(-side // model.multiple_of) * model.multiple_of // 16 for side in size),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_training_begins_with_a_codec_of_cosines(kind: str) -> None:
    model = create(kind, channels=(32, 48, 64), latents=64)
    assert isinstance(model, Codec)
    x = pictures(4, 128)
    with torch.no_grad():
        assert torch.equal(model.latents_of(x), model.transform((x - 0.5) * 4))
        rates, errors = zip(*(costs(model, x, quality) for quality in range(8)), strict=True)
    assert list(rates) == sorted(rates)
    assert list(errors) == sorted(errors, reverse=True)
    assert 0.1 < rates[0] < rates[-1] < 1.5
    assert errors[0] < 1e-3


@pytest.mark.parametrize(("channels", "latents"), [(1, 256), (3, 768)])
def test_the_cosine_transform_is_scipy_s_and_loses_nothing(channels: int, latents: int) -> None:
    transform = CosineTransform(channels, latents)
    x = torch.rand(1, channels, 32, 48, generator=torch.Generator().manual_seed(0))
    values = transform(x)
    torch.testing.assert_close(transform.inverse(values), x, atol=1e-5, rtol=0)
    block = scipy.fft.dctn(x[0, :, 16:, 16:32].double().numpy(), norm="ortho")
    found = values[0, :, 1, 1]
    assert np.allclose(np.sort(found), np.sort(block.ravel()), atol=1e-5)
    # The widest come first: means, of grey and of colours, and the slowest waves of grey.
    assert np.allclose(found[:channels], block[:, 0, 0], atol=1e-5)
    slowest = sorted((block[0, 0, 1], block[0, 1, 0]))
    assert np.allclose(sorted(found[channels : channels + 2].tolist()), slowest, atol=1e-5)
    assert transform.widths == sorted(transform.widths, reverse=True)


def test_more_latents_than_waves_begin_as_nothing_and_can_be_learnt() -> None:
    transform = CosineTransform(1, 300)
    assert not transform(torch.rand(1, 1, 16, 16))[:, 256:].any()
    assert len(transform.widths) == 300
    model = small("hyperprior", latents=300)
    x = pictures(2)
    sum(model.loss(x, x).values()).backward()
    assert model.to_latents.weight.grad is not None
    assert model.to_latents.weight.grad[256:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_quality_asked_for_is_the_one_that_is_given(kind: str, tmp_path: Path) -> None:
    model = small(kind)
    x = pictures(2)
    made = []
    for quality in (1, 8, None):
        one = small(kind, quality=quality)
        one.load_state_dict(model.state_dict())
        checkpoints.save(one, tmp_path / "m.safetensors")
        again = checkpoints.load(tmp_path / "m.safetensors")
        with torch.no_grad():
            made.append(one.eval()(x))
            assert torch.equal(again(x), made[-1])
        assert again.options == {**one.options}
    assert torch.equal(made[1], made[2])
    assert not torch.equal(made[0], made[1])


def test_blocks_change_the_picture_as_far_around_as_is_said() -> None:
    plain, model = small("factorized"), small("factorized", blocks=2)
    for block in model.mending:
        torch.nn.init.normal_(block.last.weight)
    torch.nn.init.normal_(model.to_image.weight)
    radius = model.reach_out().radius
    assert radius == plain.reach_out().radius + 2 * 2 * 2
    code = torch.zeros(1, 12, 9, 9)
    with torch.no_grad():
        before = model.decode(code)
        code[:, :, 4, 4] = 3.0
        rows = (model.decode(code) != before)[0, 0].any(1).nonzero().flatten()
    # 16 by a place of the code, 4 by the quarter's convolution, 2 by the half's, 4 by each block.
    assert (rows.min(), rows.max() + 1) == (64 - 30, 80 + 30)
    assert radius >= 30


@pytest.mark.parametrize("blocks", [-1, 65])
def test_a_number_of_blocks_that_cannot_be_is_refused(blocks: int) -> None:
    with pytest.raises(OptionError, match=f"blocks is {blocks}; from 0 to 64"):
        small("hyperprior", blocks=blocks)


@pytest.mark.parametrize(
    "options",
    [{"latents": 10**9}, {"hyper_latents": 0}, {"channels": (8, 10**9, 8)}],
)
def test_widths_that_cannot_be_are_refused_before_anything_is_made(
    options: dict[str, object],
) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(options))} is .*width"):
        small("hyperprior", **options)


@pytest.mark.parametrize("kind", KINDS)
def test_only_convolutions_are_matrices_to_the_optimiser(kind: str) -> None:
    model = small(kind)
    shapes = {name: weights.ndim for name, weights in model.named_parameters()}
    assert set(shapes.values()) == {1, 4}
    assert all(shapes[name] == 1 for name in shapes if "gains" in name or "density" in name)


@pytest.mark.parametrize(("kind", "thousands"), [("factorized", 45), ("hyperprior", 58)])
def test_the_default_networks_multiply_as_often_as_they_say(kind: str, thousands: int) -> None:
    made = summary(create(kind, image_channels=3), size=256)
    assert round(made.flops_per_pixel / 2000) == thousands
    assert f"{thousands} thousand multiplications a pixel" in " ".join(
        str(type(create(kind)).__doc__).split()
    )


def test_other_losses_are_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"set model\.lambdas to weigh the two"):
        small("factorized").use_loss("l1")


@pytest.mark.parametrize(
    ("recipe", "kind"), [("photo-codec", "hyperprior"), ("codec-factorized", "factorized")]
)
def test_a_recipe_trains_it_on_pictures_as_they_are(recipe: str, kind: str) -> None:
    read = recipes.read(recipe)
    assert (read.model["name"], read.damage.spec) == (kind, "none")
    model = create(**{**read.model, "name": kind})
    assert isinstance(model, Codec)
    assert model.qualities == 8
    assert np.isfinite(model.halo or 0)
