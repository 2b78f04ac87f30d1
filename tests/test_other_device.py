"""Damage, learning and judging keep to the device of their pictures, and need no float64 there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from apart import Apart, Chance, elsewhere, moved
from pellucid.learn import metrics
from pellucid.learn.damage import parse
from pellucid.learn.degrade import DEGRADATIONS
from pellucid.learn.detector import METHODS, Detector, learn
from pellucid.learn.frechet import featured
from pellucid.learn.models import MODELS, create
from pellucid.learn.muon import Muon
from pellucid.learn.pictures import Pictures
from pellucid.uses.interpolation import spherical
from pellucid.uses.priors import fit_mixture
from test_gpu import SMALL


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def chance() -> Chance:
    generator = Chance()
    generator.manual_seed(1)
    return generator


def test_the_stand_in_refuses_what_a_device_refuses() -> None:
    with elsewhere():
        for wrong in (
            lambda: Apart(images(2)).double(),
            lambda: Apart(images(2)).to("cpu", torch.float64),
            lambda: torch.as_tensor(Apart(images(2)), dtype=torch.float64),
            lambda: torch.zeros(2, dtype=torch.float64, device="meta"),
        ):
            with pytest.raises(TypeError, match="float64"):
                wrong()
        with pytest.raises(RuntimeError, match="two devices"):
            Apart(images(2)) + images(2)
        assert Apart(images(2)).cpu().double().dtype == torch.float64


@pytest.mark.parametrize("one_for_all", [True, False])
@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_every_degradation_is_the_cpus_there(name: str, one_for_all: bool) -> None:
    low, high = {"jpeg": ("30", "90"), "blur": ("1", "3")}.get(name, ("0.1", "0.4"))
    damage = parse(f"{name}:{low}" if one_for_all else f"{name}:{low}..{high}")
    clean = images(2, 3 if name == "camera" else 1, 40, 48)
    with elsewhere():
        made = damage(Apart(clean), generator=chance(), clip=True)
    expected = damage(clean, generator=torch.Generator().manual_seed(1), clip=True)
    assert isinstance(made, Apart)
    torch.testing.assert_close(made.inner, expected, rtol=1e-5, atol=1e-5)


def learnt(kind: str, place: Callable[[Tensor], Tensor], chance: Generator) -> list[Tensor]:
    """The loss of one batch, and its gradients, of a model whose weights are laid there."""
    torch.manual_seed(0)
    model = create(kind, **SMALL.get(kind, {"channels": (8, 12)}))
    if place is Apart:
        moved(model)
    clean = place(images(2, model.image_channels, 32, 32))
    damage = parse("mask:0.5" if model.fills_holes else "blur:0..2+gaussian:0.1")
    damaged = damage(clean, generator=chance, clip=True, missing=model.missing)
    loss = sum(model.loss(damaged, clean, generator=chance).values())
    loss.backward()
    found = [loss.detach().cpu(), *(w.grad.cpu() for w in model.parameters() if w.requires_grad)]
    Muon(model.parameters(), lr=0.01, halves=False).step()
    return found


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_every_model_learns_there_what_it_learns_on_the_cpu(kind: str) -> None:
    here = learnt(kind, lambda tensor: tensor, Generator().manual_seed(1))
    with elsewhere():
        there = learnt(kind, Apart, chance())
    assert len(here) > 1
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_crops_are_cut_there() -> None:
    chance = np.random.default_rng(0)
    drawn = [chance.integers(0, 256, (40 + i, 44, 1), dtype=np.uint8) for i in range(6)]
    cut = []
    with elsewhere():
        for on in ("cpu", "meta"):
            pictures = Pictures.from_arrays(drawn).to(on)
            generator = torch.Generator().manual_seed(3)
            cut.append(pictures.crops(torch.arange(4), 32, generator=generator, flipped=True)[0])
    assert isinstance(cut[1], Apart)
    torch.testing.assert_close(cut[0], cut[1].inner)


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
@pytest.mark.parametrize("method", METHODS)
def test_detectors_learn_and_judge_there(method: str) -> None:
    chance = np.random.default_rng(0)
    pictures = [chance.random((64, 80, 1)).astype(np.float32) for _ in range(6)]
    with elsewhere():
        made = Detector(method=method, size=64, weights="random")
        moved(made)
        made.fit_to([(64, 80)])
        learn(made.reconstruction, made.view(pictures), steps=2, seed=0)
        score, places = made.judge(pictures[0])
    assert np.isfinite(score)
    assert places.shape == (64, 80)


def test_judging_needs_no_float64_there() -> None:
    clean, damaged = images(2, 1, 32, 32), images(2, 1, 32, 32).flip(2)
    steps, codes = torch.tensor([0.0, 0.5, 1.0]), images(40, 3)
    with elsewhere():
        for measure in (metrics.psnr, metrics.ssim, metrics.mae, metrics.rmse):
            there = measure(Apart(damaged), Apart(clean))
            torch.testing.assert_close(there.cpu(), measure(damaged, clean))
        arc = spherical(Apart(codes[0]), Apart(codes[1]), steps)
        mixture = fit_mixture(Apart(codes), components=2)
        features = featured(lambda part: part * 2, Apart(images(3, 1, 4, 4)))
    torch.testing.assert_close(arc.inner, spherical(codes[0], codes[1], steps))
    torch.testing.assert_close(mixture.means, fit_mixture(codes, components=2).means)
    np.testing.assert_allclose(features, 2 * images(3, 16).numpy(), rtol=1e-6)
