"""Promises of uses/plc.py: a small file that is read whole or refused in a line."""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest

from pellucid.errors import ImageError
from pellucid.uses import plc
from pellucid.uses.plc import MAGIC, Packed, pack, unpack

PLAIN = Packed("photo-codec", b"\1\2\3\4", 4, 481, 321, 3, bytes(range(200)) * 19)
FULL = replace(
    PLAIN,
    width=30,
    height=20,
    channels=1,
    escapes=b"\x10\x20",
    alpha=np.arange(600, dtype=np.uint8).reshape(20, 30),
    exif=b"II*\0 some exif",
    icc=b"a profile" * 50,
    dpi=(300.0, 299.9994),
)


def same(one: Packed, other: Packed) -> bool:
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Packed))
    return all(np.array_equal(a, b) if f.name == "alpha" else a == b
               for f, (a, b) in zip(fields(Packed), pairs, strict=True))  # fmt: skip


def sealed(whole: bytes) -> bytes:
    """A file with the right checksum, as somebody who means harm would write it."""
    return whole + struct.pack("<I", zlib.crc32(whole))


@pytest.mark.parametrize("packed", [
    PLAIN,
    FULL,
    replace(FULL, alpha=None),
    replace(FULL, exif=None, icc=None),
    replace(FULL, dpi=None, icc=None),
    replace(PLAIN, coded=b""),
])  # fmt: skip
def test_everything_comes_back(packed: Packed) -> None:
    assert same(unpack(pack(packed)), packed)


def test_the_head_is_small() -> None:
    assert len(pack(PLAIN)) - len(PLAIN.coded) < 40
    assert pack(PLAIN) == pack(PLAIN)


def test_dots_an_inch_that_cannot_be_are_not_kept() -> None:
    for dpi in ((0.0, 300.0), (float("nan"), 1.0), (1e9, 1e9)):
        assert unpack(pack(replace(FULL, dpi=dpi))).dpi is None


@pytest.mark.parametrize("packed", [PLAIN, FULL], ids=["plain", "full"])
def test_every_cut_file_is_refused(packed: Packed) -> None:
    whole = pack(packed)
    for length in range(len(whole) if packed is FULL else 60):
        with pytest.raises(ImageError, match=r"cut off|empty|no \.plc file|checksum"):
            unpack(whole[:length])


@pytest.mark.parametrize("packed", [PLAIN, FULL], ids=["plain", "full"])
def test_every_altered_byte_is_refused(packed: Packed) -> None:
    whole = pack(packed)
    for place in range(len(whole)):
        for flip in (1, 0x80):
            altered = bytearray(whole)
            altered[place] ^= flip
            with pytest.raises(ImageError) as refused:
                unpack(bytes(altered), "a.plc")
            assert str(refused.value).startswith("a.plc: ")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "this is no .plc file"),
        (MAGIC, "cut off"),
        (MAGIC + b"\2" + pack(PLAIN)[5:], "version 2, and this pellucid reads version 1"),
        (pack(PLAIN) + b"\0", "1 bytes follow the picture's end"),
        (pack(PLAIN) * 2, "bytes follow the picture's end"),
    ],
)
def test_what_is_no_whole_file_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        unpack(data)


def test_a_head_that_makes_no_sense_is_refused_though_its_checksum_is_right() -> None:
    body = pack(PLAIN)[:-4]
    with pytest.raises(ImageError, match="makes no sense"):
        unpack(sealed(body[:5] + b"\x08" + body[6:]))
    for name in (b"photo codec", b"../../photo", b"photo-code\n", b"photo-cod\xc3\xa9"):
        other = body[:7] + bytes([len(name)]) + name + body[8 + len(PLAIN.model) :]
        with pytest.raises(ImageError, match="makes no sense"):
            unpack(sealed(other))


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((0, 5), "nothing in it"),
        ((5, 0), "nothing in it"),
        ((2**31, 2**31), "more than the 1,000,000,000 allowed"),
        ((2**60, 2**60), "allowed"),
        ((20_000, 20_000), "decompression bomb"),
    ],
)
def test_impossible_sizes_are_refused(size: tuple[int, int], says: str) -> None:
    with pytest.raises(ImageError, match=says):
        unpack(pack(replace(PLAIN, width=size[0], height=size[1], coded=bytes(100))))


def test_the_limit_of_pixels_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1000")
    with pytest.raises(ImageError, match="PELLUCID_MAX_PIXELS=154401"):
        unpack(pack(PLAIN))


def test_alpha_of_another_size_is_refused() -> None:
    for width, height in ((29, 20), (30, 21)):
        with pytest.raises(ImageError, match=r"another (size|length)"):
            unpack(pack(replace(FULL, width=width, height=height)))


def test_a_bomb_in_the_extras_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pack(replace(FULL, icc=bytes(10**6)))
    monkeypatch.setattr(plc, "_MOST_EXTRAS_BYTES", 10**5)
    with pytest.raises(ImageError, match="another length"):
        unpack(whole)
    with pytest.raises(ImageError, match="too many"):
        pack(replace(FULL, icc=bytes(10**6)))


def test_random_edits_with_a_right_checksum_never_crash() -> None:
    chance = np.random.default_rng(0)
    whole = pack(FULL)[:-4]
    for _ in range(3000):
        altered = bytearray(whole)
        for _ in range(chance.integers(1, 4)):
            place = int(
                chance.integers(min(len(altered), 60) if chance.integers(2) else len(altered))
            )
            kind = chance.integers(3)
            if kind == 0:
                altered[place] = chance.integers(256)
            elif kind == 1:
                del altered[place]
            else:
                altered.insert(place, chance.integers(256))
        try:
            assert unpack(sealed(bytes(altered))).width > 0
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 (an edit may do no harm)
