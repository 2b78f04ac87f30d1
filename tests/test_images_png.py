"""16-bit PNG is read and written at 16 bits, as other programs understand it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid import images
from pellucid.errors import ImageError
from pellucid.images import Picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def sixteen(array: np.ndarray, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG of (H, W, C) uint16 made here, row by row, without filters."""
    height, width, count = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOURS[count], 0, 0, int(interlaced))
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes = [*starts, (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for top, left, down, across in passes:
        part = array[top::down, left::across].astype(">u2")
        rows += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    body = zlib.compress(rows)
    return SIGNATURE + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def noise(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.integers(-300, 300, (height, width, count)).cumsum(1)
    return (20000 + steps).astype(np.uint16)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3, 4]), st.booleans(),
    st.integers(0, 9),
)  # fmt: skip
def test_every_sample_is_read(
    height: int, width: int, count: int, interlaced: bool, seed: int
) -> None:
    array = noise(height, width, count, seed)
    picture = images.read(sixteen(array, interlaced=interlaced))
    assert picture.bits == 16
    colours = count if count in (1, 3) else count - 1
    np.testing.assert_array_equal(picture.samples, array[..., :colours])
    if count in (2, 4):
        np.testing.assert_array_equal(picture.alpha, array[..., -1])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_other_programs_write_what_we_read(count: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    array = noise(31, 45, count)
    picture = images.read(imagecodecs.png_encode(array if count > 1 else array[..., 0]))
    parts = [picture.samples] + ([] if picture.alpha is None else [picture.alpha[..., None]])
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), array)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (31, 45), (700, 1700)])
def test_other_programs_read_what_we_write(count: int, size: tuple[int, int]) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    array = noise(*size, count)
    file = io.BytesIO()
    images.write(file, array, kind="png")
    read = imagecodecs.png_decode(file.getvalue()).reshape(array.shape)
    np.testing.assert_array_equal(read, array)


def test_filters_make_smooth_pictures_small() -> None:
    array = noise(200, 300, 3)
    file = io.BytesIO()
    images.write(file, array, kind="png")
    assert len(file.getvalue()) < 0.8 * array.nbytes


def test_one_colour_marked_as_transparent_becomes_alpha() -> None:
    array = noise(6, 7, 3)
    key = chunk(b"tRNS", struct.pack(">3H", *array[2, 3]))
    alpha = images.read(sixteen(array, extra=key)).alpha
    assert alpha is not None
    assert alpha[2, 3] == 0
    assert alpha.sum() == 65535 * 41


def test_what_says_the_colours_mean_is_carried() -> None:
    about = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"sRGB", b"\1")
    for array in (noise(5, 5, 3), (noise(5, 5, 3) >> 8).astype(np.uint8)):
        file = io.BytesIO()
        images.write(file, array, kind="png")
        given = file.getvalue()[:33] + about + file.getvalue()[33:]
        out = io.BytesIO()
        images.write(out, images.read(given), kind="png")
        found = dict(chunks(out.getvalue()))
        assert found[b"gAMA"] == struct.pack(">I", 100000)
        assert found[b"sRGB"] == b"\1"


def test_profile_resolution_and_orientation_are_written_at_16_bits() -> None:
    picture = Picture(noise(5, 6, 1), icc=b"x" * 200, dpi=(300, 150), orientation=3)
    file = io.BytesIO()
    images.write(file, picture, kind="png")
    with Image.open(file) as image:
        assert image.info["icc_profile"] == b"x" * 200
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        assert image.getexif()[0x0112] == 3
        np.testing.assert_array_equal(np.asarray(image), picture.samples[..., 0])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_changed_byte_anywhere_in_the_pixels_is_noticed(bits: int) -> None:
    array = noise(20, 20, 3) if bits == 16 else (noise(20, 20, 3) >> 8).astype(np.uint8)
    file = io.BytesIO()
    images.write(file, array, kind="png")
    whole = file.getvalue()
    start = whole.index(b"IDAT") + 4
    for place in range(start, len(whole) - 16, 23):
        hurt = bytearray(whole)
        hurt[place] ^= 16
        with pytest.raises(ImageError, match="damaged or cut off"):
            images.read(bytes(hurt))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_shallow_greys_and_palettes_agree_with_pillow(depth: int) -> None:
    rng = np.random.default_rng(depth)
    rows = rng.integers(0, 256, (9, 8)).astype(np.uint8)
    width = 64 // depth
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    palette = rng.integers(0, 256, 3 * 2**depth).astype(np.uint8).tobytes()
    for colour in (0, 3):
        header = struct.pack(">IIBBBBB", width, 9, depth, colour, 0, 0, 0)
        middle = chunk(b"PLTE", palette) + chunk(b"tRNS", b"\x07\xff") if colour else b""
        data = SIGNATURE + chunk(b"IHDR", header) + middle + chunk(b"IDAT", body)
        data += chunk(b"IEND", b"")
        picture = images.read(data)
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(image.convert("RGBA" if colour else "L"))
        np.testing.assert_array_equal(
            picture.samples if colour else picture.samples[..., 0],
            expected[..., :3] if colour else expected,
        )
        if colour:
            np.testing.assert_array_equal(picture.alpha, expected[..., 3])
        assert picture.bits == (1 if depth == 1 and not colour else 8)


