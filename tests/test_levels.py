"""Promises of restore/levels.py: black and white under faint noise comes back to the last pixel."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pellucid.restore import cells
from pellucid.restore.denoise import denoise, take_back
from pellucid.restore.levels import keep_levels

CARD = {"ink": True}
PALE = np.s_[226:228, 17:23]  # a short stroke of light grey, far from print


def page(*, soft: bool = False) -> np.ndarray:
    """Lines of print on white, (H, W, 1) uint8: black and white, or with the edges of a font."""
    sheet = Image.new("L", (317, 243), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for top in range(24, 200, 24):
        pen.text((16, top), "Print that is to be read, and kept.", font=font, fill=0)
    drawn = np.asarray(sheet)[..., None]
    return drawn if soft else (drawn > 127) * np.uint8(255)


def noisy(clean: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 255 * sigma, clean.shape)
    return (clean + noise).clip(0, 255).round().astype(np.uint8)


def as_jpeg(clean: np.ndarray) -> np.ndarray:
    packed = io.BytesIO()
    Image.fromarray(clean[..., 0]).save(packed, "JPEG", quality=60)
    return np.asarray(Image.open(packed))[..., None]


def answer(clean: np.ndarray) -> np.ndarray:
    """What a network makes of such a page: paper white, print a little grey."""
    return np.where(clean < 128, clean + 8, clean).astype(np.uint8)


def kept(before: np.ndarray, after: np.ndarray, **options: float) -> np.ndarray:
    made = after.copy()
    keep_levels(before, made, CARD, **options)
    return made


@pytest.mark.parametrize(
    "spoil",
    [lambda one: noisy(one, 0.03), lambda one: noisy(one, 0.1), as_jpeg],
    ids=["faint", "less faint", "jpeg"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_was_black_and_white_is_again(
    spoil: Callable[[np.ndarray], np.ndarray], dtype: type
) -> None:
    clean = page()
    white = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    before, after, wanted = (
        (each.astype(float) * white).astype(dtype) for each in (spoil(clean), answer(clean), clean)
    )
    assert (before != wanted).any()
    assert np.array_equal(kept(before, after), wanted)


def test_what_the_network_changes_by_much_is_the_networks() -> None:
    clean = page()
    spoilt = noisy(clean, 0.05)
    spoilt[220:223, 301:304] = 0  # a speck on paper
    spoilt[25:28, 51:54] = 0  # and one beside print
    after = answer(clean)
    made = kept(spoilt, after)
    assert np.array_equal(made[216:232], clean[216:232])
    assert np.array_equal(made[24:32, 48:56], after[24:32, 48:56])


def test_a_mark_that_is_too_light_for_black_stays_with_the_network() -> None:
    clean = page()
    clean[PALE] = 200
    after = answer(clean)
    made = kept(noisy(clean, 0.02), after)
    assert np.array_equal(made[PALE], after[PALE])
    assert np.array_equal(made[:208], page()[:208])


def test_a_page_with_many_light_marks_is_the_networks() -> None:
    clean = page()
    clean[::40] = np.minimum(clean[::40], 200)  # the lines of a form
    after = answer(clean)
    assert np.array_equal(kept(noisy(clean, 0.02), after), after)


@pytest.mark.parametrize(
    "before",
    [
        noisy(page(soft=True), 0.05),
        noisy(page(), 0.15),
        noisy(255 - (255 - page()) // 3, 0.02),
        noisy(255 - page(), 0.05),
        np.repeat(noisy(page(), 0.05), 3, axis=2),
    ],
    ids=["greys", "strong noise", "faded", "white on black", "colour"],
)
def test_any_other_page_is_the_networks(before: np.ndarray) -> None:
    of = 255 - page() if before.mean() < 128 else page()
    after = np.broadcast_to(answer(of), before.shape).copy()
    assert np.array_equal(kept(before, after), after)


def test_salt_and_pepper_is_not_taken_for_print() -> None:
    drawn = np.random.default_rng(0).random(page().shape)
    spoilt = np.where(drawn < 0.05, np.where(drawn < 0.025, 0, 255), page()).astype(np.uint8)
    after = answer(page())
    assert np.array_equal(kept(spoilt, after), after)


def test_samples_that_are_not_finite_leave_the_page_to_the_network() -> None:
    before = noisy(page(), 0.05).astype(np.float32) / 255
    before[:5, :100] = np.nan
    after = answer(page()).astype(np.float32) / 255
    assert np.array_equal(kept(before, after), after)


def test_a_card_without_ink_changes_nothing() -> None:
    made = answer(page())
    keep_levels(noisy(page(), 0.05), made, {})
    assert np.array_equal(made, answer(page()))


def test_half_the_strength_goes_half_the_way() -> None:
    before, clean, after = (
        each.astype(np.float32) / 255 for each in (noisy(page(), 0.05), page(), answer(page()))
    )
    half = kept(before, before + 0.5 * (after - before), strength=0.5)
    np.testing.assert_allclose(half, (before + clean) / 2, atol=1e-6)


def test_strips_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt, after = noisy(page(), 0.05), answer(page())
    whole = kept(spoilt, after)
    monkeypatch.setattr(cells, "BAND_PIXELS", 8 * 317)
    assert np.array_equal(kept(spoilt, after), whole)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 500, 1), (500, 3, 1)])
def test_any_size(shape: tuple[int, ...]) -> None:
    for fill in (0, 255):
        one = np.full(shape, fill, np.uint8)
        assert np.array_equal(kept(one, one), one)


def test_a_page_that_came_clean_is_not_made_black_and_white() -> None:
    clean = page()
    clean[PALE] = 200
    after = np.where(clean < 128, clean + 2, clean).astype(np.uint8)
    take_back(clean, after, CARD)
    assert np.array_equal(after, clean)


def test_the_shipped_network_gives_print_back_to_the_last_pixel() -> None:
    restored = denoise(noisy(page(), 0.06)[..., 0], model="document")
    assert np.array_equal(restored, page()[..., 0].astype(np.float32) / 255)
