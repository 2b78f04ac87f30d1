"""PNG, JPEG, WebP, AVIF, BMP and GIF, through Pillow.

Each format's own reader is opened by the kind that was sniffed, not through ``Image.open``: only
that reader sees the file, its size is judged by our own limit, and starting is quicker. Pixels are
copied out in bands, so that a picture is held twice for as short as can be.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from pellucid.errors import ImageError
from pellucid.images import exif as exif_block
from pellucid.images import png
from pellucid.images.colours import from_cmyk, from_palette, is_rgb
from pellucid.images.files import DAMAGED, size_of
from pellucid.images.kinds import KINDS, check_size
from pellucid.images.picture import Array, Picture, bands

_PLUGINS = {
    "png": ("PngImagePlugin", "PngImageFile"),
    "jpeg": ("JpegImagePlugin", "JpegImageFile"),
    "webp": ("WebPImagePlugin", "WebPImageFile"),
    "avif": ("AvifImagePlugin", "AvifImageFile"),
    "bmp": ("BmpImagePlugin", "BmpImageFile"),
    "gif": ("GifImagePlugin", "GifImageFile"),
}

_IPTC = 0x0404
"""Photoshop's number of it."""

_SEGMENT = 65_533
"""Bytes that a segment of a JPEG has room for. EXIF, XMP and IPTC that do not fit with what goes
before them (6, 29 and 26 bytes) are left out."""

_FINEST = {"jpeg": 65_535.0, "png": png.FINEST, "bmp": png.FINEST}
"""Pixels an inch that a format can tell of; finer ones, as of microscopes, are left out."""

_USUAL_PRIMARIES = (1, 2, 5, 6)
"""In AVIF, by ISO/IEC 23091-2: of BT.709, which sRGB has, not told, and the near ones of BT.601."""

_BRIGHT = (16, 18)
"""There, how PQ and HLG tell values: pictures of high dynamic range."""

# Good to the eye at a moderate size, for pictures that bring no setting of their own.
QUALITY = {"jpeg": 92, "webp": 90, "avif": 85}


def read(stream: BinaryIO, kind: str, name: str) -> Picture:
    """The picture in the stream; the first frame of an animation."""
    header = None
    if kind == "png":
        header = png.scan(stream, name)
    else:
        _check_before(stream, kind, name)
    try:
        return _decoded(stream, kind, header, name)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name}: not enough memory for this picture; free some") from error
    except Exception as error:  # what Pillow raises on a hostile file is anyone's guess
        if header is not None:
            with suppress(Exception):
                return _decoded(png.bare(stream, header), kind, header, name)
        if "bit layers" in str(error):
            raise ImageError(
                f"{name}: JPEG of more than 8 bits is not read; convert it to 16-bit PNG or TIFF"
            ) from error
        raise ImageError(f"{name}: {DAMAGED} ({_short(error)})") from error


def _decoded(stream: BinaryIO, kind: str, header: png.Header | None, name: str) -> Picture:
    stream.seek(0)
    image = _open(stream, kind)
    check_size(kind, *image.size, bits=_bits(image.mode), stored=size_of(stream), name=name)
    if image.info.get("progressive"):
        _count_scans(stream, name)
    storage = _storage(image, kind, stream, header)
    if header is not None and header.depth == 16:
        samples, alpha = png.read16(stream, header)
        if not samples[-1].any():
            png.check_whole(stream, header, name)
        info, bits, animated = image.info, 16, header.animated
        icc = image.info.get("icc_profile")
    else:
        animated = _animated(image)
        image.load()
        if header is not None and not _last_row(image).any():
            png.check_whole(stream, header, name)
        info = image.info
        depth = 8 if header is None else header.depth
        samples, alpha, bits, icc = _unpack(image, name, depth)
    if header is not None:
        icc = icc or png.profile(header)
    packed = header.chunks.get(b"eXIf") if header is not None else None
    exif = exif_block.bare(info.get("exif") or packed)
    return Picture(
        samples,
        alpha,
        bits=bits,
        icc=icc,
        exif=exif,
        xmp=_xmp(info.get("xmp") if header is None else png.xmp(header)),
        iptc=_iptc(info.get("photoshop")) if kind == "jpeg" else None,
        dpi=_dpi(info.get("dpi")) or exif_block.resolution(exif),
        orientation=exif_block.orientation(exif),
        kind=kind,
        animated=animated,
        storage=storage,
    )


