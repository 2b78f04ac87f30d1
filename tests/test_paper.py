"""Promises of learn/paper.py: each spoils a page as its kind does, and no letter moves."""

from __future__ import annotations

import pytest
import torch

from pellucid.learn import paper
from pellucid.learn.degrade import DEGRADATIONS

DARKENING = ("stain", "shade", "bleed", "paper")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def page(channels: int = 1, side: int = 256) -> torch.Tensor:
    """Black lines of "words" on white."""
    x = torch.ones(2, channels, side, side)
    for top in range(20, side - 20, 30):
        for left in range(15, side - 40, 40):
            x[:, :, top : top + 10, left : left + 30 : 4] = 0.1
            x[:, :, top : top + 2, left : left + 30] = 0.1
    return x


def damaged(name: str, x: torch.Tensor, strength: float | None = None, seed: int = 0):
    entry = DEGRADATIONS[name]
    return entry.function(x, strength or entry.default, generator=seeded(seed))


@pytest.mark.parametrize("name", DARKENING)
@pytest.mark.parametrize("channels", [1, 3])
def test_paper_only_darkens_and_by_no_more_than_its_depth(name: str, channels: int) -> None:
    x = page(channels)
    for seed in range(4):
        result = damaged(name, x, 0.5, seed)
        assert (result <= x).all()
        assert (result >= 0.5 * x - 1e-6).all()
        assert (x - result).max() > 0.08


@pytest.mark.parametrize("name", ["stain", "shade", "fold", "streaks", "paper", "bilevel"])
def test_letters_stay_darker_than_the_paper_round_them(name: str) -> None:
    x = page()
    result = damaged(name, x)
    ink = x < 0.5
    level = torch.nn.functional.avg_pool2d(result, 21, 1, 10, count_include_pad=False)
    assert (result < level)[ink].float().mean() > 0.95


def test_brown_stains_and_yellow_paper_take_blue_first() -> None:
    for name in ("stain", "paper"):
        lost = (1 - damaged(name, torch.ones(2, 3, 200, 200))).mean(dim=(0, 2, 3))
        assert lost[0] < lost[1] < lost[2]


def test_a_stain_has_a_rim_and_leaves_most_of_a_page_alone() -> None:
    lost = 1 - paper.stain(torch.ones(40, 1, 400, 400), 0.8, generator=seeded())
    assert 0.3 < (lost < 0.01).float().mean() < 0.95
    assert lost.max() > 0.4


def test_shade_is_smooth_and_paper_is_rough() -> None:
    blank = torch.ones(8, 1, 200, 200)
    steps = [damaged(name, blank, 0.5).diff(dim=3).abs().mean() for name in ("shade", "paper")]
    assert steps[0] < steps[1] / 3


def test_fading_lightens_ink_only_and_breaks_it() -> None:
    x = page()
    result = paper.fade(x, 0.9, generator=seeded())
    assert (result >= x).all()
    assert torch.equal(result[x == 1], x[x == 1])
    ink = result[x < 0.5]
    assert ink.std() > 0.1
    assert (ink > 0.8).float().mean() > 0.02


def test_what_bleeds_through_is_the_page_in_a_mirror() -> None:
    x = torch.ones(1, 1, 64, 64)
    x[..., 10:50, 20:24] = 0
    x[..., 10:14, 20:40] = 0  # an F of sorts: its mirror image looks to the left
    back = (1 - paper.bleed(x, 1.0, generator=seeded()) / x.clamp(min=1e-3))[x == 1]
    assert back.max() > 0.3
    blank = torch.ones(1, 1, 64, 64)
    assert torch.equal(paper.bleed(blank, 1.0, generator=seeded()), blank)


def test_a_fold_has_a_dark_and_a_light_side() -> None:
    light = paper.fold(torch.ones(8, 1, 200, 200), 0.8, generator=seeded())
    assert light.min() < 0.6
    assert 1.02 < light.max() <= 1.2 + 1e-6
    assert (light - 1).abs().median() < 0.02


def test_streaks_run_from_top_to_bottom() -> None:
    x = torch.full((2, 1, 50, 300), 0.7)
    result = paper.streaks(x, 0.3, generator=seeded())
    assert torch.equal(result, result[:, :, :1].expand_as(result))
    assert result[:, :, 0].std() > 0.01


def test_a_scan_of_one_bit_is_a_threshold() -> None:
    x = torch.rand(2, 3, 20, 20, generator=seeded())
    result = paper.bilevel(x, torch.tensor([0.3, 0.6]))
    assert result.unique().tolist() == [0, 1]
    assert torch.equal(result[0, 0] == 1, x[0].mean(0) >= 0.3)
    assert torch.equal(result[1, 2] == 1, x[1].mean(0) >= 0.6)


@pytest.mark.parametrize("cell", [1, 3, 40, 160])
def test_clouds_are_even_over_the_page_and_as_wide_as_was_asked(cell: int) -> None:
    clouds = paper._clouds(torch.ones(200, 1, 30, 90), cell, seeded())
    assert clouds.shape == (200, 1, 30, 90)
    assert clouds.min() >= 0
    assert clouds.max() <= 1
    assert abs(float(clouds.mean()) - 0.5) < 0.05
    # No place of the page is rougher or smoother than another, as a fixed grid would make it.
    spread = clouds.std(dim=0)
    assert spread.max() < 2 * spread.min()
    assert float(clouds.diff(dim=3).abs().mean()) < 1 / cell
