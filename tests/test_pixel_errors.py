"""Errors of reconstruction, pixel by pixel: nothing for the same, and what was published."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.learn.pixel_errors import ERRORS, gradient, squared, structural


def pair(channels: int = 1, size: tuple[int, int] = (40, 37)) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    clean = torch.rand(2, channels, *size, generator=chance)
    return (clean + 0.1 * torch.randn(clean.shape, generator=chance)).clamp(0, 1), clean


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(40, 37), (5, 64), (3, 3)])
def test_a_map_has_the_pictures_size_and_is_not_negative(
    name: str, channels: int, size: tuple[int, int]
) -> None:
    restored, clean = pair(channels, size)
    error = ERRORS[name](restored, clean)
    assert error.shape == (2, *size)
    assert bool((error >= 0).all())
    assert float(error.mean()) > 0 or min(size) < 4


@pytest.mark.parametrize("name", ERRORS)
def test_the_same_picture_has_no_error(name: str) -> None:
    _, clean = pair()
    assert float(ERRORS[name](clean, clean).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_where_the_pictures_differ(name: str) -> None:
    clean = torch.full((1, 1, 64, 64), 0.5)
    restored = clean.clone()
    restored[..., 30:34, 30:34] = 0.9
    error = ERRORS[name](restored, clean)[0]
    assert float(error[28:36, 28:36].mean()) > 10 * float(error[:10, :10].mean())


@pytest.mark.parametrize("name", ERRORS)
def test_gradients_are_numbers_even_where_nothing_changes(name: str) -> None:
    flat = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    ERRORS[name](flat, torch.full((1, 1, 16, 16), 0.5)).mean().backward()
    assert flat.grad is not None
    assert bool(torch.isfinite(flat.grad).all())


def test_structure_is_that_of_scikit_image() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    restored, clean = pair()
    _, full = skimage.structural_similarity(
        restored[0, 0].double().numpy(),
        clean[0, 0].double().numpy(),
        win_size=11,
        data_range=1,
        use_sample_covariance=False,
        full=True,
    )
    ours = 1 - structural(restored, clean)[0].numpy()
    np.testing.assert_allclose(ours[5:-5, 5:-5], full[5:-5, 5:-5], atol=2e-4)


def test_a_lift_of_all_is_an_error_of_level_and_not_of_gradients() -> None:
    _, clean = pair()
    lifted = clean * 0.5 + 0.3
    shifted = lifted + 0.1
    assert float(squared(shifted, lifted).mean()) == pytest.approx(0.01, rel=1e-3)
    assert float(gradient(shifted, lifted).max()) < 1e-4
