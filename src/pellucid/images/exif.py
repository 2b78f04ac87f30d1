"""Orientation and resolution in an EXIF block, read and changed without touching the rest of it.

Pillow would decode and write the whole block anew, and lose makers' private notes. A block is a
small TIFF: byte order, offset of a directory, entries of 12 bytes, data that they point to. What is
common to a block and to a page of TIFF goes from one to the other through `directories`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Literal

from pellucid.images import directories

ORIENTATION = 0x0112
ACROSS, DOWN, UNIT = 0x011A, 0x011B, 0x0128
"""Tags of the resolution."""

NAMES = (270, 271, 272, 305, 306, 315, 18246, 18249, 33432, *range(40091, 40096))
"""Tags of a picture's title, camera, software, date, author, rating, rights; Windows' names."""

_INSIDE = (directories.EXPOSURE, directories.GPS)

EMPTY = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
PREFIX = b"Exif\x00\x00"


def bare(exif: bytes | None) -> bytes | None:
    """The block without the prefix that JPEG puts before it; None where there is nothing."""
    if not exif:
        return None
    return exif.removeprefix(PREFIX) or None


def entries(exif: bytes | None) -> tuple[directories.Entry, ...]:
    """The names in a block, and all of its inner directories."""
    directory = _directory(exif) if exif else None
    if exif is None or directory is None:
        return ()
    order, start, _ = directory
    return directories.read(io.BytesIO(exif), start, order, tags=NAMES, nested=_INSIDE)


def byte_order(exif: bytes | None) -> Literal["<", ">"]:
    """Byte order of a block, '<' or '>'; some of its text depends on it."""
    return ">" if exif and exif[:2] == b"MM" else "<"


def made(found: Iterable[directories.Entry], order: str) -> bytes | None:
    """A block of the names and inner directories among some entries; None where there are none.

    Args:
        found: Of a page of TIFF.
        order: Byte order of the block, '<' or '>'.
    """
    kept = [entry for entry in found if entry.inside or entry.tag in NAMES]
    if not kept:
        return None
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8) + directories.laid(kept, 8, order)


def _directory(exif: bytes) -> tuple[str, int, int] | None:
    """Byte order, place and number of entries of the first directory, if it is all there."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    return (order, start, count) if start + 2 + 12 * count <= len(exif) else None


def _place(exif: bytes) -> tuple[int, str] | None:
    """Where the value of the orientation tag lies, and how to unpack it."""
    directory = _directory(exif)
    if directory is None:
        return None
    order, start, count = directory
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, form, number = struct.unpack_from(f"{order}HHI", exif, entry)
        if tag == ORIENTATION and number == 1 and form in (3, 4):
            return entry + 8, order + ("H" if form == 3 else "I")
    return None


def orientation(exif: bytes | None) -> int:
    """The orientation, 1 to 8; 1 where the block has none, or a wrong one."""
    place = _place(exif) if exif else None
    if exif is None or place is None:
        return 1
    (value,) = struct.unpack_from(place[1], exif, place[0])
    return int(value) if 1 <= value <= 8 else 1


def with_orientation(exif: bytes | None, value: int) -> bytes | None:
    """The block with this orientation; a new small block where there was none, or a damaged one."""
    if orientation(exif) == value:
        return exif
    place = _place(exif) if exif else None
    if exif is not None and place is not None:
        changed = bytearray(exif)
        struct.pack_into(place[1], changed, place[0], value)
        return bytes(changed)
    entry = ORIENTATION, 3, 1, struct.pack("<HH", value, 0), struct.pack(">HH", value, 0)
    return _inserted(exif or EMPTY, entry) or _inserted(EMPTY, entry)


def resolution(exif: bytes | None) -> tuple[float, float] | None:
    """Dots an inch, across and down; None where the block does not say."""
    found: dict[int, float] = {}
    directory = _directory(exif) if exif else None
    if exif is None or directory is None:
        return None
    order, start, count = directory
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, form, number, at = struct.unpack_from(f"{order}HHII", exif, entry)
        if tag in (ACROSS, DOWN) and (form, number) == (5, 1) and at + 8 <= len(exif):
            above, below = struct.unpack_from(f"{order}II", exif, at)
            found[tag] = above / below if below else 0.0
        if tag == UNIT and (form, number) == (3, 1):
            found[tag] = struct.unpack_from(f"{order}H", exif, entry + 8)[0]
    scale = {2: 1.0, 3: 2.54}.get(int(found.get(UNIT, 2)), 0.0)
    across, down = (scale * found.get(tag, 0.0) for tag in (ACROSS, DOWN))
    return (across, down) if across > 0 and down > 0 else None


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes | None:
    """The block with these dots an inch; a new small block where there was none."""
    there = resolution(exif)
    if there is not None and all(abs(a - b) < 0.01 for a, b in zip(there, dpi, strict=True)):
        return exif
    block: bytes | None = exif if exif and _directory(exif) else EMPTY
    inch = UNIT, 3, 1, struct.pack("<HH", 2, 0), struct.pack(">HH", 2, 0)
    block = block and _inserted(block, inch)
    for tag, dots in ((ACROSS, dpi[0]), (DOWN, dpi[1])):
        if block is None:
            return exif
        body = block + bytes(len(block) % 2)
        order = "<" if body[:2] == b"II" else ">"
        share = 1000 if dots < 4e6 else 1
        value = struct.pack(f"{order}II", min(round(dots * share), 2**32 - 1), share)
        place = struct.pack("<I", len(body)), struct.pack(">I", len(body))
        block = _inserted(body + value, (tag, 5, 1, *place))
    return block


def _inserted(exif: bytes, entry: tuple[int, int, int, bytes, bytes]) -> bytes | None:
    """A block given another entry: its first directory is laid down anew at the end.

    So nothing else moves, and the offsets inside it stay true.

    Args:
        exif: The block.
        entry: Tag, form, number, and four bytes of value for either byte order.
    """
    directory = _directory(exif)
    if directory is None:
        return None
    order, start, count = directory
    end = start + 2 + 12 * count
    tag, form, number, *values = entry
    entries = [exif[at : at + 12] for at in range(start + 2, end, 12)]
    entries = [e for e in entries if struct.unpack_from(f"{order}H", e)[0] != tag]
    if len(entries) > 65_534:
        return None
    entries.append(struct.pack(f"{order}HHI", tag, form, number) + values[order == ">"])
    entries.sort(key=lambda entry: int(struct.unpack_from(f"{order}H", entry)[0]))
    following = exif[end : end + 4].ljust(4, b"\0")
    body = exif + bytes(len(exif) % 2)
    head = body[:4] + struct.pack(f"{order}I", len(body))
    fresh = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + following
    return head + body[8:] + fresh
