"""Promises of restore/crisp.py: clean print stays to the last bit, all else is cleaned."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pellucid.images.picture import is_bilevel
from pellucid.restore import cells
from pellucid.restore.crisp import keep_clean
from pellucid.restore.denoise import denoise, take_back

CARD = {"ink": True}
SPECK = (10, 301)  # row and column, far from all print
BESIDE = np.s_[25:27, 51:53]
CELL = np.s_[24:32, 48:56]  # with print, and that speck


def page(height: int = 243, width: int = 317) -> np.ndarray:
    """Lines of print on white, (H, W, 1) uint8."""
    sheet = Image.new("L", (width, height), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for top in range(24, height - 24, 24):
        pen.text((16, top), "Print that is to be read, and kept.", font=font, fill=0)
    return np.asarray(sheet)[..., None]


def softened(samples: np.ndarray) -> np.ndarray:
    """A little softer where there is print: what a network makes of a clean page."""
    image = Image.fromarray(samples[..., 0])
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), np.float32)[..., None]
    return np.rint(0.96 * samples + 0.04 * soft).astype(np.uint8)


def kept(before: np.ndarray, after: np.ndarray, **options: float) -> np.ndarray:
    made = after.copy()
    keep_clean(before, made, CARD, **options)
    return made


def test_print_of_a_clean_page_comes_back_to_the_last_bit() -> None:
    clean = page()
    assert (softened(clean) != clean).any()
    assert np.array_equal(kept(clean, softened(clean)), clean)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_samples_of_every_kind(dtype: type) -> None:
    white = 1 if dtype == np.float32 else 65535
    clean = (page() / 255 * white).astype(dtype)
    after = (softened(page()) / 255 * white).astype(dtype)
    assert np.array_equal(kept(clean, after), clean)


def test_colours_are_kept_together() -> None:
    clean = np.repeat(page(), 3, axis=2)
    clean[..., 1] |= 64
    after = np.concatenate([softened(clean[..., i : i + 1]) for i in range(3)], axis=2)
    assert np.array_equal(kept(clean, after), clean)


def test_specks_go_on_paper_and_beside_print() -> None:
    clean, spoilt = page(), page().copy()
    spoilt[SPECK] = 0
    spoilt[BESIDE] = 0
    after = softened(clean)
    made = kept(spoilt, after)
    assert made[SPECK] == 255
    assert (clean[CELL] < 255).any()
    assert np.array_equal(made[CELL], after[CELL])
    made[CELL] = clean[CELL]
    assert np.array_equal(made, clean)


def test_a_page_that_came_black_and_white_stays_so() -> None:
    clean = (page() > 127) * np.uint8(255)
    spoilt = clean.copy()
    spoilt[SPECK] = 0
    spoilt[BESIDE] = 0
    after = softened(clean)
    after[BESIDE] = 200  # what a network leaves of a speck beside print
    made = kept(spoilt, after)
    assert is_bilevel(made)
    assert np.array_equal(made, clean)
    half = np.rint(0.5 * spoilt + 0.5 * softened(clean)).astype(np.uint8)
    assert kept(spoilt, half, strength=0.5)[SPECK] == 128  # as much of the speck as was asked for


def noise(sigma: float) -> np.ndarray:
    return 255 * np.random.default_rng(0).normal(0, sigma, page().shape)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda clean: clean + noise(0.01),
        lambda clean: clean * 0.95,
        lambda clean: 255 - (255 - clean) * 0.6,
        lambda clean: clean - 60.0 * (np.arange(clean.shape[1]) < 60)[:, None],
    ],
    ids=["grain", "tint", "faded", "stain"],
)
def test_a_page_that_wants_cleaning_is_the_networks(spoil: object) -> None:
    spoilt = spoil(page().astype(float)).clip(0, 255).round().astype(np.uint8)  # type: ignore[operator]
    after = softened(page())
    assert np.array_equal(kept(spoilt, after), after)


@pytest.mark.parametrize("made", [255 - page(), np.full_like(page(), 255), np.zeros_like(page())])
def test_no_page_of_print_is_left_alone(made: np.ndarray) -> None:
    after = softened(made)
    after[5, 5] ^= 1
    assert np.array_equal(kept(made, after), after)


def test_a_card_without_ink_changes_nothing() -> None:
    made = softened(page())
    keep_clean(page(), made, {})
    assert np.array_equal(made, softened(page()))


def test_only_the_scale_from_black_to_white_says_what_is_white() -> None:
    clean, soft = (each.astype(np.float32) / 255 for each in (page(), softened(page())))
    made = soft.copy()
    take_back(clean, made, CARD, unit=4095.0)
    assert np.array_equal(made, soft)
    take_back(clean, made, CARD)
    assert np.array_equal(made, clean)


def test_half_the_strength_decides_the_same() -> None:
    clean = page().astype(np.float32) / 255
    after = softened(page()).astype(np.float32) / 255
    assert np.array_equal(kept(clean, clean + 0.5 * (after - clean), strength=0.5), clean)


def test_strips_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = page().copy()
    spoilt[SPECK] = 0
    whole = kept(spoilt, softened(page()))
    monkeypatch.setattr(cells, "BAND_PIXELS", 8 * 317)
    assert np.array_equal(kept(spoilt, softened(page())), whole)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 500, 1), (500, 3, 3)])
def test_any_size(shape: tuple[int, ...]) -> None:
    white = np.full(shape, 255, np.uint8)
    assert (kept(white, white) == 255).all()


def test_the_shipped_network_gives_a_clean_page_back_and_takes_its_speck() -> None:
    clean = page()
    spoilt = clean.copy()
    spoilt[SPECK] = 0
    restored = denoise(spoilt[..., 0], model="document")
    assert restored[SPECK] > 0.98
    has_print = clean[..., 0] < 255
    assert np.array_equal(restored[has_print], clean[has_print][:, 0].astype(np.float32) / 255)
