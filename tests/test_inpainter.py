"""The network that fills holes: known pixels to the last bit, and holes told from black."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid.errors import DataError
from pellucid.learn import datasets
from pellucid.learn.damage import parse
from pellucid.learn.degrade import DEGRADATIONS
from pellucid.learn.models import create
from pellucid.learn.models.inpainter import spread
from pellucid.learn.recipes import Train
from pellucid.learn.training import train
from pellucid.report.evaluate import evaluate

HOLES = [name for name, entry in DEGRADATIONS.items() if entry.holes]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_known_pixels_stay_to_the_last_bit(channels: int, training: bool) -> None:
    torch.manual_seed(0)
    model = create("inpaint", channels=(4, 6), blocks=1, image_channels=channels).train(training)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    clean = torch.rand(2, channels, 13, 18)
    damaged = parse("mask:0.4")(clean, generator=seeded(), missing=math.nan)
    lost = torch.isnan(damaged)
    restored = model(damaged)
    assert torch.isfinite(restored).all()
    assert torch.equal(restored[~lost], clean[~lost])
    assert not torch.allclose(restored[lost], torch.full_like(restored[lost], 0.5))


def test_what_lies_under_a_hole_cannot_be_seen() -> None:
    torch.manual_seed(0)
    model = create("inpaint", channels=(4, 6), blocks=1)
    torch.nn.init.normal_(model.last.weight, std=0.2)
    one, other = torch.rand(2, 1, 1, 16, 16, generator=seeded())
    lost = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    lost[..., 4:10, 5:12] = True
    other = torch.where(lost, other, one)
    made = [model(x.masked_fill(lost, math.nan)) for x in (one, other)]
    assert torch.equal(*made)


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_marked_where_black_would_stand(name: str) -> None:
    clean = 0.5 + 0.5 * torch.rand(3, 1, 24, 24, generator=seeded(1))
    damage = parse(f"{name}+gaussian:0.02 | {name}")
    black = damage(clean, generator=seeded())
    marked = damage(clean, generator=seeded(), clip=True, missing=math.nan)
    lost = torch.isnan(marked)
    assert 0 < int(lost.sum()) < lost.numel()
    assert (black[lost].abs() < 0.2).all()
    torch.testing.assert_close(marked[~lost], black[~lost].clamp(0, 1), rtol=0, atol=0)


def test_strokes_are_more_where_more_are_asked_for_and_thin() -> None:
    strokes = DEGRADATIONS["mask_strokes"].function
    white = torch.ones(4, 1, 96, 96)
    shares = [float((strokes(white, s, generator=seeded()) == 0).float().mean()) for s in
              (0.0, 0.2, 0.6, 1.0)]  # fmt: skip
    assert shares[0] == 0
    assert shares == sorted(set(shares))
    assert shares[-1] < 0.4


def test_a_short_training_fills_better_than_the_mean() -> None:
    torch.manual_seed(0)
    data = datasets.load("digits")
    model = create("inpaint", channels=(16, 32), blocks=1, loss="mse")
    settings = Train(epochs=6, learning_rate=3e-3, batch=64)
    result = train(model, data, parse("mask:0.5"), settings, device="cpu")
    restored, lost = [], []
    for damaged, clean in _pairs(data):
        missing = torch.isnan(damaged)
        restored.append((result.model(damaged) - clean)[missing].square())
        lost.append((data.train.mean - clean)[missing].square())
    assert torch.cat(restored).mean() < 0.5 * torch.cat(lost).mean()


def _pairs(data: datasets.Dataset):
    clean = data.test.whole(torch.arange(64))[0]
    yield parse("mask:0.5")(clean, generator=seeded(3), missing=math.nan), clean


def test_damage_without_holes_teaches_nothing_and_is_refused() -> None:
    data = datasets.load("digits")
    model = create("inpaint", channels=(4, 6), blocks=1)
    for spec in ("gaussian:0.1", "none", "gaussian:0.1 | jpeg:40"):
        with pytest.raises(DataError, match="makes none; give clean pictures and a damage such as"):
            train(model, data, parse(spec), Train(epochs=1), device="cpu")
    assert parse("gaussian:0.1 | jpeg:40+mask:0.2").holes


def test_it_is_judged_on_pictures_whose_holes_are_marked() -> None:
    torch.manual_seed(0)
    model = create("inpaint", channels=(4, 6), blocks=1)
    report = evaluate(model, "digits", "mask:0.5", limit=4, baselines=["median"])
    assert all(math.isfinite(value) for value in report.damaged.values())
    assert report.restored["psnr"] > report.damaged["psnr"]  # 0.5 is nearer than black


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_first_guess_keeps_what_is_known_and_stays_between(share: float) -> None:
    clean = torch.rand(2, 3, 32, 48, generator=seeded())
    known = (torch.rand(2, 1, 32, 48, generator=seeded(1)) > share).float()
    guess = spread(clean * known, known, halvings=3)
    assert torch.equal(guess[known.expand_as(guess) == 1], clean[known.expand_as(guess) == 1])
    seen = clean[known.expand_as(clean) == 1]
    assert guess.min() >= seen.min() - 1e-6
    assert guess.max() <= seen.max() + 1e-6


def test_the_first_guess_carries_one_colour_into_a_wide_hole() -> None:
    clean = torch.tensor([0.9, 0.1, 0.3]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    known = torch.ones(1, 1, 64, 64)
    known[..., 10:54, 12:50] = 0
    torch.testing.assert_close(spread(clean * known, known, halvings=3), clean)
    nothing = torch.zeros(1, 1, 64, 64)
    torch.testing.assert_close(
        spread(clean * nothing, nothing, halvings=3), torch.full((1, 3, 64, 64), 0.5)
    )


@pytest.mark.parametrize("options", [{"channels": (4, 6)}, {"channels": (4, 6, 6), "unshuffle": 2}])
def test_no_pixel_reaches_further_than_the_halo(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create("inpaint", blocks=1, **options).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(model.last.weight, std=0.2)
    reach = model.halo
    assert reach is not None
    high = 4 * reach // model.multiple_of * model.multiple_of
    clean = torch.rand(1, 1, high, model.multiple_of, generator=seeded())
    damaged = parse("mask:0.9")(clean, generator=seeded(), missing=math.nan)
    middle = high // 2
    other = damaged.clone()
    other[..., middle, :] = 1 - clean[..., middle, :]
    damaged[..., middle, :] = clean[..., middle, :]
    with torch.inference_mode():
        changed = (model(damaged) != model(other)).any(-1).flatten().nonzero()
    assert changed.numel() > 1
    assert int((changed - middle).abs().max()) <= reach
