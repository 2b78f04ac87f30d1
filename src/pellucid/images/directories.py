"""The directories in which TIFF and EXIF keep what goes with a picture, copied from one to another.

A directory is a list of entries; some of them point at a directory of their own (exposure, place).
The values are held as bytes, so that what is not understood is copied too. Only inside makers'
notes may an offset lead astray afterwards: nobody but the maker knows which bytes are offsets.

Source: Adobe, TIFF revision 6.0 (1992); CIPA DC-008 (EXIF 2.32, 2019).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import BinaryIO

EXPOSURE, GPS, INTEROPERABILITY = 34665, 34853, 40965
"""Tags that point at directories: how the picture was taken, where, and by which rules."""

LONG, LONG8 = 4, 16
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value, by its form."""

_PAIRS = (5, 10)
"""Forms that are two numbers of half the size."""

_MOST_BYTES = 2**26
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class Entry:
    """One entry of a directory.

    Args:
        tag: What it says.
        form: How its values are stored, a key of `SIZES`.
        raw: The values, low bytes first.
        inside: The directory that it points at, in place of values.
    """

    tag: int
    form: int
    raw: bytes = b""
    inside: tuple[Entry, ...] = ()

    @property
    def count(self) -> int:
        """Number of values."""
        return 1 if self.inside else len(self.raw) // SIZES[self.form]

    def ordered(self, order: str) -> bytes:
        """The values in a byte order, '<' or '>'."""
        return _ordered(self.raw, self.form, order)


def _ordered(raw: bytes, form: int, order: str) -> bytes:
    unit = SIZES[form] // (2 if form in _PAIRS else 1)
    if order == "<" or unit == 1:
        return raw
    swapped = bytearray(len(raw))
    for byte in range(unit):
        swapped[byte::unit] = raw[unit - 1 - byte :: unit]
    return bytes(swapped)


def read(
    stream: BinaryIO,
    at: int,
    order: str,
    *,
    big: bool = False,
    tags: Container[int],
    nested: Container[int] = (),
) -> tuple[Entry, ...]:
    """The directory at a place; what is cut off or of no known form is left out.

    Args:
        stream: A TIFF file or an EXIF block.
        at: Offset of the directory.
        order: Byte order, '<' or '>'.
        big: Whether it is a BigTIFF.
        tags: Which entries are wanted.
        nested: Which of them to follow into directories of their own, where all is wanted.
    """
    return _Reader(stream, order, big).directory(at, tags, nested)


class _Reader:
    def __init__(self, stream: BinaryIO, order: str, big: bool) -> None:
        self.stream, self.order, self.big = stream, order, big
        self.total = stream.seek(0, os.SEEK_END)
        self.budget = _MOST_BYTES

    def bytes_at(self, at: int, size: int) -> bytes:
        """Bytes that are all there, or none; and none once a hostile file has had its share."""
        if not 0 <= at <= self.total - size or size > self.budget:
            return b""
        self.budget -= size
        self.stream.seek(at)
        return self.stream.read(size)

    def directory(self, at: int, tags: Container[int], nested: Container[int]) -> tuple[Entry, ...]:
        row, counted = ("HHQ8s", "Q") if self.big else ("HHI4s", "H")
        head = self.bytes_at(at, struct.calcsize(f"{self.order}{counted}"))
        count = struct.unpack(self.order + counted, head)[0] if head else 0
        size = struct.calcsize(self.order + row)
        rows = self.bytes_at(at + len(head), count * size) if count <= _MOST_ENTRIES else b""
        found = []
        for tag, form, number, value in struct.iter_unpack(self.order + row, rows):
            (place,) = struct.unpack(self.order + ("Q" if self.big else "I"), value)
            if tag in nested:
                inner = (INTEROPERABILITY,) if tag == EXPOSURE else ()
                inside = self.directory(place, range(2**16), inner)
                found += [Entry(tag, LONG, inside=inside)] if inside else []
            elif tag in tags and form in SIZES and number and tag != INTEROPERABILITY:
                length = number * SIZES[form]
                raw = value[:length] if length <= len(value) else self.bytes_at(place, length)
                found += [Entry(tag, form, _ordered(raw, form, self.order))] if raw else []
        return tuple(found)


def laid(entries: Iterable[Entry], at: int, order: str, *, big: bool = False) -> bytes:
    """A directory as bytes, its values and inner directories behind it.

    Args:
        entries: What is in it, in any order.
        at: Where the bytes will stand, an even offset.
        order: Byte order, '<' or '>'.
        big: Whether for a BigTIFF.
    """
    rows = sorted(entries, key=lambda entry: entry.tag)
    counted, word = ("Q", "Q") if big else ("H", "I")
    head = struct.pack(order + counted, len(rows))
    room = struct.calcsize(order + word)
    behind = at + len(head) + len(rows) * (4 + 2 * room) + room
    table, values = bytearray(head), bytearray()
    for entry in rows:
        place, form = behind + len(values), entry.form
        if entry.inside:
            form = LONG8 if big else LONG
            values += laid(entry.inside, place, order, big=big)
            value = struct.pack(order + word, place)
        else:
            value = entry.ordered(order)
            if len(value) > room:
                values += value
                value = struct.pack(order + word, place)
        values += bytes(len(values) % 2)
        table += struct.pack(f"{order}HH{word}", entry.tag, form, entry.count)
        table += value.ljust(room, b"\0")
    return bytes(table + bytes(room) + values)
