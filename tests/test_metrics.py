"""Promises of learn/metrics.py, held against scikit-image."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from skimage import metrics as reference

from pellucid.errors import DataError
from pellucid.learn import metrics
from pellucid.learn.metrics import METRICS, PSNR_CAP, mae, psnr, rmse, ssim


def pair(*shape: int, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth random picture and a noisy version that leaves [0, 1]."""
    generator = torch.Generator().manual_seed(sum(shape))
    clean = torch.rand(shape, generator=generator)
    clean = (clean + clean.roll(1, -1) + clean.roll(1, -2)) / 3
    return clean + noise * torch.randn(shape, generator=generator), clean


def skimage_ssim(restored: torch.Tensor, clean: torch.Tensor, pad: tuple[int, int]) -> float:
    rows, columns = pad
    a, b = (
        np.pad(
            x.permute(1, 2, 0).double().numpy(),
            ((rows, rows), (columns, columns), (0, 0)),
            mode="symmetric",
        )
        for x in (restored, clean)
    )
    return reference.structural_similarity(
        a,
        b,
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize(
    "shape",
    [
        (3, 1, 28, 28),
        (2, 3, 32, 32),
        (1, 3, 41, 64),
        (2, 1, 11, 11),
        (1, 1, 11, 40),
        (2, 3, 300, 500),
    ],
)
def test_ssim_agrees_with_scikit_image(shape):
    restored, clean = pair(*shape)
    expected = [skimage_ssim(a, b, (0, 0)) for a, b in zip(restored, clean, strict=True)]
    assert ssim(restored, clean).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "size", [(8, 8), (10, 10), (1, 1), (3, 50), (50, 3), (1, 12), (2, 2), (4, 11)]
)
def test_sides_shorter_than_the_window_are_mirrored(size):
    restored, clean = pair(1, 2, *size)
    pad = tuple(5 if side < 11 else 0 for side in size)
    assert ssim(restored, clean).item() == pytest.approx(
        skimage_ssim(restored[0], clean[0], pad), abs=1e-5
    )


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 17, 5), (1, 1, 1, 1)])
def test_psnr_and_rmse_agree_with_scikit_image(shape):
    restored, clean = pair(*shape)
    for i in range(shape[0]):
        a, b = restored[i].double().numpy(), clean[i].double().numpy()
        assert psnr(restored, clean)[i].item() == pytest.approx(
            reference.peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4
        )
        mse = reference.mean_squared_error(a, b)
        assert rmse(restored, clean)[i].item() == pytest.approx(mse**0.5, rel=1e-5)
        assert mae(restored, clean)[i].item() == pytest.approx(abs(a - b).mean(), rel=1e-5)


def test_identical_images_score_finitely_and_best():
    _, clean = pair(2, 3, 20, 9)
    assert psnr(clean, clean).tolist() == [PSNR_CAP] * 2
    assert ssim(clean, clean).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert rmse(clean, clean).tolist() == [0, 0]
    assert mae(clean, clean).tolist() == [0, 0]


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_have_finite_scores(name, value):
    flat = torch.full((1, 1, 16, 16), value)
    for other in (flat, torch.zeros_like(flat), torch.ones_like(flat)):
        assert torch.isfinite(METRICS[name](other, flat)).all()


@pytest.mark.parametrize("name", METRICS)
def test_one_score_an_image_whatever_its_neighbours(name):
    restored, clean = pair(4, 3, 13, 12)
    together = METRICS[name](restored, clean)
    alone = torch.cat(
        [METRICS[name](a[None], b[None]) for a, b in zip(restored, clean, strict=True)]
    )
    assert together.shape == (4,)
    assert together.dtype == torch.float32
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_half_precision_is_scored_in_full_precision(name):
    restored, clean = (x.bfloat16() for x in pair(1, 1, 40, 40))
    expected = METRICS[name](restored.float(), clean.float())
    assert torch.equal(METRICS[name](restored, clean), expected)


def test_ssim_is_differentiable_on_small_and_flat_images():
    restored = torch.full((1, 1, 5, 20), 0.5, requires_grad=True)
    ssim(restored, torch.rand(1, 1, 5, 20)).sum().backward()
    assert torch.isfinite(restored.grad).all()


@pytest.mark.parametrize("name", METRICS)
def test_shapes_that_differ_are_refused_with_both_shapes(name):
    with pytest.raises(DataError, match=r"\(1, 1, 4, 4\) and \(1, 1, 4, 5\)"):
        METRICS[name](torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(DataError, match=r"\(B, C, H, W\)"):
        METRICS[name](torch.zeros(4, 4), torch.zeros(4, 4))


def test_the_examples_run():
    assert doctest.testmod(metrics, extraglobs={"torch": torch}).failed == 0
