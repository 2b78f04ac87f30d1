"""DICOM: what was measured, frame by frame; written back as a derived object.

Grey images come as float32 of what was measured (Hounsfield units, counts), never as a window on
it, with NaN where the object says that nothing was measured. Colour comes as RGB. All else of the
object stays with the picture. pydicom reads; the extra ``dicom`` brings it and its decoders. Read
next: ``modality``, what stored numbers mean, and ``derived``, how an object is written.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np

from pellucid.errors import ImageError, optional
from pellucid.images.files import DAMAGED, decoding, size_of
from pellucid.images.kinds import check_size
from pellucid.images.modality import Modality, modality_of
from pellucid.images.picture import Array, Picture

# pydicom tells of odd tags through logging and warnings; an object that reads well needs neither.
logging.getLogger("pydicom").addHandler(logging.NullHandler())

GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
DEPTHS = (8, 16)
"""Bits allocated to a sample that are read."""


@dataclass(frozen=True, eq=False)
class Source:
    """An object that pictures were read from.

    Attributes:
        data: pydicom's data set, never changed.
        name: For messages.
    """

    data: Any
    name: str

    @cached_property
    def frames(self) -> int:
        """How many pictures it holds."""
        return int(self.data.get("NumberOfFrames") or 1)

    @property
    def grey(self) -> bool:
        """Whether its samples are measurements."""
        return self.data.PhotometricInterpretation in GREY

    def stored(self, frame: int) -> Array:
        """The numbers of a frame: (H, W) of grey, RGB (H, W, 3) of colour, palettes resolved."""
        from pydicom.pixels import apply_color_lut, pixel_array

        with told(self.name):
            numbers = pixel_array(self.data, index=frame)
            if self.data.PhotometricInterpretation == PALETTE:
                numbers = apply_color_lut(numbers, self.data)[..., :3]
            return np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("="))

    def modality(self, frame: int, dtype: np.dtype[Any]) -> Modality:
        """What the numbers of a frame mean."""
        with told(self.name):
            return modality_of(self.data, frame, dtype)

    def picture(self, frame: int) -> Picture:
        """A frame as a picture; it keeps this source."""
        stored = self.stored(frame)
        if self.grey:
            samples = self.modality(frame, stored.dtype).measured(stored)[..., None]
        else:
            samples = stored
        icc = self.data.get("ICCProfile")
        return Picture(
            samples,
            icc=bytes(icc) if icc else None,
            kind="dicom",
            page=(frame, self.frames),
            storage={"dicom": self},
        )


def count(stream: BinaryIO, name: str) -> int:
    """Number of frames."""
    return _opened(stream, name).frames


def read(stream: BinaryIO, name: str, page: int = 0) -> Picture:
    """One frame."""
    source = _opened(stream, name)
    if not 0 <= page < source.frames:
        raise ImageError(f"{name}: there is no page {page}; the pages are 0 to {source.frames - 1}")
    return source.picture(page)


def pages(stream: BinaryIO, name: str) -> Iterator[Picture]:
    """All frames, each decoded when it is asked for."""
    source = _opened(stream, name)
    for frame in range(source.frames):
        yield source.picture(frame)


@contextmanager
def told(name: str, *, writing: bool = False) -> Iterator[None]:
    """Tell in a line what pydicom and its decoders raise on a hostile file; it may be anything.

    Args:
        name: The file.
        writing: What the system says of the place that is written to passes.
    """

    def look(text: str) -> None:
        if "exceptions were raised by all available plugins" in text and not _has_decoders():
            raise ImageError(
                f"{name}: it is damaged, or wants a decoder that is not installed; run: "
                "pip install 'pellucid[dicom]'"
            )
        if "Unable to decompress" in text and "missing" in text:
            kind = text.partition("'")[2].partition("'")[0] or "this compression"
            raise ImageError(
                f"{name}: no decoder for {kind} is installed; run: pip install 'pellucid[dicom]'"
            )

    passing = (OSError,) if writing else ()
    with warnings.catch_warnings(), decoding(name, look=look, passing=passing):
        warnings.simplefilter("ignore")
        yield


def _has_decoders() -> bool:
    """Whether the decoders of the extra are installed, not pydicom alone."""
    return all(importlib.util.find_spec(name) for name in ("libjpeg", "openjpeg", "rle"))


# How a file begins: 128 bytes of anything, DICM, and the length of what is told of the rest.
_GROUP_LENGTH = bytes((2, 0, 0, 0)) + b"UL" + bytes((4, 0))
_PREAMBLE = 128 + 4 + 12
_DEFLATED = b"1.2.840.10008.1.2.1.99"
# Pictures pack to a tenth at best, masks to a hundredth.
_RATIO, _HARMLESS = 200, 2**28


def _opened(stream: BinaryIO, name: str) -> Source:
    pydicom = optional("pydicom", "dicom")
    stream.seek(0)
    with told(name):
        _check_inflating(stream, name)
        data = pydicom.dcmread(stream, force=True)
        _check(data, name)
    return Source(data, name)


def _check_inflating(stream: BinaryIO, name: str) -> None:
    """Refuse an object of the deflated syntax that would fill the memory before it is looked at."""
    stream.seek(0)
    head = stream.read(_PREAMBLE)
    meta = stream.read(int.from_bytes(head[-4:], "little")) if len(head) == _PREAMBLE else b""
    if head[-12:-4] == _GROUP_LENGTH and _DEFLATED in meta:
        most = max(_HARMLESS, _RATIO * size_of(stream))
        unpack, found = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while part := stream.read(2**20):
            # Behind its end there may be a byte to make the length even.
            while part and found <= most and not unpack.eof:
                found += len(unpack.decompress(part, 2**20))
                part = unpack.unconsumed_tail
        if found > most:
            raise ImageError(
                f"{name}: it would unpack to more than {most / 1e6:.0f} MB, as bombs do; save it "
                "with another transfer syntax if it is yours"
            )
    stream.seek(0)


def _check(data: Any, name: str) -> None:
    """Refuse by name what is no picture of a known kind, and what cannot be whole."""
    if "DirectoryRecordSequence" in data:
        raise ImageError(f"{name}: a DICOMDIR is a table of contents; give the files it names")
    if "FloatPixelData" in data or "DoubleFloatPixelData" in data:
        raise ImageError(f"{name}: pixels as floats are not read; convert it to float32 TIFF first")
    if "PixelData" not in data:
        what = data.get("Modality")
        if not what:
            raise ImageError(f"{name}: {DAMAGED} (a DICOM file without an image)")
        raise ImageError(f"{name}: this DICOM object holds no pixels ({what}); give images")
    if "TransferSyntaxUID" not in getattr(data, "file_meta", ()):
        # Without the file's head this is how objects are written.
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        data.ensure_file_meta()
        implicit = data.original_encoding[0] is not False
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        data.file_meta.TransferSyntaxUID = syntax
    wanted = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")
    missing = [tag for tag in (*wanted, "SamplesPerPixel") if data.get(tag) is None]
    if missing:
        raise ImageError(f"{name}: {DAMAGED} (it does not say its {missing[0]})")
    colours, bits = str(data.PhotometricInterpretation), int(data.BitsAllocated)
    samples, frames = int(data.SamplesPerPixel), int(data.get("NumberOfFrames") or 1)
    if bits == 1:
        raise ImageError(f"{name}: this is a mask of one bit (a segmentation) and no picture")
    if bits not in DEPTHS or not 1 <= int(data.BitsStored) <= bits:
        raise ImageError(f"{name}: {bits} bits a sample are not read; 8 and 16 are")
    if int(data.get("HighBit", data.BitsStored - 1)) != int(data.BitsStored) - 1:
        raise ImageError(f"{name}: samples that do not begin at the lowest bit are not read")
    signed = bool(data.get("PixelRepresentation", 0))
    known = {PALETTE: 1, "RGB": 3} | dict.fromkeys(GREY, 1)
    if samples != known.get(colours, 3 if colours.startswith("YBR") else 0):
        raise ImageError(f"{name}: {samples} samples of {colours} are not read; grey and RGB are")
    if signed and colours not in GREY:
        raise ImageError(f"{name}: colours below zero are not read")
    if frames < 1:
        raise ImageError(f"{name}: {DAMAGED} (it has {frames} frames)")
    for group in range(0x6000, 0x6020, 2):
        inside = (group, 0x0102) in data and int(data[group, 0x0102].value or 0) > 0
        if inside and (group, 0x3000) not in data:
            raise ImageError(
                f"{name}: an overlay in unused bits of the pixels is not read; save it as "
                "overlay data first"
            )
    check_size(
        "dicom",
        int(data.Columns),
        int(data.Rows) * frames,
        bits=samples * bits,
        stored=len(data.PixelData or b""),
        name=name,
    )
