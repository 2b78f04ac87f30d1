"""Promises of shown filters and maps: they are the network's own, for every model there is."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402 (after the skip)

from pellucid.learn.models import MODELS, create  # noqa: E402
from pellucid.uses.features import features, grid  # noqa: E402


@pytest.fixture
def picture() -> np.ndarray:
    y, x = np.mgrid[0:32, 0:24]
    return ((x > 11) * 200 + 2 * y)[..., None].astype(np.uint8)


def test_filters_and_maps_are_the_networks_own(picture: np.ndarray) -> None:
    torch.manual_seed(0)
    model = create("conv", channels=(4, 6), down="stride", activation="silu")
    found = features(model, picture)
    first = model.encoder[0].layers[0]
    assert np.array_equal(found.filters, first.weight.detach().numpy())
    image = torch.from_numpy(found.picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        one = model.encoder[0](image)[0]
        two = model.encoder[1](one)[0]
    assert [level.maps.shape for level in found.levels] == [(4, 16, 12), (6, 8, 6)]
    np.testing.assert_allclose(found.levels[0].maps, one[0], atol=1e-6)
    np.testing.assert_allclose(found.levels[1].maps, two[0], atol=1e-6)
    assert found.code is None


def test_an_activation_in_place_does_not_change_what_was_heard_before(picture: np.ndarray) -> None:
    torch.manual_seed(0)
    model = create("conv", channels=(4,), down="max", activation="relu")
    found = features(model, picture)
    image = torch.from_numpy(found.picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        before = model.encoder[0].layers[0](image)
    np.testing.assert_allclose(found.levels[0].maps, before[0], atol=1e-6)
    assert found.levels[0].maps.min() < 0
    assert found.levels[1].maps.min() >= 0


def test_an_edge_filter_finds_the_edge(picture: np.ndarray) -> None:
    model = create("conv", channels=(2,), down="stride")
    with torch.no_grad():
        convolution = model.encoder[0].layers[0]
        convolution.weight.zero_()
        convolution.weight[0, 0, 1] = torch.tensor([-1.0, 0.0, 1.0])
    level = features(model, picture).levels[-1]
    assert level.silent == 1
    assert level.liveliest == [0, 1]
    found = level.maps[0, 2:-2, 2:-2].mean(0)
    assert 2 * (2 + found.argmax()) in (10, 12)


def test_filters_on_unshuffled_pixels_are_shown_as_the_picture_sees_them() -> None:
    torch.manual_seed(0)
    model = create("unet", channels=(4, 6), blocks=1, unshuffle=2, image_channels=3)
    found = features(model, np.zeros((16, 16, 3), np.uint8))
    assert found.filters.shape == (4, 3, 6, 6)
    first = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    image = torch.rand(1, 3, 16, 16)
    expected = F.conv2d(F.pixel_unshuffle(image, 2), first.weight, padding=1)
    shown = F.conv2d(image, torch.from_numpy(found.filters), stride=2, padding=2)
    torch.testing.assert_close(shown, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_every_model_shows_levels_that_grow_coarser(kind: str, picture: np.ndarray) -> None:
    found = features(create(kind), picture)
    sizes = [level.maps[0].size for level in found.levels]
    assert sizes == sorted(set(sizes), reverse=True)
    assert len(sizes) >= 2
    shown = grid(found)
    assert len(shown.cells) == len(shown.rows)


def test_the_grid_is_pictures_of_one_size(picture: np.ndarray) -> None:
    torch.manual_seed(0)
    found = features(create("conv", channels=(16, 20), code_size=7, image_size=(32, 24)), picture)
    assert found.code is not None
    shown = grid(found, columns=5)
    assert shown.rows[0] == "picture"
    assert shown.rows[1] == "filters 3x3: 5 of 16"
    assert shown.rows[-1] == "code: 7 numbers"
    assert [len(line) for line in shown.cells] == [1, 5, 5, 5, 5, 1]
    for line in (shown.cells[0], *shown.cells[2:-1]):
        assert {cell.shape[:2] for cell in line} == {(96, 72)}
    for cell in (cell for line in shown.cells for cell in line):
        assert cell.min() >= 0
        assert cell.max() <= 1


def test_a_picture_is_brought_to_the_model(scene: np.ndarray) -> None:
    assert features(create("conv", channels=(4,)), scene).picture.shape == (48, 64, 1)
    bound = create("conv", channels=(4,), code_size=3, image_size=16, image_channels=3)
    assert features(bound, scene).picture.shape == (16, 16, 3)
    large = np.zeros((700, 600, 1), np.uint8)
    assert features(create("conv", channels=(2,)), large).picture.shape == (512, 512, 1)


def test_the_model_is_left_as_it_was(picture: np.ndarray) -> None:
    model = create("conv", channels=(4,), norm="batch").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features(model, picture)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
