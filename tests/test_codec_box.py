"""Promises of the codec that comes along: small files, its card, and bits that stay readable."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

import pellucid
from pellucid.learn import checkpoints, datasets, recipes
from pellucid.restore import zoo
from pellucid.restore.codec import Codec
from pellucid.uses.compress import _symbols
from pellucid.uses.plc import unpack

pytest.importorskip("constriction")
NAMES = zoo.codecs()
LARGEST_BYTES = 16 * 2**20

WRITTEN = (
    b"iBL>K0RRIFaA<FIZ!KeQWMyMQ=WRSjG5~N+L&Yo3{h8*i<Lw>_y#wikTs7gR)#g7j2EJoyF`?><ca#zDS2_y)Uy>{!Vh"
    b"J473C(#{ls0gKXVL)J7P${~gp`=El`~~{h-<ROblD8&*Bzgxml5Y$3Tr~pyRUo9fWMdIUFc4G%o1YVB2~o5M`~6"
)
"""A file that an earlier version wrote, at quality 3, of `shapes`."""

READ = 3090027099
"""Checksum of the whole numbers in it."""


def shapes() -> np.ndarray:
    """A small picture of soft colours and an edge, (50, 70, 3)."""
    y, x = np.mgrid[0:50, 0:70] / 20.0
    planes = [np.sin(x + k) * np.cos(y - k) + (x + 2 * y > 4) * 0.8 for k in range(3)]
    return np.clip(110 + 70 * np.stack(planes, axis=-1), 0, 255).round().astype(np.uint8)


def china() -> np.ndarray:
    """A photograph that no codec has learnt from, (H, W, 3)."""
    image = datasets.load("photographs", channels=3).test.image(0)[0].permute(1, 2, 0).numpy()
    return np.rint(image * 255).astype(np.uint8)


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


def jpeg(picture: np.ndarray, quality: int) -> tuple[int, float]:
    """Size in bytes and PSNR of a progressive JPEG with tables of its own."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return file.tell(), decibels(np.asarray(Image.open(file)), picture)


def test_the_codec_that_compress_takes_is_in_the_box() -> None:
    assert zoo.CODEC in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_codec_has_its_weights_recipe_and_card(name: str) -> None:
    files = [zoo.WEIGHTS / f"{name}{suffix}" for suffix in (".safetensors", ".codec.npz", ".md")]
    assert all(file.is_file() and file.stat().st_size < LARGEST_BYTES for file in files)
    card = checkpoints.read_metadata(files[0])
    told, kept = recipes.read(name), recipes.build(card["recipe"])
    epochs = {"epochs": told.train.epochs}
    assert kept.train.model_copy(update=epochs) == told.train
    assert (kept.model, kept.data, kept.damage) == (told.model, told.data, told.damage)
    assert card["licence"]
    assert [row["quality"] for row in card["scores"]] == list(range(1, 9))
    codec = Codec.open(name)
    assert codec.card["recipe"] == json.loads(json.dumps(card["recipe"]))
    page = files[2].read_text("utf-8")
    assert all(f"| {row['quality']} | {row['bpp']:.3f} |" in page for row in card["scores"])


@pytest.mark.parametrize("name", NAMES)
def test_a_photograph_takes_a_quarter_less_than_as_jpeg(name: str) -> None:
    picture = china()
    codec = Codec.open(name)
    ladder = [jpeg(picture, quality) for quality in range(10, 96, 5)]
    sizes, heights = (np.array(part) for part in zip(*ladder, strict=True))
    for quality in (3, 5):
        data = pellucid.compress(picture, model=codec, quality=quality)
        back = pellucid.decompress(data, model=codec).samples
        alike = np.exp(np.interp(decibels(back, picture), heights, np.log(sizes)))
        assert len(data) < 3 / 4 * alike


@pytest.mark.parametrize("name", NAMES[:1])
def test_a_file_of_old_is_read_as_the_same_numbers(name: str) -> None:
    data = base64.b85decode(WRITTEN)
    symbols = _symbols(unpack(data, "old"), Codec.open(name))
    assert symbols.z is not None
    assert zlib.crc32(symbols.y.tobytes() + symbols.z.tobytes()) == READ
    assert decibels(pellucid.decompress(data).samples, shapes()) > 30
