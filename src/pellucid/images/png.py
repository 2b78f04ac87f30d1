"""PNG at 16 bits, and a check of every PNG's chunks before it is decoded.

Pillow silently reads 16-bit RGB, RGBA and grey+alpha PNG as 8-bit, and does not look at the
checksums of the pixel data. Its decoder can still undo zlib, the row filters and the interlacing:
told that a 16-bit grey row is an 8-bit grey+alpha row it gives both bytes, and for RGB it gives
first all high bytes, then all low ones.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from PIL import Image

from pellucid.errors import ImageError
from pellucid.images.files import DAMAGED, size_of
from pellucid.images.kinds import check_size
from pellucid.images.picture import Array, Picture, bands

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Pixels an inch from which on a metre holds more than the file can say.
FINEST = (2**31 - 1) * 0.0254

# Samples a pixel by colour type.
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

# What says which colours the numbers mean; carried from file to file.
COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")

# Titles, authors, comments; carried from PNG to PNG.
TEXTS = (b"tEXt", b"zTXt", b"iTXt")

# How the text begins that is an XMP packet: its keyword, then not compressed, of no language.
XMP_NAME = b"XML:com.adobe.xmp\0"
XMP = XMP_NAME + bytes(4)
MOST_XMP = MOST_PROFILE = 2**26


@dataclass(frozen=True)
class Header:
    """What a PNG says about itself."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    texts: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def animated(self) -> bool:
        """Whether frames follow that are not read."""
        return b"acTL" in self.chunks


def scan(stream: BinaryIO, name: str) -> Header:
    """The header of a PNG whose chunks and checksums have all been seen to be right.

    Pixel data are read through once, in small pieces, and not kept.
    """
    total = size_of(stream)
    stream.seek(len(SIGNATURE))
    header, pixel_bytes = None, 0
    while True:
        head = stream.read(8)
        if len(head) < 8:
            if header is not None and pixel_bytes:
                break  # IEND is missing; whether the pixels are whole, the decoder will tell
            raise ImageError(f"{name}: {DAMAGED}")
        length, kind = struct.unpack(">I4s", head)
        if stream.tell() + length + 4 > total:
            raise ImageError(f"{name}: {DAMAGED}")
        wanted = kind in (b"IHDR", b"tRNS", b"pHYs", b"eXIf", b"iCCP", b"acTL", *COLOUR)
        body = _checked(stream, kind, length, name, keep=wanted or kind in TEXTS)
        if header is None:
            if kind != b"IHDR":
                raise ImageError(f"{name}: {DAMAGED}")
            header = _header(body, name, total)
        elif kind == b"IDAT":
            pixel_bytes += length
        elif kind == b"IEND":
            break
        elif kind in TEXTS and body:
            header.texts.append((kind, body))
        elif wanted and body:
            header.chunks.setdefault(kind, body)
    if not pixel_bytes:
        raise ImageError(f"{name}: {DAMAGED}")
    return header


def _header(body: bytes, name: str, total: int) -> Header:
    if len(body) != 13:
        raise ImageError(f"{name}: {DAMAGED}")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
    if depth not in DEPTHS.get(colour, ()) or interlace > 1:
        raise ImageError(f"{name}: {DAMAGED}")
    bits = depth * SAMPLES[colour]
    check_size("png", width, height, bits=bits, stored=total, name=name)
    return Header(width, height, depth, colour, bool(interlace))


def _checked(stream: BinaryIO, kind: bytes, length: int, name: str, *, keep: bool) -> bytes:
    """Pass over a chunk's body, comparing its checksum; give it back if it is to be kept."""
    checksum, parts, left = zlib.crc32(kind), [], length
    while left:
        part = stream.read(min(left, 2**20))
        if not part:
            raise ImageError(f"{name}: {DAMAGED}")
        checksum, left = zlib.crc32(part, checksum), left - len(part)
        if keep:
            parts.append(part)
    if stream.read(4) == struct.pack(">I", checksum):
        return b"".join(parts)
    if kind[0:1].isupper():
        raise ImageError(f"{name}: {DAMAGED}")
    return b""  # a wrong optional chunk does no harm


