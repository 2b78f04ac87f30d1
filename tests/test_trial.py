"""Promises of report/trial.py: each picture damaged by itself, the same each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.learn.damage import parse
from pellucid.learn.pictures import Pictures
from pellucid.report.trial import BATCH_IMAGES, BATCH_PIXELS, Trial, picture, spread, tensor


def trial(*sizes: tuple[int, int], damage: str | None = "gaussian:0.1", **changes) -> Trial:
    chance = np.random.default_rng(0)
    clean = [chance.integers(0, 256, (*size, 1), dtype=np.uint8) for size in sizes]
    damaged = [255 - array for array in clean] if damage is None else None
    given = {"clip": True, "seed": 0} | changes
    pictures = Pictures.from_arrays(clean, damaged)
    return Trial(pictures, None if damage is None else parse(damage), **given)


def test_a_picture_is_damaged_the_same_each_time_and_unlike_its_neighbour():
    one = trial((8, 8), (8, 8))
    assert torch.equal(one.pair(1).damaged, one.pair(1).damaged)
    noise = [one.pair(i).damaged - one.pair(i).clean for i in (0, 1)]
    assert not torch.equal(*noise)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    trial((8, 8), damage="gaussian:0..0.2+salt_pepper:0.1").pair(0)
    assert torch.equal(before, torch.get_rng_state())


def test_clipping_follows_the_option():
    wild = trial((16, 16), damage="gaussian:0.9", clip=False).pair(0)
    tame = trial((16, 16), damage="gaussian:0.9").pair(0)
    assert wild.damaged.min() < 0
    assert torch.equal(wild.damaged.clamp(0, 1), tame.damaged)


def test_published_noise_is_the_same_for_every_picture_of_a_size():
    one = trial((8, 9), (8, 9), damage="gaussian:15/255", clip=False, published=True)
    noise = [one.pair(i).damaged - one.pair(i).clean for i in (0, 1)]
    assert noise[0] == pytest.approx(noise[1], abs=1e-6)
    expected = np.random.RandomState(0).normal(0, 15 / 255, (8, 9))
    assert noise[0][0, 0].numpy() == pytest.approx(expected, abs=1e-6)
    assert one.sigma(one.pair(0)) == 15 / 255


def test_the_clean_picture_is_never_handed_out_as_the_damaged_one():
    for damage in ("none", "gaussian:0", "blur:0", "salt_pepper:0"):
        pair = trial((8, 8), damage=damage).pair(0)
        assert torch.equal(pair.damaged, pair.clean)
        assert pair.damaged.data_ptr() != pair.clean.data_ptr()


def test_pairs_bring_their_own_damage_and_no_level():
    own = trial((8, 8), damage=None)
    pair = own.pair(0)
    assert pair.damaged == pytest.approx(1 - pair.clean, abs=1e-6)
    assert own.sigma(pair) is None


@pytest.mark.parametrize(
    ("damage", "known"),
    [
        ("gaussian:0.1", True),
        ("gaussian:0..0.1", True),
        ("rician:0.1", False),
        ("none", False),
        ("gaussian:0.1+blur:1", False),
    ],
)
def test_a_level_is_known_for_gaussian_noise_alone(damage, known):
    one = trial((8, 8), damage=damage)
    pair = one.pair(0)
    assert one.sigma(pair) == (pytest.approx(pair.strengths[0]) if known else None)


def test_batches_hold_every_index_once_and_one_size_each():
    large = (600, 900)
    one = trial((8, 8), large, (8, 8), (8, 9), large, large)
    batches = list(one.batches(range(6)))
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    for batch in batches:
        sizes = {tuple(one.pictures.sizes[i].tolist()) for i in batch}
        assert len(sizes) == 1
        ((height, width),) = sizes
        assert len(batch) == 1 or len(batch) * height * width <= BATCH_PIXELS
    assert len(next(iter(trial(*[(2, 2)] * 300).batches(range(300))))) == BATCH_IMAGES


def test_a_blind_strength_is_told_for_each_picture():
    blind = trial((8, 9), damage="gaussian:0.1..0.2")
    told = blind.told(0, blind.pair(0))
    assert 0.1 <= told["strengths"][0] <= 0.2
    assert (told["height"], told["width"], told["path"]) == (8, 9, None)
    fixed = trial((8, 9))
    assert "strengths" not in fixed.told(0, fixed.pair(0))


@pytest.mark.parametrize(
    ("total", "most", "expected"),
    [(4, None, [0, 1, 2, 3]), (4, 9, [0, 1, 2, 3]), (10, 2, [0, 5]), (10, 3, [0, 3, 6])],
)
def test_a_few_are_spread_over_all(total, most, expected):
    assert spread(total, most) == expected


def test_pictures_and_tensors_are_each_others_inverse():
    array = np.random.default_rng(0).random((5, 7, 3), dtype=np.float32)
    assert np.array_equal(picture(tensor(array)), array)
