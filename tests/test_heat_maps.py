"""What a person sees of a map: plain where nothing is strange, red where something is."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.uses.heat_maps import LINE, outline, overlay


def test_a_good_picture_stays_as_it_is_in_greys(scene: np.ndarray) -> None:
    pixels = scene.astype(np.float32) / 255
    shown = overlay(pixels, np.full(scene.shape[:2], 0.9, np.float32), threshold=2)
    assert shown.shape == scene.shape
    assert np.abs(shown - scene.mean(axis=2, keepdims=True)).max() <= 1


def test_what_is_strange_is_red_and_has_a_line_around_it() -> None:
    pixels = np.full((40, 50, 1), 0.5, np.float32)
    strange = np.zeros((40, 50), np.float32)
    strange[10:20, 10:30] = 5
    shown = overlay(pixels, strange, threshold=2)
    red, green, blue = shown[15, 20].astype(int)
    assert red > 1.5 * green
    assert red > 1.5 * blue
    assert tuple(shown[9, 20]) == tuple(shown[15, 9]) == LINE
    assert tuple(shown[30, 40]) == (128, 128, 128)
    assert not (shown[11:19, 11:29] == LINE).all(axis=2).any()


def test_the_same_strangeness_has_the_same_colour_on_every_picture() -> None:
    strange = np.full((8, 8), 1.5, np.float32)
    pixels = np.full((8, 8, 1), 0.4, np.float32)
    alone = overlay(pixels, strange, threshold=2)
    strange[0, 0] = 50
    beside = overlay(pixels, strange, threshold=2)
    assert np.array_equal(alone[4:, 4:], beside[4:, 4:])


@pytest.mark.parametrize(("levels", "grey"), [((0, 4000), 64), ((900, 1100), 128)])
def test_other_units_are_shown_between_their_levels(levels: tuple[float, float], grey: int) -> None:
    value = levels[0] + (levels[1] - levels[0]) * grey / 255
    shown = overlay(np.full((4, 4, 1), value, np.float32), np.zeros((4, 4)), 1.0, levels)
    assert (shown == grey).all()


def test_a_rim_is_outside_and_as_thick_as_asked() -> None:
    inside = np.zeros((9, 9), bool)
    inside[4, 4] = True
    assert outline(inside, 1).sum() == 4
    assert outline(inside, 2).sum() == 12
    assert not outline(inside, 2)[4, 4]
    assert not outline(np.ones((5, 5), bool), 1).any()
