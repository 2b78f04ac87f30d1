"""Defects found without a pretrained network, by what an autoencoder cannot draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.errors import OptionError
from pellucid.learn.detector import score
from pellucid.learn.pixel_errors import ERRORS
from pellucid.learn.pixel_reconstruction import PixelReconstruction
from pellucid.uses.defect_scores import auroc


def texture(chance: np.random.Generator, scratched: bool = False, side: int = 64) -> np.ndarray:
    """A woven ground with a little grain, (side, side) in [0, 1]; perhaps a scratch across it."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    shift = chance.uniform(0, 16, 2)
    ground = 0.5 + 0.1 * np.sin((x + shift[0]) * 0.4) + 0.1 * np.sin((y + shift[1]) * 0.4)
    ground += 0.01 * chance.standard_normal(ground.shape)
    if scratched:
        angle, (cy, cx) = chance.uniform(0, np.pi), chance.uniform(20, side - 20, 2)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        aside = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
        ground = np.where((np.abs(along) < 14) & (np.abs(aside) < 1.2), 0.95, ground)
    return ground.clip(0, 1).astype(np.float32)


def grey(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture)[None].half()


@pytest.mark.parametrize("error", ERRORS)
def test_a_scratch_on_a_texture_is_found(error: str) -> None:
    chance = np.random.default_rng(0)
    good = [grey(texture(chance)) for _ in range(24)]
    made = PixelReconstruction(error=error)
    made.fit(good, steps=60, seed=0)
    made.learn_ordinary(good)
    flags = [False] * 16 + [True] * 16
    scores = [score(made.strangeness(grey(texture(chance, flag))).numpy()) for flag in flags]
    assert auroc(scores, flags) > 0.9


def test_a_map_has_a_place_for_every_four_pixels() -> None:
    made = PixelReconstruction(image_channels=3)
    assert made.error(torch.rand(3, 64, 80)).shape == (16, 20)


def test_the_seed_decides_and_nothing_else() -> None:
    chance = np.random.default_rng(0)
    good = [grey(texture(chance)) for _ in range(5)]

    def weights(seed: int) -> torch.Tensor:
        made = PixelReconstruction()
        made.fit(good, steps=2, seed=seed)
        return torch.cat([value.detach().flatten() for value in made.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_unknown_errors_and_empty_codes_are_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'ssim'"):
        PixelReconstruction(error="sim")
    with pytest.raises(OptionError, match="at least 1 channel"):
        PixelReconstruction(code=0)
