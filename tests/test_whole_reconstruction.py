"""Promises of learn/whole_reconstruction.py: another kind of picture is stranger than its own."""

from __future__ import annotations

import pytest
import torch

from pellucid.errors import OptionError
from pellucid.learn.whole_reconstruction import CELLS, WholeReconstruction


def views(count: int, *, seed: int, kind: int = 0, channels: int = 12) -> list[torch.Tensor]:
    """Bent sheets of two dimensions in all the features; another sheet for each kind."""
    chance = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, channels * CELLS**2, generator=torch.Generator().manual_seed(kind))
    flat = torch.rand(count, 2, generator=chance) * 4 - 2
    bent = (
        torch.cat(
            (
                flat,
                flat.sin() * 2,
            ),
            1,
        )
        @ mixing
    )
    noisy = bent + 0.05 * torch.randn(bent.shape, generator=chance)
    return [row.view(channels, CELLS, CELLS).half() for row in noisy]


def fitted(seed: int = 0, steps: int = 200) -> WholeReconstruction:
    made = WholeReconstruction(channels=12, code=2)
    made.fit(views(300, seed=1), steps=steps, seed=seed)
    made.learn_ordinary(views(300, seed=1))
    return made.eval()


def test_another_kind_is_stranger_than_its_own() -> None:
    made = fitted()
    own = torch.cat([made.strangeness(view) for view in views(100, seed=2)])
    others = torch.cat([made.strangeness(view) for view in views(100, seed=2, kind=5)])
    assert own.shape == (100, 1)
    assert float(own.quantile(0.95)) < float(others.quantile(0.05))
    # Most of its own are within the ordinary, which ends at 1.
    assert 0.85 < float((own < 1).float().mean()) <= 1


def test_a_narrow_code_leaves_less_than_the_plane_of_as_many_dimensions() -> None:
    made = fitted(steps=600)
    seen, asked = views(300, seed=1), views(100, seed=2)
    with torch.no_grad():
        left = torch.stack([made.error(view.float()) for view in asked]).mean()
    rows, other = (torch.stack([v.float().flatten() for v in part]) for part in (seen, asked))
    mean, deviation = rows.mean(0), rows.std(0, correction=0)
    _, _, axes = torch.linalg.svd((rows - mean) / deviation, full_matrices=False)
    z = (other - mean) / deviation
    plane = (z - z @ axes[:2].T @ axes[:2]).square().mean()
    assert float(left) < 0.8 * float(plane)


def test_a_seed_decides_all() -> None:
    one, same, other = fitted(), fitted(), fitted(seed=3)
    view = views(1, seed=9)[0].float()
    assert torch.equal(one.error(view), same.error(view))
    assert not torch.equal(one.error(view), other.error(view))


@pytest.mark.parametrize("code", [0, 48])
def test_a_code_that_is_none_is_refused(code: int) -> None:
    with pytest.raises(OptionError, match="from 1 to 47"):
        WholeReconstruction(channels=12, code=code)