def bare(stream: BinaryIO, header: Header) -> BinaryIO:
    """The PNG without what is optional, at which Pillow may stumble; texts of a megabyte, say."""
    out = io.BytesIO(SIGNATURE)
    stream.seek(len(SIGNATURE))
    out.seek(0, io.SEEK_END)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind[0:1].isupper():
            out.write(head + stream.read(length + 4))
        else:
            stream.seek(length + 4, 1)
            if kind in (b"tRNS", b"pHYs") and kind in header.chunks:
                _chunk(out, kind, header.chunks[kind])
    out.seek(0)
    return out


def profile(header: Header) -> bytes | None:
    """The ICC profile, whatever its size."""
    _, _, packed = header.chunks.get(b"iCCP", b"").partition(b"\0\0")
    try:
        return zlib.decompressobj().decompress(packed, MOST_PROFILE) or None
    except zlib.error:
        return None


def check_whole(stream: BinaryIO, header: Header, name: str) -> None:
    """Refuse pixels that end early: Pillow leaves the rest black where the packing ends well."""
    bits, wanted = header.depth * SAMPLES[header.colour], 0
    for top, left, down, across in ADAM7 if header.interlaced else ((0, 0, 1, 1),):
        rows, columns = -(-(header.height - top) // down), -(-(header.width - left) // across)
        wanted += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    unpack, found = zlib.decompressobj(), 0
    for part in _pixel_parts(stream):
        while part and found < wanted and not unpack.eof:
            found += len(unpack.decompress(part, 2**20))
            part = unpack.unconsumed_tail
    if found < wanted:
        raise ImageError(f"{name}: {DAMAGED}")


# Of each pass its first row and column, and the steps from there.
ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)


def read16(stream: BinaryIO, header: Header) -> tuple[Array, Array | None]:
    """Samples (H, W, C) and alpha (H, W), uint16, of a PNG with 16 bits a sample."""
    data = _pixel_data(stream)
    width, height, count = header.width, header.height, SAMPLES[header.colour]
    out = np.empty((height, width, count), np.uint16)

    def decode(mode: str, raw: str) -> Image.Image:
        return Image.frombytes(mode, (width, height), data, "zip", raw, int(header.interlaced))

    if count <= 2:
        mode = "LA" if count == 1 else "RGBA"
        image = decode(mode, mode)
        for rows in bands(height, width):
            out[rows] = _band(image, rows).reshape(-1, width, 2 * count).view(">u2")
    else:
        mode = "RGB" if count == 3 else "RGBA"
        image = decode(mode, f"{mode};16B")
        for rows in bands(height, width):
            np.left_shift(_band(image, rows), 8, out=out[rows], dtype=np.uint16)
        del image  # before the second one is made
        image = decode(mode, f"{mode};16L")
        for rows in bands(height, width):
            out[rows] |= _band(image, rows)
    if count in (2, 4):
        return np.ascontiguousarray(out[..., :-1]), np.ascontiguousarray(out[..., -1])
    return out, _keyed(out, header.chunks.get(b"tRNS"))


def _keyed(samples: Array, key: bytes | None) -> Array | None:
    """Alpha where one colour is marked as transparent."""
    count = samples.shape[2]
    if key is None or len(key) != 2 * count:
        return None
    colour = np.array(struct.unpack(f">{count}H", key), np.uint16)
    return np.where((samples == colour).all(axis=-1), 0, 65535).astype(np.uint16)


def _band(image: Image.Image, rows: slice) -> Array:
    part = image.crop((0, rows.start, image.width, rows.stop))
    return np.asarray(part)


def _pixel_data(stream: BinaryIO) -> bytes:
    """All IDAT bodies in one; `scan` has checked them."""
    return b"".join(_pixel_parts(stream))


def _pixel_parts(stream: BinaryIO) -> Iterator[bytes]:
    stream.seek(len(SIGNATURE))
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            yield stream.read(length)
            stream.seek(4, 1)
        elif kind == b"IEND":
            break
        else:
            stream.seek(length + 4, 1)


