"""CMYK goes through its profile, and palettes through their table."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageCms

from pellucid import images
from pellucid.images.colours import from_cmyk, from_colormap


def grey_ink_profile() -> bytes:
    """A CMYK profile in which every ink is grey: unlike the plain formula, it gives no colour."""
    ramp = bytes(range(256))
    corners = b"".join(
        bytes([255 * (4 - sum(int(bit) for bit in f"{n:04b}")) // 4, 128, 128]) for n in range(16)
    )
    one = 1 << 16
    matrix = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, one)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + corners + ramp * 3
    table += bytes(-len(table) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, one, 0xD32D)
    tags = [(b"A2B0", table), (b"wtpt", white)]
    at, listing = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags))
    for name, body in tags:
        listing += name + struct.pack(">II", at, len(body))
        at += len(body)
    head = struct.pack(">IIi4s4s4s", at, 0, 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", 0xF6D6, one, 0xD32D) + bytes(48)
    return head + listing + table + white


def inks() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (30, 40, 4)).astype(np.uint8)
    return Image.frombytes("CMYK", (40, 30), values.tobytes())


def test_a_profile_decides_and_the_result_says_that_it_is_srgb() -> None:
    samples, icc = from_cmyk(inks(), grey_ink_profile())
    expected = ImageCms.profileToProfile(
        inks(),
        ImageCms.ImageCmsProfile(io.BytesIO(grey_ink_profile())),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert expected is not None
    np.testing.assert_array_equal(samples, np.asarray(expected))
    assert np.ptp(samples, axis=-1).max() <= 2
    assert icc is not None
    assert icc[16:20] == b"RGB "


def test_without_a_usable_profile_the_plain_formula_serves() -> None:
    expected = np.asarray(inks().convert("RGB"))
    for profile in (None, b"no profile"):
        samples, icc = from_cmyk(inks(), profile)
        np.testing.assert_array_equal(samples, expected)
        assert icc is None


def test_a_cmyk_file_is_written_back_as_srgb() -> None:
    for kind in ("jpeg", "tiff"):
        file = io.BytesIO()
        inks().save(file, kind, icc_profile=grey_ink_profile())
        picture = images.read(file.getvalue())
        out = io.BytesIO()
        images.write(out, picture, kind=kind)
        again = images.read(out.getvalue())
        assert again.channels == 3
        assert again.icc is not None
        assert again.icc[16:20] == b"RGB "


def test_a_table_of_greys_gives_one_channel() -> None:
    ramp = np.tile(np.arange(4, dtype=np.uint16) * 0x5555, (3, 1))
    index = np.array([[0, 1], [2, 3]], np.uint8)
    assert from_colormap(index, ramp)[..., 0].tolist() == [[0, 85], [170, 255]]
    ramp[0] = 0
    assert from_colormap(index, ramp).shape == (2, 2, 3)
