"""Promises of learn/revive.py: closed units open, open ones stay, and the answer does not move."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pellucid.learn import datasets
from pellucid.learn.damage import parse
from pellucid.learn.models import create
from pellucid.learn.revive import closed_share, revive

DAMAGE = parse("gaussian:0..0.2")
PICTURES = datasets.load("photographs", channels=1).train


def closed(kind: dict[str, object] | None = None, *, units: int = 5) -> nn.Module:
    """A network of which the middle's first `units` never open."""
    torch.manual_seed(0)
    model = create("unet", channels=(8, 16), blocks=1, **(kind or {}))
    for layer in (model.middle[0].layers[-1], model.last):
        nn.init.normal_(layer.weight, std=0.1)
    first = model.middle[0].layers[0]
    with torch.no_grad():
        # Features above zero, so that weights below it close a unit, and others open it.
        model.downs[0].weight.abs_()
        model.first.weight.abs_()
        first.weight.abs_()
        first.weight[:units] *= -1
        if first.bias is not None:
            first.bias[:units] = -100
    return model.eval()


def openness(model: nn.Module) -> torch.Tensor:
    """Share of pixels for which each unit of the middle is above zero."""
    found = []
    layer = model.middle[0].layers[0]
    hook = layer.register_forward_hook(lambda _, __, made: found.append(made > 0))
    clean, _ = PICTURES.crops(torch.arange(2), 64)
    with torch.no_grad():
        model(DAMAGE(clean, generator=torch.manual_seed(1), clip=True))
    hook.remove()
    return found[0].float().mean((0, 2, 3))


@pytest.mark.parametrize("bias", [False, True])
def test_closed_units_open_and_the_answer_stays(bias: bool) -> None:
    model = closed({"bias": bias})
    before, picture = copy.deepcopy(model), torch.rand(1, 1, 40, 56)
    assert (openness(model)[:5] == 0).all()
    open_before = openness(model) > 0.01
    assert revive(model, PICTURES, DAMAGE) >= 5
    assert (openness(model)[:5] > 0.05).all()
    with torch.no_grad():
        torch.testing.assert_close(model(picture), before(picture), rtol=0, atol=1e-6)
    assert open_before.any()
    kept = model.middle[0].layers[0].weight[open_before]
    assert torch.equal(kept, before.middle[0].layers[0].weight[open_before])


def test_revived_units_get_a_gradient_and_closed_ones_none() -> None:
    model = closed()
    picture = PICTURES.crops(torch.arange(2), 64)[0]

    def moved() -> torch.Tensor:
        model.zero_grad()
        model(picture).square().mean().backward()
        return model.middle[0].layers[-1].weight.grad[:, :5].abs().amax((0, 2, 3))

    assert (moved() == 0).all()
    revive(model, PICTURES, DAMAGE)
    assert (moved() > 0).all()


def test_the_same_seed_gives_the_same_weights_and_a_second_call_changes_nothing() -> None:
    one, other = closed(), closed()
    revive(one, PICTURES, DAMAGE, seed=3)
    revive(other, PICTURES, DAMAGE, seed=3)
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    assert revive(one, PICTURES, DAMAGE, seed=3) == 0


@pytest.mark.parametrize("kind", [{"activation": "silu"}, {"norm": "batch"}])
def test_other_blocks_are_left_alone(kind: dict[str, object]) -> None:
    model = closed(kind)
    before = copy.deepcopy(model.state_dict())
    assert revive(model, PICTURES, DAMAGE) == 0
    assert all(map(torch.equal, model.state_dict().values(), before.values()))


def test_the_share_of_closed_units_is_told() -> None:
    model = closed(units=8)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    open_elsewhere = closed_share(model, PICTURES, DAMAGE)
    with torch.no_grad():
        model.middle[0].layers[0].weight.abs_()
    all_units = 8 + 16 + 8
    assert len(layers) == 3
    assert open_elsewhere - closed_share(model, PICTURES, DAMAGE) == pytest.approx(8 / all_units)
    assert closed_share(create("unet", activation="silu"), PICTURES, DAMAGE) == 0


def test_dense_models_and_damaged_pairs_are_looked_at_too() -> None:
    digits = datasets.load("digits").train
    model = create("conv", channels=(4,), code_size=6, image_size=(8, 8), output="linear")
    assert 0 <= closed_share(model.eval(), digits, DAMAGE) < 1
