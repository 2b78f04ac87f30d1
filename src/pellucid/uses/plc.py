"""The file of a compressed picture, ``.plc``: some 35 bytes around what was coded.

In this order, where a number is a varint (seven bits a byte, lowest first)::

    magic        89 50 4C 43          as PNG's: no text, and seen to be cut to seven bits
    version      1                    of this layout
    flags        byte                 1 grey, 2 alpha, 4 extras; others are 0
    quality      number               from 1
    model        number, bytes        the codec's name, ASCII
    fingerprint  4 bytes              of the codec's weights
    width        number
    height       number
    lengths      numbers              of escapes, coded, and of alpha and extras if there are any
    escapes      bytes                numbers outside their distribution's row
    coded        bytes                of the range coder, words of four bytes, lowest first
    alpha        bytes                deflated, as it was
    extras       bytes                deflated: EXIF and ICC profile with their lengths, two doubles
    checksum     4 bytes              CRC-32 of all before it, lowest first

The extras are in that order, a length of 0 for what is not there, and no doubles where no dots an
inch are known. Read next: `compress`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ImageError
from pellucid.images.kinds import HARMLESS_BYTES, max_pixels
from pellucid.restore.codec_arrays import NAME

MAGIC = b"\x89PLC"
VERSION = 1
SUFFIX = ".plc"

_GREY, _ALPHA, _EXTRAS = 1, 2, 4
_CHECKSUM_BYTES = 4
_MOST_EXTRAS_BYTES = 2**26
# Pixels that a stored byte can stand for: a blank sheet takes far more bytes.
_RATIO = 80_000

_AGAIN = "get the file again"


@dataclass(frozen=True)
class Packed:
    """What a ``.plc`` file says.

    Args:
        model: The codec's name.
        fingerprint: Four bytes of its weights.
        quality: From 1.
        width: Of the picture in pixels.
        height: Likewise.
        channels: 1 for grey, 3 for colour.
        coded: The range coder's stream.
        escapes: The numbers outside their rows.
        alpha: (H, W) uint8, or None.
        exif: Without the prefix that JPEG puts before it.
        icc: ICC profile.
        dpi: Dots an inch, across and down.
    """

    model: str
    fingerprint: bytes
    quality: int
    width: int
    height: int
    channels: int
    coded: bytes
    escapes: bytes = b""
    alpha: NDArray[np.uint8] | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None


def pack(packed: Packed) -> bytes:
    """The bytes of the file."""
    alpha = None if packed.alpha is None else zlib.compress(packed.alpha.tobytes(), 9)
    extras = _extras(packed)
    flags = _GREY * (packed.channels == 1) + _ALPHA * (alpha is not None) + _EXTRAS * bool(extras)
    name = packed.model.encode("ascii")
    parts = [packed.escapes, packed.coded]
    parts += [part for part in (alpha, extras) if part]
    head = [
        MAGIC + bytes([VERSION, flags]),
        _varint(packed.quality),
        _varint(len(name)) + name + packed.fingerprint,
        _varint(packed.width) + _varint(packed.height),
        *(_varint(len(part)) for part in parts),
    ]
    whole = b"".join((*head, *parts))
    return whole + struct.pack("<I", zlib.crc32(whole))


def unpack(data: bytes, name: str = "the given bytes") -> Packed:
    """What a file says, once it is known to be whole and unaltered.

    Args:
        data: All of it.
        name: For messages.

    Raises:
        ImageError: It is no such file, of another version, cut off, altered, too long, or claims
            what cannot be.
    """
    if not data.startswith(MAGIC):
        what = "the file is empty" if not data else "this is no .plc file"
        raise ImageError(f"{name}: {what}; give what 'pellucid compress' wrote")
    read = _Reader(data, name, len(MAGIC))
    version = read.byte()
    if version != VERSION:
        raise ImageError(
            f"{name}: a .plc file of version {version}, and this pellucid reads version {VERSION}; "
            "install the pellucid that wrote it"
        )
    flags = read.byte()
    quality = read.number()
    model = read.take(read.number())
    fingerprint = read.take(4)
    width, height = read.number(), read.number()
    counted = 2 + bool(flags & _ALPHA) + bool(flags & _EXTRAS)
    lengths = [read.number() for _ in range(counted)]
    parts = [read.take(length) for length in lengths]
    end = read.place
    (checksum,) = struct.unpack("<I", read.take(_CHECKSUM_BYTES))
    if left := len(data) - read.place:
        raise ImageError(f"{name}: {left} bytes follow the picture's end; {_AGAIN}")
    if checksum != zlib.crc32(data[:end]):
        raise ImageError(f"{name}: the checksum is wrong, so the file was altered; {_AGAIN}")
    title = model.decode("ascii", "replace")
    if flags > _GREY + _ALPHA + _EXTRAS or not NAME.fullmatch(title):
        raise ImageError(f"{name}: the head of the file makes no sense; {_AGAIN}")
    _check_size(width, height, len(data), name)
    rest = parts[2:]
    alpha = _alpha(rest.pop(0), width, height, name) if flags & _ALPHA else None
    exif, icc, dpi = _read_extras(rest.pop(0), name) if flags & _EXTRAS else (None, None, None)
    channels = 1 if flags & _GREY else 3
    return Packed(
        *(title, fingerprint, quality, width, height, channels, parts[1], parts[0]),
        *(alpha, exif, icc, dpi),
    )


def _check_size(width: int, height: int, stored: int, name: str) -> None:
    pixels, limit = width * height, max_pixels()
    if not pixels:
        raise ImageError(f"{name}: the picture is {width}x{height} pixels: there is nothing in it")
    if pixels > limit:
        raise ImageError(
            f"{name}: {width}x{height} is {pixels:,} pixels, more than the {limit:,} allowed; "
            f"if you trust the file, set PELLUCID_MAX_PIXELS={pixels}"
        )
    if 3 * pixels > max(HARMLESS_BYTES, 3 * _RATIO * stored):
        raise ImageError(
            f"{name}: it claims {width}x{height} pixels but holds only {stored:,} bytes: "
            f"damaged, or a decompression bomb; {_AGAIN}"
        )


def _alpha(deflated: bytes, width: int, height: int, name: str) -> NDArray[np.uint8]:
    plain = _inflated(deflated, width * height, name)
    if len(plain) != width * height:
        raise ImageError(f"{name}: its transparency is of another size; {_AGAIN}")
    return np.frombuffer(plain, np.uint8).reshape(height, width)


def _inflated(deflated: bytes, most: int, name: str) -> bytes:
    """What was deflated, if it is whole and no larger than it may be."""
    opened = zlib.decompressobj()
    try:
        plain = opened.decompress(deflated, most + 1)
    except zlib.error as error:
        raise ImageError(f"{name}: the file is damaged ({error}); {_AGAIN}") from error
    if len(plain) > most or not opened.eof or opened.unused_data:
        raise ImageError(f"{name}: the file is damaged (a part is of another length); {_AGAIN}")
    return plain


def _extras(packed: Packed) -> bytes:
    """EXIF, ICC profile and dots an inch, deflated; nothing where there is none of them."""
    dpi = packed.dpi if packed.dpi and _possible(packed.dpi) else None
    if not (packed.exif or packed.icc or dpi):
        return b""
    plain = b"".join(_varint(len(one or b"")) + (one or b"") for one in (packed.exif, packed.icc))
    plain += struct.pack("<2d", *dpi) if dpi else b""
    if len(plain) > _MOST_EXTRAS_BYTES:
        raise ImageError(
            f"EXIF and ICC profile of {len(plain):,} bytes are too many; remove them from the "
            "picture"
        )
    return zlib.compress(plain, 9)


def _possible(dpi: tuple[float, float]) -> bool:
    return all(0 < value < 1e6 for value in dpi)


def _read_extras(
    deflated: bytes, name: str
) -> tuple[bytes | None, bytes | None, tuple[float, float] | None]:
    read = _Reader(_inflated(deflated, _MOST_EXTRAS_BYTES, name), name)
    exif, icc = (read.take(read.number()) or None for _ in range(2))
    if read.place == len(read.data):
        return exif, icc, None
    across, down = struct.unpack("<2d", read.take(16))
    if read.place != len(read.data) or not _possible((across, down)):
        raise ImageError(f"{name}: what it says of its resolution makes no sense; {_AGAIN}")
    return exif, icc, (across, down)


class _Reader:
    """Walks over bytes, and says in a line where they end too early."""

    def __init__(self, data: bytes, name: str, place: int = 0) -> None:
        self.data, self.name, self.place = data, name, place

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise ImageError(f"{self.name}: the file is cut off or damaged; {_AGAIN}")
        self.place += count
        return self.data[self.place - count : self.place]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ImageError(f"{self.name}: the file is damaged; {_AGAIN}")


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
