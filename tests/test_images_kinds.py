"""A file is known by its first bytes, and a bomb by its header."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from pellucid import images
from pellucid.errors import ImageError, OptionError
from pellucid.images import KINDS
from pellucid.images.kinds import identify, kind_of, sniff


def png(width: int, height: int, rows: int = 1) -> bytes:
    """A PNG that claims a size and holds only a few zeros."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(rows * (1 + 3 * width)), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.free])
def test_what_we_write_is_known_by_its_first_bytes(kind: str) -> None:
    file = io.BytesIO()
    images.write(file, np.zeros((4, 5), np.uint8), kind=kind)
    assert sniff(file.getvalue()[:32]) == kind


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a picture"),
        (bytes(1000), "not a picture"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "HEIF"),
        (b"%PDF-1.7", "PDF"),
        (bytes(128) + b"DICM", "DICOM file without an image"),
        (b"\x00\x00\x00\x0cjP  \r\n", "JPEG 2000"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"8BPS\x00\x01", "Photoshop"),
        (b"P6\n3 4\n255\n", "Netpbm"),
        (b"PK\x03\x04", "ZIP"),
        (b"<!DOCTYPE html>", "web page"),
        (b"<svg xmlns=", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x93NUMPY", "numpy"),
    ],
)
def test_what_is_no_picture_of_ours_is_named(head: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        images.read(head)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the given bytes: ")


def test_avif_is_known_by_its_brands_however_they_are_ordered() -> None:
    assert sniff(b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miafMA1B") == "avif"
    assert sniff(b"\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00mif1miafMA1Bavif") == "avif"
    with pytest.raises(ImageError):
        identify(b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp41", "film.mp4")


def test_every_suffix_leads_to_its_kind() -> None:
    for name, kind in KINDS.items():
        for suffix in kind.suffixes:
            assert kind_of(f"a{suffix.upper()}") == name
    with pytest.raises(ImageError, match="no suffix"):
        kind_of("picture")


def peak(data: bytes) -> tuple[float, int, str]:
    """Seconds and bytes that a refusal takes, and what it says."""
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(ImageError) as caught:
        images.read(data)
    seconds = time.perf_counter() - begun
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return seconds, most, str(caught.value)


def headers(width: int, height: int) -> dict[str, bytes]:
    """Small files that claim a size."""
    small = np.zeros((4, 4, 3), np.uint8)
    made: dict[str, bytes] = {"png": png(width, height, rows=2)}
    file = io.BytesIO()
    images.write(file, small, kind="bmp")
    made["bmp"] = file.getvalue()[:18] + struct.pack("<ii", width, height) + file.getvalue()[26:]
    if max(width, height) < 65536:
        file = io.BytesIO()
        images.write(file, small, kind="jpeg")
        at = file.getvalue().index(b"\xff\xc0") + 5
        made["jpeg"] = bytes(
            file.getvalue()[:at] + struct.pack(">HH", height, width) + file.getvalue()[at + 4 :]
        )
        file = io.BytesIO()
        images.write(file, small, kind="gif")
        made["gif"] = file.getvalue()[:6] + struct.pack("<HH", width, height) + file.getvalue()[10:]
    file = io.BytesIO()
    images.write(file, small, kind="avif")
    at = file.getvalue().index(b"ispe") + 8
    made["avif"] = bytes(
        file.getvalue()[:at] + struct.pack(">II", width, height) + file.getvalue()[at + 8 :]
    )
    return made


@pytest.mark.parametrize("size", [(50_000, 50_000), (30_000, 30_000), (1, 2**31 - 1)])
def test_bombs_are_refused_quickly_and_in_little_memory(size: tuple[int, int]) -> None:
    for kind, data in headers(*size).items():
        assert len(data) < 100_000
        seconds, most, text = peak(data)
        assert seconds < 0.5, kind
        assert most < 20_000_000 + 3 * len(data), kind
        assert "bomb" in text or "PELLUCID_MAX_PIXELS" in text or "damaged" in text, (kind, text)


def test_webp_says_its_size_before_it_is_decoded() -> None:
    file = io.BytesIO()
    images.write(file, np.zeros((16000, 16000), np.uint8)[:4, :4], kind="webp")
    data = bytearray(file.getvalue())
    data[26:30] = struct.pack("<HH", 16383, 16383)
    _, most, text = peak(bytes(data))
    assert most < 20_000_000
    assert "bomb" in text


def test_the_limit_can_be_raised_and_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    images.write(file, np.zeros((40, 50), np.uint8), kind="png")
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1_999")
    with pytest.raises(ImageError, match="set PELLUCID_MAX_PIXELS=2000"):
        images.read(file.getvalue())
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "2000")
    assert images.read(file.getvalue()).width == 50
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "many")
    with pytest.raises(OptionError, match="PELLUCID_MAX_PIXELS is 'many'"):
        images.read(file.getvalue())


def test_blank_pictures_are_no_bombs() -> None:
    blank = np.zeros((6000, 6000), np.uint8)
    for kind, picture in [("png", blank), ("tiff", blank), ("png", blank > 0), ("tiff", blank > 0)]:
        file = io.BytesIO()
        images.write(file, picture, kind=kind)
        assert images.read(file.getvalue()).samples.max() == 0


def test_no_pixels_is_refused() -> None:
    with pytest.raises(ImageError, match="0x5"):
        images.read(png(0, 5))
