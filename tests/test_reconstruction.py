"""What is learnt from the views of good pictures, and how strange others are."""

from __future__ import annotations

import pytest
import torch

from pellucid.errors import OptionError
from pellucid.learn.reconstruction import (
    PLACES,
    FeatureReconstruction,
    Reconstruction,
    windows,
)


def views(count: int = 12, channels: int = 10, seed: int = 0) -> list[torch.Tensor]:
    """Correlated features of several sizes: ten made of three."""
    chance = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, 3, generator=torch.Generator().manual_seed(99))
    found = []
    for i in range(count):
        inner = torch.randn(3, 9 + i % 3, 11 + i % 2, generator=chance)
        view = torch.einsum("ck,khw->chw", mixing, inner)
        found.append((5 + view + 0.1 * torch.randn(view.shape, generator=chance)).half())
    return found


def fitted(code: int = 0, steps: int = 1) -> FeatureReconstruction:
    made = FeatureReconstruction(channels=10, code=code)
    made.fit(views(), steps=steps, seed=0)
    made.learn_ordinary(views())
    return made.eval()


def test_without_an_autoencoder_the_error_is_the_mahalanobis_distance() -> None:
    made = FeatureReconstruction(channels=10, code=0)
    made.fit(views(), steps=1, seed=0)
    rows = torch.cat([view.double().flatten(1) for view in views()], 1)
    mean = rows.mean(1, keepdim=True)
    covariance = (rows - mean) @ (rows - mean).T / rows.shape[1]
    deviation = covariance.diagonal().sqrt()
    correlation = covariance / deviation[:, None] / deviation[None]
    correlation = correlation + 1e-3 * torch.eye(10)
    view = views(1, seed=7)[0]
    z = (view.double().flatten(1) - mean) / deviation[:, None]
    expected = (z * torch.linalg.solve(correlation, z)).mean(0).view(view.shape[1:])
    torch.testing.assert_close(made.error(view.float()).double(), expected, rtol=2e-3, atol=2e-3)
    # On average each direction has left its own deviation, but for the ridge.
    ours = torch.cat([made.error(one.float()).flatten() for one in views()])
    assert 0.8 < float(ours.mean()) <= 1.01


@pytest.mark.parametrize(("code", "steps"), [(0, 1), (3, 60)])
def test_what_breaks_a_pattern_is_strange_though_no_value_is(code: int, steps: int) -> None:
    made = fitted(code, steps)
    view = views(1, seed=5)[0]
    usual = made.strangeness(view)
    spoilt = view.clone()
    # Each feature stays within its range; only their agreement is gone.
    spoilt[:, 4, 6] = view[:, 4, 6].flip(0)
    strange = made.strangeness(spoilt)
    assert float(strange[4, 6]) > 3 * float(usual.max())
    assert float((strange - usual).abs()[:2].max()) < 0.2 * float(strange[4, 6])


def test_what_is_ordinary_at_a_place_is_not_strange_there() -> None:
    class Edges(Reconstruction):
        def error(self, view: torch.Tensor) -> torch.Tensor:
            return view[0]

    edges = torch.full((1, 40, 40), 1.0)
    edges[:, :3] = 50.0
    made = Edges()
    made.learn_ordinary([edges * (1 + 0.01 * i) for i in range(40)])
    found = made.strangeness(edges)
    assert float(edges.max() / edges.min()) == 50
    assert float(found[0].mean()) < 3 * float(found[20].mean())
    # At another size, too.
    larger = torch.nn.functional.interpolate(edges[None], size=(80, 70))[0]
    assert float(made.strangeness(larger)[0].mean()) < 3 * float(found[20].mean())
    assert made.ordinary.shape == (PLACES, PLACES)


def test_pictures_without_any_error_divide_by_nothing() -> None:
    made = FeatureReconstruction(channels=10, code=0)
    flat = [torch.ones(10, 8, 8).half()] * 5
    made.fit(flat, steps=1, seed=0)
    made.learn_ordinary(flat)
    assert bool(torch.isfinite(made.strangeness(flat[0])).all())
    assert bool(torch.isfinite(made.strangeness(2 * flat[0])).all())


def test_training_reconstructs_better_than_nothing_and_the_seed_decides() -> None:
    made = fitted(code=3, steps=80)
    with torch.no_grad():
        left = torch.cat([made.residual(view.float()).flatten() for view in views(4, seed=3)])
    assert float(left.square().mean()) < 0.9  # standardised features have 1
    again, other = fitted(code=3, steps=80), FeatureReconstruction(channels=10, code=3)
    other.fit(views(), steps=80, seed=1)
    assert all(
        torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True)
    )
    weights = dict(other.named_parameters())
    assert not all(torch.equal(value, weights[name]) for name, value in made.named_parameters())


def test_fitting_leaves_the_global_chance_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    FeatureReconstruction(channels=10, code=3).fit(views(), steps=1, seed=0)
    made = torch.get_rng_state()
    torch.set_rng_state(before)
    FeatureReconstruction(channels=10, code=3)  # its first weights alone
    assert torch.equal(torch.get_rng_state(), made)


def test_windows_are_cut_from_everywhere_and_fit_the_smallest() -> None:
    large, small = torch.arange(400.0).view(1, 20, 20), torch.zeros(1, 5, 30)
    batches = windows([large, small], 8, 64, torch.Generator().manual_seed(0))
    batch = next(batches)
    assert batch.shape == (64, 1, 5, 8)
    corners = batch[:, 0, 0, 0]
    assert float(corners.min()) == 0
    assert len(corners[corners > 0].unique()) > 15
    assert float(batch.max()) <= 399


@pytest.mark.parametrize("code", [-1, 10, 11])
def test_codes_that_are_not_narrow_are_refused(code: int) -> None:
    with pytest.raises(OptionError, match="it takes from 1 to 9"):
        FeatureReconstruction(channels=10, code=code)
