"""The orientation inside an EXIF block, read and changed without touching the rest of it.

Pillow would decode and write the whole block anew, and lose makers' private notes.
"""

from __future__ import annotations

import struct

ORIENTATION = 0x0112
PREFIX = b"Exif\x00\x00"


def bare(exif: bytes | None) -> bytes | None:
    """The block without the prefix that JPEG puts before it; None where there is nothing."""
    if not exif:
        return None
    return exif.removeprefix(PREFIX) or None


def _place(exif: bytes) -> tuple[int, str] | None:
    """Where the value of the orientation tag lies, and how to unpack it."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for index in range(count):
        entry = start + 2 + 12 * index
        if entry + 12 > len(exif):
            return None
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
    """The block with this orientation; a new small block where there was none to change."""
    if orientation(exif) == value:
        return exif
    place = _place(exif) if exif else None
    if exif is not None and place is not None:
        changed = bytearray(exif)
        struct.pack_into(place[1], changed, place[0], value)
        return bytes(changed)
    fresh = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, value, 0, 0)
    return _inserted(exif, value) if exif else fresh


def _inserted(exif: bytes, value: int) -> bytes:
    """A block without the tag, given one. Offsets move, so Pillow writes it anew."""
    from PIL import Image

    block = Image.Exif()
    try:
        block.load(PREFIX + exif)
        block[ORIENTATION] = value
        return bare(block.tobytes()) or exif
    except Exception:  # a damaged block is carried along as it is
        return exif