def _last_row(image: Image.Image) -> Array:
    return np.asarray(image.crop((0, image.height - 1, image.width, image.height)))


def _animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damage behind the first frame, which is all that is read
        return True


def _iptc(resources: Any) -> bytes | None:
    """The record of IPTC among Photoshop's resources."""
    record = resources.get(_IPTC) if isinstance(resources, dict) else None
    return record if isinstance(record, bytes) and record else None


def _with_iptc(record: bytes) -> bytes:
    """The segment of a JPEG that holds a record of IPTC, as Photoshop's only resource."""
    even = record + bytes(len(record) % 2)
    body = b"Photoshop 3.0\0" + struct.pack(">4sHHI", b"8BIM", _IPTC, 0, len(record)) + even
    return struct.pack(">HH", 0xFFED, len(body) + 2) + body


def _xmp(given: Any) -> bytes | None:
    given = given.encode() if isinstance(given, str) else given
    return given if isinstance(given, bytes) and given else None


def _open(stream: BinaryIO, kind: str) -> Image.Image:
    module, reader = _PLUGINS[kind]
    image: Image.Image = getattr(import_module(f"PIL.{module}"), reader)(stream)
    return image


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__


def _bits(mode: str) -> int:
    if mode == "1":
        return 1
    return 8 * Image.getmodebands(mode)


def _check_before(stream: BinaryIO, kind: str, name: str) -> None:
    """Judge the size where Pillow's reader would allocate as soon as it is opened."""
    if kind not in ("webp", "avif"):
        return
    stream.seek(0)
    head = stream.read(64 * 1024)
    total = size_of(stream)
    width = height = None
    if kind == "webp" and len(head) >= 30:
        form = head[12:16]
        if form == b"VP8X":
            width = int.from_bytes(head[24:27], "little") + 1
            height = int.from_bytes(head[27:30], "little") + 1
        elif form == b"VP8L":
            packed = int.from_bytes(head[21:25], "little")
            width, height = (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
        elif form == b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 26))
        if int.from_bytes(head[4:8], "little") + 8 > total + 1:
            raise ImageError(f"{name}: {DAMAGED}")
    if kind == "avif":
        place = head.find(b"ispe")
        if 0 <= place <= len(head) - 16:
            width, height = struct.unpack_from(">II", head, place + 8)
        place = head.find(b"av1C")
        if 0 <= place <= len(head) - 7 and head[place + 6] & 0x40:
            raise ImageError(
                f"{name}: AVIF with 10 or 12 bits would lose its finer steps here; "
                "convert it to 16-bit PNG or TIFF first"
            )
        place = head.find(b"colrnclx")
        if 0 <= place <= len(head) - 12 and b"colrprof" not in head:
            primaries, transfer = struct.unpack_from(">HH", head, place + 8)
            if primaries not in _USUAL_PRIMARIES or transfer in _BRIGHT:
                raise ImageError(
                    f"{name}: AVIF of a wide gamut or range without an ICC profile (primaries "
                    f"{primaries}, transfer {transfer}) would come back in other colours; convert "
                    "it to sRGB or give it a profile first"
                )
    if width is not None and height is not None:
        check_size(kind, width, height, bits=24, stored=total, name=name)


def _count_scans(stream: BinaryIO, name: str) -> None:
    """Refuse a JPEG of a thousand passes over the picture, which would take hours to decode."""
    here, count = stream.tell(), 0
    stream.seek(0)
    while part := stream.read(2**20):
        count += part.count(b"\xff\xda")
    stream.seek(here)
    if count > 1000:
        raise ImageError(f"{name}: a JPEG of {count:,} scans is not decoded; save it anew")