def write16(stream: BinaryIO, picture: Picture, exif: bytes | None) -> None:
    """Write a uint16 picture as PNG, a band of rows at a time."""
    colour = {1: 0, 3: 2}[picture.channels] + (4 if picture.alpha is not None else 0)
    count = SAMPLES[colour]
    stream.write(SIGNATURE)
    size = struct.pack(">IIBBBBB", picture.width, picture.height, 16, colour, 0, 0, 0)
    _chunk(stream, b"IHDR", size)
    if picture.icc:
        _chunk(stream, b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.icc))
    for kind, body in (*colour_chunks(picture), *text_chunks(picture)):
        _chunk(stream, kind, body)
    if picture.dpi and max(picture.dpi) < FINEST:
        across, down = (round(value / 0.0254) for value in picture.dpi)
        _chunk(stream, b"pHYs", struct.pack(">IIB", across, down, 1))
    if exif:
        _chunk(stream, b"eXIf", exif)
    packer = zlib.compressobj(effort(picture), zlib.DEFLATED, 15, 9)
    above = np.zeros((1, picture.width * count * 2), np.uint8)
    for rows in bands(picture.height, picture.width):
        part = picture.samples[rows]
        if picture.alpha is not None:
            part = np.concatenate([part, picture.alpha[rows][..., None]], axis=-1)
        raw = np.ascontiguousarray(part, ">u2").view(np.uint8).reshape(part.shape[0], -1)
        body = packer.compress(_filtered(raw, above, 2 * count))
        above = raw[-1:].copy()
        if body:
            _chunk(stream, b"IDAT", body)
    _chunk(stream, b"IDAT", packer.flush())
    _chunk(stream, b"IEND", b"")


def effort(picture: Picture) -> int:
    """How hard to compress, of 9: level 6 is 8% smaller than 3 but takes three times as long."""
    if picture.bits == 1:
        return 9
    return 6 if picture.samples.nbytes < 50_000_000 else 3


def colour_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    """The chunks that say what the colours mean, as the PNG had them; a profile outdoes most."""
    kept = picture.storage.get("colour", {})
    valid = (b"cICP",) if picture.icc else COLOUR
    return [(kind, kept[kind]) for kind in valid if kind in kept]


def xmp(header: Header) -> bytes | None:
    """The XMP packet of a PNG that has one."""
    for kind, body in header.texts:
        if kind != b"iTXt" or not body.startswith(XMP_NAME) or len(body) < len(XMP):
            continue
        packed, rest = body[len(XMP_NAME)], body[len(XMP_NAME) + 2 :]
        _, _, rest = rest.partition(b"\0")  # the language
        _, _, text = rest.partition(b"\0")  # the keyword in it
        if packed:
            try:
                text = zlib.decompressobj().decompress(text, MOST_XMP)
            except zlib.error:
                return None
        return text or None
    return None


def text_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    """The texts that the PNG had, and the picture's XMP packet, which need not come from a PNG."""
    kept = picture.storage.get("texts", ()) if picture.kind == "png" else ()
    texts = [(kind, body) for kind, body in kept if not body.startswith(XMP_NAME)]
    return texts + ([(b"iTXt", XMP + picture.xmp)] if picture.xmp else [])


def _filtered(raw: Array, above: Array, step: int) -> bytes:
    """Rows with the PNG filter that leaves the smallest numbers, each after its filter's number."""
    up = np.concatenate([above, raw[:-1]])
    left, corner = np.zeros_like(raw), np.zeros_like(raw)
    left[:, step:], corner[:, step:] = raw[:, :-step], up[:, :-step]
    best = raw
    lowest, numbers = _cost(raw), np.zeros(len(raw), np.uint8)
    for number in (1, 2, 4):  # the average filter (3) hardly ever wins
        guess = {1: left, 2: up}[number] if number < 4 else _paeth(left, up, corner)
        rest = raw - guess
        cost = _cost(rest)
        better = cost < lowest
        lowest = np.where(better, cost, lowest)
        numbers[better] = number
        best = np.where(better[:, None], rest, best)
    return np.concatenate([numbers[:, None], best], axis=1).tobytes()


def _cost(rest: Array) -> Array:
    """Sum of the bytes' sizes read as signed: libpng's rule of thumb."""
    cost: Array = np.abs(rest.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
    return cost


def _paeth(left: Array, up: Array, corner: Array) -> Array:
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
    return nearest.astype(np.uint8, copy=False)


def _chunk(stream: BinaryIO, kind: bytes, body: bytes) -> None:
    stream.write(struct.pack(">I", len(body)) + kind)
    stream.write(body)
    stream.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))
