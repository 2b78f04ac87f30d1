"""Formats: what each can hold, how its files begin, and how large a picture may be.

A file's kind is read from its first bytes, because suffixes lie. Read next: ``files``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import ImageError, OptionError


@dataclass(frozen=True)
class Kind:
    """What a file format can hold.

    Args:
        title: Its name in messages.
        suffixes: The first one is the usual one.
        bits: Bits a sample that it can store.
        alpha: It stores transparency.
        exif: It stores EXIF, and with it the orientation.
        side: Longest side in pixels.
        ratio: Most bits of picture that a stored byte can stand for; a file that claims more is
            damaged or a bomb.
        free: Any picture can be written so; if not, only what was read from such a file.
    """

    title: str
    suffixes: tuple[str, ...]
    bits: tuple[int, ...]
    alpha: bool
    exif: bool
    side: int
    ratio: float
    free: bool = True


# Deflate cannot beat 1032:1. A JPEG block of 64 samples takes at least one bit. LZW's longest
# code word stands for 4096 bytes. The others have no bound; theirs only keeps bombs out.
KINDS: dict[str, Kind] = {
    "png": Kind("PNG", (".png", ".apng"), (1, 8, 16), True, True, 2**31 - 1, 8 * 1040),
    "jpeg": Kind("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), (8,), False, True, 65500, 8 * 4096),
    "webp": Kind("WebP", (".webp",), (8,), True, True, 16383, 8 * 80_000),
    "avif": Kind("AVIF", (".avif",), (8,), True, True, 65535, 8 * 80_000),
    "tiff": Kind("TIFF", (".tif", ".tiff"), (1, 8, 16, 32), True, True, 2**31 - 1, 8 * 80_000),
    "bmp": Kind("BMP", (".bmp", ".dib"), (1, 8), False, False, 2**31 - 1, 8 * 4096),
    "gif": Kind("GIF", (".gif",), (1, 8), False, False, 65535, 8 * 4096),
    "dicom": Kind("DICOM", (".dcm", ".dicom"), (8, 16, 32), False, False, 65535, 8 * 80_000, False),
    "pdf": Kind("PDF", (".pdf",), (1, 8), False, False, 2**31 - 1, 8 * 80_000),
}

LOSSY = ("jpeg", "webp", "avif")
"""Formats in which a picture does not come back from the disk as it was written."""

SUFFIXES: dict[str, str] = {s: name for name, kind in KINDS.items() for s in kind.suffixes}

# A picture of fewer bytes than this is no bomb, however small its file.
HARMLESS_BYTES = 64 * 2**20

DEFAULT_MAX_PIXELS = 1_000_000_000

_CONVERT = "convert it to PNG or TIFF first"

# What people have, that is not read: first bytes (at an offset) and what to do.
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"ftypheic", "HEIC", _CONVERT),
    (4, b"ftypheix", "HEIC", _CONVERT),
    (4, b"ftypmif1", "HEIF", _CONVERT),
    (4, b"ftypcrx", "a camera raw file", "develop it to 16-bit TIFF first"),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file", "develop it to 16-bit TIFF first"),
    (0, b"II\x55\x00", "a camera raw file", "develop it to 16-bit TIFF first"),
    (0, b"IIRO", "a camera raw file", "develop it to 16-bit TIFF first"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000", _CONVERT),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL", _CONVERT),
    (0, b"\xff\x0a", "JPEG XL", _CONVERT),
    (0, b"8BPS", "Photoshop", _CONVERT),
    (0, b"qoif", "QOI", _CONVERT),
    (0, b"v/1\x01", "OpenEXR", "convert it to float TIFF first"),
    (0, b"#?RADIANCE", "Radiance HDR", "convert it to float TIFF first"),
    (0, b"SIMPLE  =", "FITS", "convert it to float TIFF first"),
    (0, b"\x89HDF", "HDF5", _CONVERT),
    (0, b"\x93NUMPY", "a numpy array", "give the array itself, or save it as TIFF"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (0, b"<svg", "SVG", "render it to PNG first"),
    (0, b"<!DOCTYPE", "a web page", "save the picture that it shows"),
    (0, b"<!doctype", "a web page", "save the picture that it shows"),
    (0, b"<html", "a web page", "save the picture that it shows"),
    (0, b"<?xml", "XML or SVG", "render it to PNG first"),
    (0, b"version https://git-lfs", "a Git LFS pointer", "run: git lfs pull"),
    *((0, b"P%d" % n + gap, "Netpbm", _CONVERT) for n in range(1, 8) for gap in (b"\n", b" ")),
)

HEAD_BYTES = 4096


def titles() -> str:
    """The formats that can be read, for messages."""
    return ", ".join(kind.title for kind in KINDS.values())


def sniff(head: bytes) -> str | None:
    """The kind of a file from its first bytes (1024 are enough), or None."""
    # First, since a DICOM file may begin as a TIFF does and be both.
    if head[128:132] == b"DICM" or _is_bare_dicom(head):
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        return "avif" if b"avif" in brands or b"avis" in brands else None
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    if head.startswith(b"BM"):
        return "bmp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    # Readers have always looked for it among the first 1024 bytes.
    return "pdf" if b"%PDF-" in head[:1024] else None


def _is_bare_dicom(head: bytes) -> bool:
    """Whether this is DICOM without the head of a file, as old archives have it.

    The first element is of group 2 or 8, with two letters for its type or a short length.
    """
    if head[:4] == b"\x02\x00\x00\x00":
        return head[4:6] == b"UL"
    if head[:2] != b"\x08\x00" or head[3:4] != b"\x00":
        return False
    return head[4:6] in (b"UL", b"CS", b"UI", b"SH") or 0 < int.from_bytes(head[4:8], "little") < 99


def identify(head: bytes, name: str) -> str:
    """The kind of a file from its first bytes; an `ImageError` says what else it is."""
    if not head:
        raise ImageError(f"{name}: the file is empty; give a picture ({titles()})")
    kind = sniff(head)
    if kind is not None:
        return kind
    for offset, magic, title, advice in _FOREIGN:
        if head[offset : offset + len(magic)] == magic:
            raise ImageError(f"{name}: this is {title}, which is not read; {advice}")
    raise ImageError(f"{name}: not a picture that can be read; possible are {titles()}")


def kind_of(path: str | Path) -> str:
    """The kind that a path's suffix asks for, to write it."""
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    given = f"the suffix '{suffix}'" if suffix else "no suffix"
    raise ImageError(
        f"{path}: {given} names no format that can be written; "
        f"use one of {', '.join(kind.suffixes[0] for kind in KINDS.values())}"
    )