def _storage(
    image: Image.Image, kind: str, stream: BinaryIO, header: png.Header | None
) -> dict[str, Any]:
    """How the file was stored, so that the same format can be written alike."""
    if kind == "jpeg":
        from PIL import JpegImagePlugin

        return {
            "mode": image.mode,
            "qtables": dict(image.quantization),  # type: ignore[attr-defined]
            "subsampling": JpegImagePlugin.get_sampling(image),
            "progressive": bool(image.info.get("progressive")),
        }
    if kind == "webp":
        return {"lossless": _is_lossless(stream)}
    if header is not None:
        colour = {k: v for k, v in header.chunks.items() if k in png.COLOUR}
        return {"colour": colour, "texts": header.texts}
    return {}


def _is_lossless(stream: BinaryIO) -> bool:
    """Whether the pixels of a WebP, which come after its profile, are packed without loss."""
    here, end, at = stream.tell(), size_of(stream), 12
    lossless = False
    while at + 8 <= end:
        stream.seek(at)
        kind, length = struct.unpack("<4sI", stream.read(8))
        if kind in (b"VP8 ", b"VP8L"):
            lossless = kind == b"VP8L"
            break
        # A frame of an animation has its own chunks within.
        at += 8 + (16 if kind == b"ANMF" else length + length % 2)
    stream.seek(here)
    return lossless


