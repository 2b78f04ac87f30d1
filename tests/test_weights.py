"""The models in the box: whole, told of, equal in both forms, of use, and harmless."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pellucid.learn import checkpoints, datasets, recipes
from pellucid.learn.damage import parse
from pellucid.learn.known import TEST_SETS
from pellucid.restore import zoo
from pellucid.restore.denoise import denoise
from pellucid.restore.ink import ink_lost
from pellucid.restore.inpaint import inpaint
from pellucid.restore.runtime import open_model

NAMES = zoo.names()
TRAINED = [name for name in NAMES if (zoo.WEIGHTS / f"{name}.safetensors").exists()]
PAGES = [name for name in NAMES if name.startswith("document")]
MEDICAL = [name for name in NAMES if name.startswith("medical")]
FILLING = [name for name in NAMES if name.startswith("inpaint")]
CLEANING = [name for name in NAMES if name not in FILLING]
PHOTOGRAPHS = [name for name in CLEANING if name not in (*PAGES, *MEDICAL)]
LARGEST_BYTES = 11 * 2**20


def page() -> NDArray[np.float32]:
    """A page of text, (H, W, 1)."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("L", (480, 320), 255)
    text = "What a page says is more\nthan how it looks, and so\nit has to be read again."
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(30)
    pen.multiline_text((40, 60), text, fill=20, font=font, spacing=24)
    return np.asarray(sheet, np.float32)[..., None] / np.float32(255)


def china(channels: int) -> NDArray[np.float32]:
    """A photograph that no model has learnt from, (H, W, C)."""
    image = datasets.load("photographs", channels=channels).test.image(0)
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy()[100:356, 200:456])


def noisy(picture: NDArray[np.float32], sigma: float, *, clip: bool = True) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    damaged = (picture + noise).astype(np.float32)
    return np.rint(damaged.clip(0, 1) * 255) / np.float32(255) if clip else damaged


def decibels(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(-10 * np.log10(np.mean((one - other) ** 2) + 1e-12))


def test_the_box_holds_the_default_and_the_benchmark_models() -> None:
    wanted = {zoo.DEFAULT, "photo-gray", "gaussian-gray", "gaussian-color", "document", "medical"}
    wanted |= {zoo.INPAINT, *zoo.TWINS, *zoo.TWINS.values()}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_model_has_its_files_recipe_and_card(name: str) -> None:
    files = [zoo.WEIGHTS / f"{name}{suffix}" for suffix in (".safetensors", ".onnx", ".md")]
    assert all(file.is_file() for file in files)
    assert all(file.stat().st_size < LARGEST_BYTES for file in files)
    card = zoo.metadata(files[0])
    assert name in recipes.names()
    told = recipes.read(name)
    kept = recipes.build(card["recipe"])
    # Epochs are as many as there was time for; all else is the recipe's.
    epochs = {"epochs": told.train.epochs}
    assert kept.train.model_copy(update=epochs) == told.train
    assert (kept.model, kept.data, kept.damage) == (told.model, told.data, told.damage)
    assert card["data"] not in TEST_SETS
    assert card["licence"]
    assert card["training"]["hours"] > 0
    assert card["scores"]
    text = files[2].read_text(encoding="utf-8")
    for said in (card["licence"], "Limits", told.damage.spec, "pellucid evaluate"):
        assert said in text
    assert {**zoo.metadata(files[1]), "version": ""} == {**card, "version": ""}


@pytest.mark.parametrize("name", TRAINED)
def test_both_forms_give_the_same_picture(name: str) -> None:
    model = checkpoints.load(name)
    runner = open_model(zoo.WEIGHTS / f"{name}.onnx", device="cpu")
    for shape in ((1, 1), (33, 64), (70, 51)):
        images = torch.rand(1, model.image_channels, *shape, generator=torch.manual_seed(0))
        with torch.inference_mode():
            expected = model(images).numpy()
        assert float(np.abs(runner(images.numpy()) - expected).max()) < 1e-4


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_noise_is_removed_from_a_photograph_never_seen(name: str, sigma: int) -> None:
    clean = china(open_model(name).channels)
    # The benchmark models learnt from noise that is not clipped.
    damaged = noisy(clean, sigma / 255, clip="gaussian" not in name)
    restored = denoise(damaged, model=name).clip(0, 1)
    # The roof of the pagoda is as hard as photographs get; smooth ones gain twice as much.
    gains = {10: 2.0, 25: 4.5, 50: 7.0}
    assert decibels(restored, clean) > decibels(damaged, clean) + gains[sigma]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("photo")])
