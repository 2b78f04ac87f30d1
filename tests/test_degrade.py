"""Degradations: each does what its published formula says, drawn from the generator it is given."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.util import random_noise

from pellucid.errors import OptionError
from pellucid.learn import degrade
from pellucid.learn.degrade import DEGRADATIONS

NAMES = sorted(DEGRADATIONS)
DRAWN = sorted(set(NAMES) - {"blur", "jpeg", "mask_centre", "bilevel"})
LEVEL = 0.4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=seeded(seed))


def flat(level: float = LEVEL, side: int = 400) -> torch.Tensor:
    return torch.full((1, 1, side, side), level)


def damaged(
    name: str, x: torch.Tensor, strength: float | torch.Tensor | None = None, seed: int = 0
):
    entry = DEGRADATIONS[name]
    return entry.function(
        x, entry.default if strength is None else strength, generator=seeded(seed)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 3, 17, 9), (2, 1, 3, 50), (0, 1, 8, 8)])
def test_shape_and_type_are_kept_and_values_finite(name: str, shape: tuple[int, ...]) -> None:
    x = pictures(*shape)
    result = damaged(name, x)
    assert result.shape == x.shape
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_clean_picture_is_left_alone(name: str) -> None:
    x = pictures(2, 3, 16, 16)
    before = x.clone()
    damaged(name, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_picture(name: str) -> None:
    x = pictures(2, 3, 16, 16)
    assert torch.equal(damaged(name, x, seed=5), damaged(name, x, seed=5))


@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_another_picture(name: str) -> None:
    x = pictures(2, 3, 32, 32)
    assert not torch.equal(damaged(name, x, seed=5), damaged(name, x, seed=6))


@pytest.mark.parametrize("name", NAMES)
def test_the_global_random_state_is_not_touched(name: str) -> None:
    before = torch.get_rng_state()
    damaged(name, pictures(2, 1, 8, 8))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "name", [name for name in NAMES if DEGRADATIONS[name].gentlest is not None]
)
def test_zero_strength_changes_nothing(name: str) -> None:
    x = pictures(3, 3, 11, 13)
    gentlest = DEGRADATIONS[name].gentlest
    assert torch.equal(damaged(name, x, gentlest), x)
    assert torch.equal(damaged(name, x, torch.full((3,), gentlest)), x)


@pytest.mark.parametrize("name", NAMES)
def test_one_strength_for_all_equals_the_same_strength_for_each(name: str) -> None:
    x = pictures(3, 3, 16, 16)
    each = torch.full((3,), DEGRADATIONS[name].default, dtype=torch.float64)
    torch.testing.assert_close(damaged(name, x, each), damaged(name, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if DEGRADATIONS[name].gentlest is not None]
)
def test_each_picture_has_its_own_strength(name: str) -> None:
    x = pictures(2, 3, 32, 32)
    result = damaged(name, x, torch.tensor([0.0, 0.9]))
    assert torch.equal(result[0], x[0])
    assert not torch.equal(result[1], x[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_consistent(name: str) -> None:
    entry = DEGRADATIONS[name]
    assert entry.low <= entry.default <= entry.high
    assert entry.about
    assert entry.gentlest is None or entry.gentlest == entry.low


# Moments against the formulas; 160,000 samples put the standard error of a variance at 0.35 %.


def moments(x: torch.Tensor) -> tuple[float, float]:
    return float(x.double().mean()), float(x.double().var())


@pytest.mark.parametrize("sigma", [5 / 255, 25 / 255, 0.4])
def test_gaussian_has_its_mean_and_variance_and_agrees_with_scikit_image(sigma: float) -> None:
    mean, variance = moments(degrade.gaussian(flat(), sigma, generator=seeded()))
    outside = random_noise(flat()[0, 0].numpy(), "gaussian", rng=0, var=sigma**2, clip=False)
    assert mean == pytest.approx(LEVEL, abs=4 * sigma / 400)
    assert variance == pytest.approx(sigma**2, rel=0.02)
    assert variance == pytest.approx(outside.var(), rel=0.03)


def test_gaussian_is_not_clipped() -> None:
    result = degrade.gaussian(flat(0.0), 0.4, generator=seeded())
    assert float(result.min()) < -1
    assert float(result.mean()) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("amount", [0.01, 0.3, 1.0])
def test_salt_and_pepper_strike_the_fraction_asked_half_each(amount: float) -> None:
    result = degrade.salt_pepper(flat(), amount, generator=seeded())
    outside = random_noise(flat()[0, 0].numpy(), "s&p", rng=0, amount=amount)
    slack = 4 * math.sqrt(amount / 2 / 400**2)
    for value in (0.0, 1.0):
        share = float((result == value).float().mean())
        assert share == pytest.approx(amount / 2, abs=slack)
        assert share == pytest.approx((outside == value).mean(), abs=2 * slack)
    untouched = float((result == LEVEL).float().mean())
    assert untouched == pytest.approx(1 - amount, abs=2 * slack)


@pytest.mark.parametrize("name", ["salt_pepper", "mask", "mask_blocks"])
def test_a_pixel_is_struck_in_all_its_channels(name: str) -> None:
    x = torch.full((2, 3, 64, 64), LEVEL)
    struck = damaged(name, x, 0.5) != LEVEL
    assert torch.equal(struck.any(1), struck.all(1))
    assert bool(struck.any())


@pytest.mark.parametrize("peak", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("level", [0.05, 1.0])
def test_poisson_has_the_mean_of_the_picture_and_variance_over_peak(level, peak) -> None:
    result = degrade.poisson(flat(level), peak, generator=seeded())
    mean, variance = moments(result)
    assert mean == pytest.approx(level, abs=4 * math.sqrt(level / peak) / 400)
    assert variance == pytest.approx(level / peak, rel=0.03)
    counts = result.double() * peak
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-2)


def test_poisson_takes_values_below_zero_as_dark() -> None:
    assert float(degrade.poisson(flat(-0.3, 8), 30, generator=seeded()).abs().sum()) == 0


def test_speckle_has_the_variance_of_the_product_and_agrees_with_scikit_image() -> None:
    mean, variance = moments(degrade.speckle(flat(), 0.2, generator=seeded()))
    outside = random_noise(flat()[0, 0].numpy(), "speckle", rng=0, var=0.2**2, clip=False)
    assert mean == pytest.approx(LEVEL, abs=0.001)
    assert variance == pytest.approx((LEVEL * 0.2) ** 2, rel=0.02)
    assert variance == pytest.approx(outside.var(), rel=0.03)


@pytest.mark.parametrize("level", [0.0, 0.1, 0.8])
def test_rician_has_the_moments_of_the_rice_distribution(level: float) -> None:
    sigma = 0.1
    result = degrade.rician(flat(level), sigma, generator=seeded()).double()
    # scipy's parametrisation: b = nu / sigma.
    from scipy.stats import rice

    expected = rice(level / sigma, scale=sigma)
    assert float(result.min()) >= 0
    assert float(result.mean()) == pytest.approx(expected.mean(), rel=0.005)
    assert float(result.var()) == pytest.approx(expected.var(), rel=0.02)
    assert float((result**2).mean()) == pytest.approx(level**2 + 2 * sigma**2, rel=0.01)


@settings(deadline=None, max_examples=40)
@given(
    sigma=st.floats(0, 6),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_blur_agrees_with_scipy(sigma: float, height: int, width: int, seed: int) -> None:
    x = pictures(2, 3, height, width, seed=seed)
    expected = gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="reflect")
    np.testing.assert_allclose(degrade.blur(x, sigma).numpy(), expected, atol=2e-6)


def test_blur_does_not_depend_on_the_neighbours_in_the_batch() -> None:
    x = pictures(3, 1, 20, 20)
    sigmas = torch.tensor([0.0, 1.0, 4.0])
    together = degrade.blur(x, sigmas)
    for index, sigma in enumerate(sigmas.tolist()):
        alone = degrade.blur(x[index : index + 1], sigma)[0]
        torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [1, 30, 100])
def test_jpeg_is_what_pillow_writes(scene: np.ndarray, channels: int, quality: int) -> None:
    samples = scene[..., :channels]
    stream = io.BytesIO()
    picture = Image.fromarray(samples[..., 0] if channels == 1 else samples)
    picture.save(stream, "JPEG", quality=quality)
    expected = np.asarray(Image.open(stream)).reshape(samples.shape) / np.float32(255)
    x = torch.from_numpy(samples / np.float32(255)).permute(2, 0, 1)[None]
    result = degrade.jpeg(x, quality)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-7)


def test_jpeg_refuses_channels_that_it_cannot_hold() -> None:
    with pytest.raises(OptionError, match="1 or 3 channels, not 2"):
        degrade.jpeg(torch.zeros(1, 2, 8, 8), 50)


def test_masks_hide_the_fraction_asked() -> None:
    x = torch.ones(40, 1, 50, 60)
    for fraction in (0.1, 0.5):
        lost = 1 - float(degrade.pixels(x, fraction, generator=seeded()).mean())
        assert lost == pytest.approx(fraction, abs=0.01)
        lost = 1 - float(degrade.blocks(x, fraction, generator=seeded()).mean())
        assert lost == pytest.approx(fraction, abs=0.04)


def test_blocks_are_squares_of_the_size_asked() -> None:
    holes = degrade.blocks(torch.ones(1, 1, 96, 96), 0.2, size=8, generator=seeded(3))[0, 0] == 0
    # Runs of missing pixels inside the picture are whole blocks long.
    for line in (*holes.int(), *holes.T.int()):
        edges = torch.diff(line).nonzero().flatten()
        assert all(int(gap) % 8 == 0 for gap in torch.diff(edges))


@settings(deadline=None, max_examples=40)
@given(side=st.floats(0, 1), height=st.integers(1, 30), width=st.integers(1, 30))
def test_the_hole_in_the_middle_is_centred_and_of_the_size_asked(side, height, width) -> None:
    holes = degrade.centre(torch.ones(1, 1, height, width), side)[0, 0] == 0
    assert abs(int(holes.any(1).sum()) - side * height) <= 0.5 + 1e-4 or not holes.any()
    if holes.any():
        rows, columns = holes.nonzero().unbind(1)
        assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert 0 <= (height - 1 - int(rows.max())) - int(rows.min()) <= 1
        assert 0 <= (width - 1 - int(columns.max())) - int(columns.min()) <= 1


def test_half_a_side_hides_a_quarter() -> None:
    assert float(degrade.centre(torch.ones(1, 3, 32, 32), 0.5).mean()) == 0.75


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_cpu_generator_gives_the_same_picture_on_the_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x = pictures(2, 3, 32, 32)
    there = damaged(name, x.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), damaged(name, x), rtol=0, atol=1e-5)


# Cameras


def change(name: str, x: torch.Tensor, sigma: float, seed: int = 0) -> torch.Tensor:
    return damaged(name, x, sigma, seed) - x


def test_camera_noise_follows_the_law_of_photons_in_raw_light() -> None:
    # In grey, whatever the white balance, raw light doubles where light does, and so does variance.
    light = (0.5, 0.25)
    found = []
    for level in light:
        x = flat(level ** (1 / 2.2)).expand(1, 3, -1, -1)
        y = damaged("camera", x, 0.02)
        found.append(float((y.clamp(min=0) ** 2.2)[:, 1].var()))
    assert found[0] / found[1] == pytest.approx(2, rel=0.05)


def test_camera_noise_is_smooth_over_the_mosaic_and_differs_between_colours() -> None:
    noise = change("camera", flat(0.5).expand(1, 3, -1, -1), 0.05)[0]
    for colour in noise:
        neighbours = torch.corrcoef(torch.stack([colour[:, 1:].ravel(), colour[:, :-1].ravel()]))
        assert float(neighbours[0, 1]) > 0.15
    red, green, blue = (float(colour.std()) for colour in noise)
    assert min(red, blue) > green


def test_camera_noise_begins_at_any_cell_of_the_mosaic() -> None:
    # Between red cells noise is averaged: the quarter of the places with the largest variance.
    seen = set()
    for seed in range(24):
        red = change("camera", flat(0.5, 64).expand(1, 3, -1, -1), 0.02, seed)[0, 0]
        quarters = {(i, j): float(red[i::2, j::2].var()) for i in (0, 1) for j in (0, 1)}
        seen.add(max(quarters, key=lambda place: quarters[place]))
    assert len(seen) == 4


def test_camera_refuses_what_has_no_colours() -> None:
    with pytest.raises(OptionError, match="1 or 3 channels, not 2"):
        damaged("camera", torch.rand(1, 2, 8, 8))


@pytest.mark.parametrize("seed", range(4))
def test_grain_has_the_strength_that_was_asked_for_up_to_the_edges(seed: int) -> None:
    noise = change("grain", flat().expand(1, 3, -1, -1), 0.1, seed)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    edges = torch.cat([noise[..., 0, :], noise[..., -1, :], noise[..., 0], noise[..., -1]], -1)
    assert float(edges.std()) == pytest.approx(0.1, rel=0.15)


def test_grain_is_correlated_in_space_and_differently_in_each_picture() -> None:
    noise = change("grain", torch.full((32, 1, 64, 64), LEVEL), 0.1)
    pairs = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    assert float(pairs.min()) < 0.3
    assert float(pairs.max()) > 0.7


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_noise_of_a_scanner_has_the_moments_of_rician_noise_and_blots(level: float) -> None:
    sigma = 0.1
    result = degrade.mri(torch.full((32, 1, 64, 64), level), sigma, generator=seeded()).double()
    assert float(result.min()) >= 0
    # E y^2 = x^2 + 2 sigma^2 whatever the blots.
    assert float(result.square().mean()) == pytest.approx(level**2 + 2 * sigma**2, rel=0.02)
    if level == 0:
        assert float(result.mean()) == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.02)
    noise = result - result.mean((1, 2, 3), keepdim=True)
    pairs = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    assert float(pairs.min()) < 0.15
    assert float(pairs.max()) > 0.45