def _dpi(given: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in given)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def _unpack(
    image: Image.Image, name: str, depth: int
) -> tuple[Array, Array | None, int, bytes | None]:
    """Samples, alpha, bits and ICC profile of a loaded image; `depth` is the bits in the file."""
    icc = image.info.get("icc_profile") or None
    mode, key = image.mode, image.info.get("transparency")
    if mode in ("P", "PA"):
        samples, alpha, bits = from_palette(image, coloured=is_rgb(icc))
        return samples, alpha, bits, icc
    if mode in ("CMYK", "YCCK"):
        samples, icc = from_cmyk(image, icc)
        return samples, None, 8, icc
    if mode not in ("1", "L", "LA", "La", "RGB", "RGBA", "RGBa"):
        raise ImageError(
            f"{name}: pixels of the form '{mode}' are not read; convert it to RGB or grey first"
        )
    count = len(image.getbands())
    flat = np.empty((image.height, image.width, count), np.uint8)
    for rows in bands(image.height, image.width):
        part = image.crop((0, rows.start, image.width, rows.stop))
        part = part.convert("L") if mode == "1" else part
        flat[rows] = np.asarray(part).reshape(-1, image.width, count)
    if count in (2, 4):
        samples, alpha = np.ascontiguousarray(flat[..., :-1]), np.ascontiguousarray(flat[..., -1])
        return samples, alpha, 8, icc
    if key is not None and mode in ("1", "L", "RGB") and not isinstance(key, bytes):
        # The key counts in the file's own steps; of one bit Pillow has made 0 and 255.
        clear = np.asarray(key, np.int64) * (1 if mode == "1" else 255 // (2**depth - 1))
        alpha = np.where((flat == clear).all(axis=-1), 0, 255)
        return flat, alpha.astype(np.uint8), 8, icc
    return flat, None, 1 if mode == "1" else 8, icc


def write(stream: BinaryIO, picture: Picture, kind: str, quality: int | None, name: str) -> None:
    """Write a picture that ``images.write`` has found to fit the format."""
    if not KINDS[kind].exif:
        picture = picture.upright()
    exif = exif_block.with_orientation(picture.exif, picture.orientation)
    if (
        picture.dpi and kind in ("webp", "avif") and max(picture.dpi) < 2**32
    ):  # which have no other place for it
        exif = exif_block.with_resolution(exif, picture.dpi)
    if picture.bits == 16:
        png.write16(stream, picture, exif)
        return
    module, _ = _PLUGINS[kind]
    import_module(f"PIL.{module}")  # registers the format with Pillow
    options = _options(picture, kind, quality)
    room = _SEGMENT if kind == "jpeg" else math.inf
    if exif and len(exif) > room - 6:
        exif = exif_block.with_orientation(None, picture.orientation)
    if exif and KINDS[kind].exif:
        options["exif"] = exif_block.PREFIX + exif if kind == "jpeg" else exif
    if picture.xmp and kind in ("jpeg", "webp", "avif") and len(picture.xmp) <= room - 29:
        options["xmp"] = picture.xmp
    if picture.iptc and kind == "jpeg" and len(picture.iptc) <= room - 27:
        options["extra"] = _with_iptc(picture.iptc)
    image = _pack(picture, kind, name)
    try:
        image.save(cast(BinaryIO, _Plain(stream)), format=kind.upper(), **options)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's errors are told by `files.atomic`
        raise ImageError(
            f"{name}: cannot be written as {KINDS[kind].title}: {_short(error)}"
        ) from error


class _Plain(io.RawIOBase):
    """A stream that hides its file number: given one, Pillow writes past Python, and an error such
    as a full disk comes back without its reason.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._stream.write(data)

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)


def _options(picture: Picture, kind: str, quality: int | None) -> dict[str, Any]:
    """Keywords of Pillow's writer: the input's own settings where it was the same format."""
    options: dict[str, Any] = {}
    stored: Mapping[str, Any] = picture.storage if picture.kind == kind else {}
    if picture.icc and kind != "bmp":
        options["icc_profile"] = picture.icc
    if picture.dpi and max(picture.dpi) < _FINEST.get(kind, 0):
        options["dpi"] = picture.dpi
    if kind == "png":
        from PIL import PngImagePlugin

        info = PngImagePlugin.PngInfo()
        for chunk, body in (*png.colour_chunks(picture), *png.text_chunks(picture)):
            info.add(chunk, body)
        options |= {"pnginfo": info, "compress_level": png.effort(picture)}
    if kind == "webp" and stored.get("lossless") and quality is None:
        return options | {"lossless": True, "exact": True}
    if kind in ("webp", "avif"):
        options["quality"] = quality or QUALITY[kind]
        options |= {"exact": True} if kind == "webp" else {}
        if kind == "avif" and options["quality"] >= 90:
            options["subsampling"] = "4:4:4"
    if kind == "jpeg":
        options["progressive"] = stored.get("progressive", False)
        if quality is None and stored.get("mode") == {1: "L", 3: "RGB"}[picture.channels]:
            # Files may number them as they like, and Pillow writes them from 0 on.
            tables = dict(enumerate(stored["qtables"].values()))
            tables = _finer(tables) if stored.get("redrawn") else tables
            options |= {"qtables": tables, "subsampling": stored["subsampling"]}
        else:
            options["quality"] = quality or QUALITY[kind]
            options["subsampling"] = "4:4:4" if options["quality"] >= 90 else "4:2:0"
    return options


def _finer(tables: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """A JPEG's steps, none of them coarser than those of our own quality."""
    good = _steps(QUALITY["jpeg"])
    return {
        number: [min(pair) for pair in zip(steps, good[min(number, 1)], strict=True)]
        for number, steps in tables.items()
    }


@cache
def _steps(quality: int) -> dict[int, list[int]]:
    """The steps of brightness and of colour at a quality, in the order that Pillow has them."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "jpeg", quality=quality)
    stream.seek(0)
    found: dict[int, list[int]] = _open(stream, "jpeg").quantization  # type: ignore[attr-defined]
    return dict(found)


def _pack(picture: Picture, kind: str, name: str) -> Image.Image:
    """Pillow's image of the samples; without a copy where Pillow can borrow them."""
    samples, alpha = picture.samples, picture.alpha
    if alpha is not None:
        return Image.fromarray(np.concatenate([samples, alpha[..., None]], axis=-1))
    image = Image.fromarray(samples[..., 0] if picture.channels == 1 else samples)
    if picture.bits == 1 and kind in ("png", "bmp"):
        return image.convert("1", dither=Image.Dither.NONE)
    if kind == "gif" and picture.channels == 3:
        return _few_colours(image, name)
    return image


def _few_colours(image: Image.Image, name: str) -> Image.Image:
    """The image with a palette, if it has no more colours than a GIF's palette holds."""
    flat = np.asarray(image).astype(np.uint32)
    codes = (flat[..., 0] << 16) | (flat[..., 1] << 8) | flat[..., 2]
    values, index = np.unique(codes, return_inverse=True)
    if len(values) > 256:
        raise ImageError(f"{name}: GIF holds 256 colours and this picture has more; write PNG")
    result = Image.fromarray(index.reshape(codes.shape).astype(np.uint8))
    palette = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1)
    result.putpalette(palette.astype(np.uint8).tobytes())
    return result
