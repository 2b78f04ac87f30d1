"""Find units that never open, and give them a second chance without changing the network's answer.

A rectified unit that is below zero for every picture adds nothing and gets no gradient, so it stays
so. High learning rates close many; when training goes on at a lower rate they can be of use.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pellucid.learn.damage import Damage
from pellucid.learn.lesson import seeded
from pellucid.learn.models import Restorer
from pellucid.learn.models.unet import Residual
from pellucid.learn.pictures import Pictures

SELDOM = 0.005
"""Share of pixels above zero below which a unit counts as closed."""

_PICTURES = 16
_SIDE = 192


@torch.no_grad()
def closed_share(
    model: Restorer, pictures: Pictures, damage: Damage, *, clip: bool = True, seed: int = 0
) -> float:
    """How many of a model's rectified units open nowhere or almost nowhere, from 0 to 1.

    Args:
        model: Any; 0 where nothing in it is rectified.
        pictures: A few of them tell.
        damage: Done to them first.
        clip: Keep damaged values in [0, 1].
        seed: Of the damage.
    """
    closed: list[Tensor] = []

    def count(_: nn.Module, __: tuple[Tensor, ...], made: Tensor) -> None:
        closed.append(_opens(made) < SELDOM)

    layers = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    model(_some(model, pictures, damage, clip, seeded(torch.device("cpu"), seed, 8)))
    for hook in hooks:
        hook.remove()
    return float(torch.cat(closed).float().mean()) if closed else 0.0


def revive(
    model: Restorer, pictures: Pictures, damage: Damage, *, clip: bool = True, seed: int = 0
) -> int:
    """New weights for the closed units of a model's residual blocks.

    Such a unit gets random weights that look away from the mean of its inputs, so that it opens for
    half of what it sees, and passes nothing on until training lets it: what the network gives
    moves by no more than what closed units still gave.

    Args:
        model: Changed in place. Blocks with normalisation or another activation are left alone.
        pictures: What it is to learn from; a few of them tell which units open.
        damage: Done to them first.
        clip: Keep damaged values in [0, 1].
        seed: Of the new weights and of the damage.

    Returns:
        How many units were begun anew.
    """
    chance = seeded(torch.device("cpu"), seed, 8)
    damaged = _some(model, pictures, damage, clip, chance)
    count = 0
    for block in model.modules():
        if isinstance(block, Residual) and isinstance(block.layers[1], nn.ReLU):
            count += _revive(block, model, damaged, chance)
    return count


def _some(
    model: Restorer, pictures: Pictures, damage: Damage, clip: bool, chance: torch.Generator
) -> Tensor:
    """A few damaged pictures, or crops where they differ in size."""
    chosen = torch.linspace(0, len(pictures) - 1, min(_PICTURES, len(pictures))).long()
    side: int | tuple[int, int] = min(_SIDE, pictures.smallest)
    if model.image_size:
        high, wide = torch.minimum(pictures.sizes.amin(0), torch.tensor(model.image_size)).tolist()
        side = high, wide
    clean, damaged = pictures.crops(chosen, side)
    if damaged is not None:
        return damaged
    return damage(clean, generator=chance, clip=clip, missing=model.missing)


def _opens(made: Tensor) -> Tensor:
    """Share of pixels at which each unit is above zero, (C,)."""
    return (made > 0).float().transpose(0, 1).flatten(1).mean(1)


@torch.no_grad()
def _revive(block: Residual, model: Restorer, damaged: Tensor, chance: torch.Generator) -> int:
    first, second = block.layers[0], block.layers[-1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    seen: list[Tensor] = []
    hook = first.register_forward_hook(lambda _, given, made: seen.extend((given[0], made)))
    model(damaged)
    hook.remove()
    given, made = seen
    closed = _opens(made) < SELDOM
    if not closed.any():
        return 0
    fresh = torch.randn(first.weight.shape, generator=chance)
    fresh *= math.sqrt(2 / first.weight[0].numel())
    mean = given.mean((0, 2, 3))
    mean /= mean.norm().clamp(min=1e-12)
    fresh -= torch.einsum("oikl,i->okl", fresh, mean)[:, None] * mean[None, :, None, None]
    first.weight[closed] = fresh[closed]
    if first.bias is not None:
        first.bias[closed] = 0
    second.weight[:, closed] = 0
    return int(closed.sum())