def test_a_clean_photograph_comes_back_as_it_went(name: str) -> None:
    clean = china(open_model(name).channels)
    assert decibels(denoise(clean, model=name).clip(0, 1), clean) > 38


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("photo")])
@pytest.mark.parametrize("sigma", [5, 8, 15, 35, 55])
def test_noise_from_5_up_never_makes_a_picture_worse_than_it_came(name: str, sigma: int) -> None:
    clean = china(open_model(name).channels)
    damaged = noisy(clean, sigma / 255)
    restored = denoise(damaged, model=name).clip(0, 1)
    assert decibels(restored, clean) > decibels(damaged, clean)


@pytest.mark.parametrize("name", CLEANING)
def test_flat_black_and_white_stay_flat(name: str) -> None:
    channels = open_model(name).channels
    # To a network for pages all of one grey is paper, and becomes white.
    for level in (1.0,) if name in PAGES else (0.0, 0.5, 1.0):
        flat = np.full((64, 64, channels), level, np.float32)
        restored = denoise(flat, model=name)
        # Whiter than white is white in every file.
        restored = restored.clip(0, 1) if name in PAGES else restored
        assert float(np.abs(restored - flat).max()) < 3 / 255


def of_neighbours(picture: NDArray[np.float32], lost: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Holes filled with the mean of what is known, near by with more weight."""
    known = np.where(lost, 0, 1)[..., None].astype(float)
    sums = [ndimage.gaussian_filter(x, (2, 2, 0), truncate=16) for x in (picture * known, known)]
    return np.where(lost[..., None], sums[0] / sums[1], picture).astype(np.float32)


@pytest.mark.parametrize("name", FILLING)
@pytest.mark.parametrize("colour", [True, False])
def test_holes_are_filled_far_better_than_by_their_neighbours(name: str, colour: bool) -> None:
    clean = china(3 if colour else 1)
    chance, strokes = np.random.default_rng(0), np.zeros(clean.shape[:2], bool)
    strokes[:, 40:200:40] = strokes[100:104] = True
    for lost, more in ((chance.random(clean.shape[:2]) < 0.7, 1.5), (strokes, 4.0)):
        holed = np.where(lost[..., None], 0, clean).astype(np.float32)
        filled = inpaint(holed, lost, model=name)
        assert np.array_equal(filled[~lost], clean[~lost])
        plain = of_neighbours(holed, lost)
        assert decibels(filled[lost], clean[lost]) > decibels(plain[lost], clean[lost]) + more


@pytest.mark.parametrize("name", FILLING)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_holes_of_flat_pictures_are_filled_flat(name: str, level: float) -> None:
    flat = np.full((64, 64, 3), level, np.float32)
    lost = np.random.default_rng(0).random((64, 64)) < 0.5
    lost[20:40, 20:40] = True
    wrong = 255 * np.abs(inpaint(flat, lost, model=name) - flat)
    # A single pixel in a corner of the picture may be some levels off, where it knows least.
    assert float(wrong.max()) < 5
    assert float(wrong.mean()) < 0.2


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("damage", "least"),
    [
        ("gaussian:0.1", 8.0),
        ("gaussian:0.3", 9.0),
        ("salt_pepper:0.1", 12.0),
        ("stain:0.6+shade:0.4", 10.0),
        ("fade:0.6+shade:0.4+gaussian:0.04", 5.0),
        ("fold:0.5", 3.0),
        ("bleed:0.4+paper:0.2", 10.0),
    ],
)
def test_pages_become_clean(name: str, damage: str, least: float) -> None:
    clean = page()
    given = torch.from_numpy(clean.transpose(2, 0, 1))[None]
    spoilt = parse(damage)(given, generator=torch.Generator().manual_seed(0), clip=True)
    damaged = spoilt[0].permute(1, 2, 0).numpy()
    restored = denoise(damaged, model=name).clip(0, 1)
    assert decibels(restored, clean) > decibels(damaged, clean) + least


@pytest.mark.parametrize("name", PAGES)
def test_a_page_upside_down_is_cleaned_as_well(name: str) -> None:
    clean = page()
    damaged = noisy(clean, 0.2)
    upright = denoise(damaged, model=name).clip(0, 1)
    turned = denoise(np.rot90(damaged, 2).copy(), model=name).clip(0, 1)
    assert decibels(np.rot90(turned, 2), clean) > decibels(upright, clean) - 1


@pytest.mark.parametrize("name", PAGES)
def test_a_clean_page_comes_back_and_keeps_its_ink(name: str) -> None:
    clean = np.rint(page() * 255).astype(np.uint8)
    restored = np.rint(denoise(clean, model=name).clip(0, 1) * 255).astype(np.uint8)
    assert decibels(restored / np.float32(255), clean / np.float32(255)) > 38
    assert ink_lost(clean, restored).removed < 0.01
    assert zoo.metadata(zoo.WEIGHTS / f"{name}.onnx")["ink"]


def test_the_default_needs_no_torch_and_takes_a_picture_at_once(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.uint8(noisy(china(3), 0.1) * 255)).save(tmp_path / "noisy.png")
    code = (
        "import sys; from pellucid.cli import app; "
        "app(['denoise', 'noisy.png', '-o', 'clean.png', '--json', 'told.json'], "
        "standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["model"] == zoo.DEFAULT
    assert 0.05 < told["files"][0]["sigma"] < 0.15


def head() -> NDArray[np.float32]:
    """Round tissue in five greys on nothing, (H, W, 1), as counts up to 900."""
    rows, columns = np.mgrid[:192, :160]
    levels = np.zeros((192, 160), np.float32)
    for level, radius, down, right in (
        (300, 75, 96, 80),
        (700, 66, 96, 80),
        (500, 40, 90, 78),
        (150, 18, 80, 64),
        (900, 9, 130, 100),
    ):
        away = np.hypot(rows - down, 1.1 * (columns - right))
        levels += (level - levels) * np.clip(radius - away, 0, 1)
    return levels[..., None]


@pytest.mark.parametrize("name", MEDICAL)
@pytest.mark.parametrize(
    ("damage", "least"), [("rician:0.03", 5.0), ("rician:0.06", 7.0), ("rician:0.1", 8.0)]
)
def test_magnitude_noise_goes_and_the_dark_becomes_dark(
    name: str, damage: str, least: float
) -> None:
    clean = head() / 900
    given = torch.from_numpy(clean.transpose(2, 0, 1))[None]
    chance = torch.Generator().manual_seed(0)
    damaged = parse(damage)(given, generator=chance, clip=False)[0, 0].numpy()[..., None]
    restored = denoise(900 * damaged, model=name) / 900
    assert decibels(restored, clean) > decibels(damaged, clean) + least
    dark = clean == 0
    assert damaged[dark].mean() > 0.03
    assert restored[dark].mean() < 0.1 * damaged[dark].mean()
    # The means of tissue stay what they were.
    for level in (300, 700, 500):
        inside = np.abs(clean - level / 900) < 1e-4
        assert abs(float((restored - clean)[inside].mean())) < 0.006


@pytest.mark.parametrize("name", MEDICAL)
@pytest.mark.parametrize(
    # At three photons a pixel flat dim places come out too dark: the card says so.
    ("peak", "least", "moved"),
    [(20, 4.0, 0.13), (50, 12.0, 0.01), (200, 10.0, 0.006)],
)
def test_photon_noise_goes_and_means_stay(name: str, peak: int, least: float, moved: float) -> None:
    # Light everywhere, as in an X-ray.
    clean = 0.15 + 0.85 * head() / 900
    given = torch.from_numpy(clean.transpose(2, 0, 1))[None]
    chance = torch.Generator().manual_seed(0)
    damaged = parse(f"poisson:{peak}")(given, generator=chance, clip=False)[0, 0].numpy()[..., None]
    restored = denoise(900 * damaged, model=name) / 900
    assert decibels(restored, clean) > decibels(damaged, clean) + least
    for level in (0, 300, 700, 500):
        inside = np.abs(clean - 0.15 - 0.85 * level / 900) < 1e-4
        assert abs(float((restored - clean)[inside].mean())) < moved


@pytest.mark.parametrize("name", MEDICAL)
def test_a_clean_slice_stays_what_it_is(name: str) -> None:
    assert decibels(denoise(head(), model=name) / 900, head() / 900) > 40
    # Nor is fine structure taken from one place of it only.
    assert zoo.metadata(zoo.WEIGHTS / f"{name}.onnx")["evens"] == 1.25