def test_nonsense_in_the_header_is_refused() -> None:
    whole = sixteen(noise(4, 4, 3))
    for place, value in [(24, 3), (25, 1), (28, 2)]:
        hurt = bytearray(whole)
        hurt[place] = value
        hurt[29:33] = struct.pack(">I", zlib.crc32(bytes(hurt[12:29])))
        with pytest.raises(ImageError, match="damaged"):
            images.read(bytes(hurt))
    with pytest.raises(ImageError, match="damaged"):
        images.read(SIGNATURE)


def plain(samples: np.ndarray, rows: int, *, interlace: bool = False, extra: bytes = b"") -> bytes:
    """A grey PNG of 8 bits that ends, well formed, after some rows."""
    height, width = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(interlace))
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples[:rows]))
    data = SIGNATURE + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body)
    return data + chunk(b"IEND", b"")


def test_pixels_that_end_early_are_no_black_rows() -> None:
    samples = noise(40, 50, 1)[..., 0].astype(np.uint8)
    assert np.array_equal(images.read(plain(samples, 40)).samples[..., 0], samples)
    black = np.zeros((40, 50), np.uint8)
    assert not images.read(plain(black, 40)).samples.any()
    for rows in (0, 1, 39):
        with pytest.raises(ImageError, match="damaged or cut off"):
            images.read(plain(samples, rows))
    data = plain(samples, 20)
    (_, header), (_, body), _ = chunks(data)
    more = chunk(b"IHDR", header) + chunk(b"IDAT", body + b"behind its end")
    with pytest.raises(ImageError, match="damaged or cut off"):
        images.read(SIGNATURE + more + chunk(b"IDAT", b"and more") + chunk(b"IEND", b""))
    whole = sixteen(noise(20, 30, 3))
    short = sixteen(noise(10, 30, 3))
    header = chunk(b"IHDR", chunks(whole)[0][1])
    with pytest.raises(ImageError, match="damaged or cut off"):
        images.read(SIGNATURE + header + short[8 + 25 :])


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 9), (8, 8), (13, 17)])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_black_picture_is_whole(interlaced: bool, size: tuple[int, int], count: int) -> None:
    black = np.zeros((*size, count), np.uint16)
    assert not images.read(sixteen(black, interlaced=interlaced)).samples.any()


def test_what_is_optional_never_stops_a_picture() -> None:
    samples = noise(20, 30, 1)[..., 0].astype(np.uint8)
    wrong = bytearray(chunk(b"tEXt", b"Title\0a picture"))
    wrong[-1] ^= 1
    long = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000))
    profile = bytes(range(256)) * 8000
    large = chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    size = chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
    for extra in (bytes(wrong), long, large):
        picture = images.read(plain(samples, 20, extra=size + extra))
        assert np.array_equal(picture.samples[..., 0], samples)
        assert picture.dpi == pytest.approx((300, 300), abs=0.1)
    assert picture.icc == profile


def test_a_packed_packet_of_xmp_is_found() -> None:
    text = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    for flag, language, body in ((0, b"", text), (0, b"en", text), (1, b"", zlib.compress(text))):
        found = b"XML:com.adobe.xmp\0" + bytes([flag, 0]) + language + b"\0\0" + body
        data = plain(np.zeros((3, 4), np.uint8), 3, extra=chunk(b"iTXt", found))
        assert images.read(data).xmp == text


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_resolution_finer_than_can_be_told_is_left_out(dtype: str) -> None:
    for kind in ("png", "jpeg", "webp", "avif", "bmp"):
        if dtype == "uint16" and kind != "png":
            continue
        for wanted in (1e9, 254_000.0, 300.0):
            dots = wanted
            file = io.BytesIO()
            images.write(file, Picture(noise(8, 9, 1).astype(dtype), dpi=(dots, dots)), kind=kind)
            told = images.read(file.getvalue()).dpi
            if kind == "bmp" and dots == 1e9:  # which always has one, and Pillow's is 96
                dots = 96.0
            assert told is None or told == pytest.approx((dots, dots), rel=1e-3), (kind, dots)
        assert told is not None