def max_pixels() -> int:
    """Most pixels a picture may have: $PELLUCID_MAX_PIXELS, or a thousand million."""
    given = os.environ.get("PELLUCID_MAX_PIXELS")
    if not given:
        return DEFAULT_MAX_PIXELS
    try:
        limit = int(given.replace("_", ""))
    except ValueError:
        limit = 0
    if limit < 1:
        raise OptionError(f"PELLUCID_MAX_PIXELS is '{given}'; give a whole number above 0")
    return limit


def check_size(
    kind: str,
    width: int,
    height: int,
    *,
    bits: int,
    stored: int | None,
    name: str,
    ratio: float | None = None,
) -> None:
    """Refuse a picture for its size before any of it is decoded.

    Args:
        kind: A key of `KINDS`.
        width: Pixels that the header claims.
        height: Likewise.
        bits: Bits a pixel, all channels together, as the format packs them.
        stored: Bytes of the file that can hold pixels; None where unknown.
        name: The file, for the message.
        ratio: Most bits of picture a stored byte, where more is known than `KINDS` says.
    """
    if width < 1 or height < 1:
        raise ImageError(f"{name}: the picture is {width}x{height} pixels: there is nothing in it")
    pixels, limit = width * height, max_pixels()
    if pixels > limit:
        raise ImageError(
            f"{name}: {width}x{height} is {pixels:,} pixels, more than the {limit:,} allowed; "
            f"if you trust the file, set PELLUCID_MAX_PIXELS={pixels}"
        )
    if stored is None or pixels * bits <= 8 * HARMLESS_BYTES:
        return
    if pixels * bits > (ratio or KINDS[kind].ratio) * stored:
        raise ImageError(
            f"{name}: it claims {width}x{height} pixels but holds only {stored:,} bytes: "
            "damaged, or a decompression bomb; get the file again"
        )
