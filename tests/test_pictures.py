"""Crops are windows of the pictures, mirrored and turned, each from a place of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.errors import DataError
from pellucid.learn.pictures import Pictures


def numbered(*sizes: tuple[int, int], channels: int = 3) -> Pictures:
    """Pictures no two values of which are alike, so that a value tells where it came from."""
    made, first = [], 0
    for high, wide in sizes:
        values = first + np.arange(high * wide * channels, dtype=np.float32)
        made.append(values.reshape(high, wide, channels))
        first += values.size
    return Pictures.from_arrays(made)


def turns(crop: Tensor) -> list[Tensor]:
    """The eight views of a crop (C, H, W)."""
    both = (crop, crop.transpose(1, 2))
    return [part.flip(axes) for part in both for axes in ([], [1], [2], [1, 2])]


def window_of(view: Tensor, picture: Tensor) -> bool:
    """Whether a view is a window of a picture, to the last value."""
    place = (picture[0] == view[0, 0, 0]).nonzero()
    if len(place) == 0:
        return False
    (top, left), (high, wide) = place[0].tolist(), view.shape[1:]
    return torch.equal(picture[:, top : top + high, left : left + wide], view)


SIZES = ((9, 14), (20, 8), (8, 8), (11, 12))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, (6, 8), (8, 5)])
def test_every_crop_is_a_window_of_its_picture_in_one_of_eight_views(
    size: int | tuple[int, int], channels: int
) -> None:
    data = numbered(*SIZES, channels=channels)
    chosen = torch.tensor([3, 0, 1, 1, 2, 0] * 20)
    cut = data.crops(chosen, size, generator=torch.Generator().manual_seed(0))[0]
    seen = set()
    for index, crop in zip(chosen.tolist(), cut, strict=True):
        fits = [window_of(view, data.image(index)[0]) for view in turns(crop)]
        assert sum(fits) == 1
        seen.add(fits.index(True))
    # What is not square is not turned, nor upside down.
    assert seen == (set(range(8)) if isinstance(size, int) else {0, 2})


def test_upright_crops_come_from_every_place() -> None:
    data = numbered((9, 10))
    chosen = torch.zeros(200, dtype=torch.int64)
    chance = torch.Generator().manual_seed(1)
    cut = data.crops(chosen, 8, generator=chance, flipped=False)[0]
    assert all(window_of(crop, data.image(0)[0]) for crop in cut)
    assert len({float(crop[0, 0, 0]) for crop in cut}) == 2 * 3


def test_without_chance_crops_are_central_and_upright() -> None:
    data = numbered(*SIZES)
    cut = data.crops(torch.tensor([1, 3]), 6)[0]
    assert torch.equal(cut[0], data.image(1)[0, :, 7:13, 1:7])
    assert torch.equal(cut[1], data.image(3)[0, :, 2:8, 3:9])


def test_partners_are_cut_alike() -> None:
    clean = numbered(*SIZES)
    arrays = [clean.image(i)[0].permute(1, 2, 0).numpy() for i in range(len(clean))]
    data = Pictures.from_arrays(arrays, [array + 0.5 for array in arrays])
    cut, partners = data.crops(torch.arange(4), 7, generator=torch.Generator().manual_seed(2))
    assert partners is not None
    assert torch.equal(cut + 0.5, partners)


def test_a_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="9x9 do not fit into the smallest picture"):
        numbered(*SIZES).crops(torch.arange(4), 9)
