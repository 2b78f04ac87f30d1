"""Picture files to arrays and back, keeping all that must survive.

``read`` gives a `Picture`: the samples as stored and, beside them, bit depth, alpha, ICC profile,
EXIF with the orientation, resolution and page. ``write`` puts them back. Read next: ``picture``.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ImageError, OptionError, unknown
from pellucid.images import standard
from pellucid.images.files import atomic, find, opened
from pellucid.images.kinds import HEAD_BYTES, KINDS, SUFFIXES, identify, kind_of
from pellucid.images.picture import Picture, unscaled

__all__ = [
    "KINDS",
    "SUFFIXES",
    "Picture",
    "atomic",
    "count_pages",
    "find",
    "pages",
    "picture_of",
    "read",
    "write",
]

Source = str | Path | bytes | BinaryIO


def _kind(stream: BinaryIO, name: str) -> str:
    stream.seek(0)
    return identify(stream.read(HEAD_BYTES), name)


def _paged(kind: str) -> Any:
    """The module that reads a kind page by page; None for those of one picture."""
    module: ModuleType | None = None
    if kind == "tiff":
        from pellucid.images import tiff as module
    elif kind == "dicom":
        from pellucid.images import dicom as module
    elif kind == "pdf":
        from pellucid.images import pdf as module
    return module


def read(source: Source, page: int = 0) -> Picture:
    """The picture in a file, in bytes or in an open binary file.

    Args:
        source: Where it is. The kind is found from the first bytes, not from the suffix.
        page: Which page of a TIFF or PDF, or which frame of a DICOM object.

    Raises:
        ImageError: It is missing, no picture, damaged, too large, or of a kind not read.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write(file, np.zeros((2, 3), np.uint8), kind="png")
        >>> read(file).samples.shape
        (2, 3, 1)
    """
    with opened(source) as (stream, name):
        kind = _kind(stream, name)
        if (paged := _paged(kind)) is not None:
            picture: Picture = paged.read(stream, name, page)
            return picture
        if page != 0:
            raise ImageError(
                f"{name}: there is no page {page}; {KINDS[kind].title} has page 0 only"
            )
        return standard.read(stream, kind, name)


def pages(source: Source, *, lenient: bool = False) -> Iterator[Picture]:
    """The pages of a file in turn, each read when it is asked for.

    Args:
        source: A path, bytes or an open binary file.
        lenient: A page of a PDF that cannot be read comes with an `error` in place of raising it,
            for documents in which it can stay while the others change.
    """
    with opened(source) as (stream, name):
        kind = _kind(stream, name)
        if lenient and kind == "pdf":
            yield from _paged(kind).pages(stream, name, lenient=True)
        elif (paged := _paged(kind)) is not None:
            yield from paged.pages(stream, name)
        else:
            yield standard.read(stream, kind, name)


def count_pages(source: Source) -> int:
    """Number of pages of a TIFF or PDF, of frames of a DICOM object; 1 for the other formats."""
    with opened(source) as (stream, name):
        paged = _paged(_kind(stream, name))
        return 1 if paged is None else int(paged.count(stream, name))


def picture_of(array: NDArray[np.generic], *, keep_float: bool = True) -> Picture:
    """The picture of a bare array.

    Args:
        array: (H, W), or (H, W, C) with C 1, 2 (grey and alpha), 3 or 4 (RGB and alpha); bool,
            uint8, uint16, or floats in [0, 1].
        keep_float: False rounds floats to 8 bits, for formats that hold no floats.
    """
    array = np.asarray(array)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise ImageError(f"an array of shape {array.shape} is no picture; give (H, W) or (H, W, C)")
    bits = 0
    if array.dtype == np.bool_:
        array, bits = array.astype(np.uint8) * np.uint8(255), 1 if array.shape[2] == 1 else 8
    elif array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        array = array if keep_float else unscaled(array, np.dtype(np.uint8))
    if array.shape[2] in (2, 4):
        return Picture(np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1]))
    return Picture(array, bits=bits)


def write(
    target: str | Path | BinaryIO,
    picture: Picture | NDArray[np.generic] | Iterable[Picture],
    kind: str | None = None,
    quality: int | None = None,
) -> None:
    """Write a picture, or several as the pages of a TIFF, PDF or DICOM file; whole, or not at all.

    Args:
        target: A path, whose suffix names the format, or an open binary file.
        picture: A `Picture`; an array (see `picture_of`; floats are rounded to 8 bits unless the
            format is TIFF); or pictures, taken one by one.
        kind: Format, a key of `KINDS`; needed where there is no suffix.
        quality: 1 to 100 for JPEG, WebP, AVIF. By default the input's own setting is kept where
            the format is the same.

    Raises:
        ImageError: The format cannot hold the picture, or the place cannot be written.
    """
    stream = None if isinstance(target, (str, Path)) else target
    if kind is None:
        if stream is not None:
            raise OptionError(f"an open file has no suffix; give kind=, one of {', '.join(KINDS)}")
        kind = kind_of(target)  # type: ignore[arg-type]
    elif kind not in KINDS:
        raise unknown("picture format", kind, KINDS)
    if quality is not None and not (kind in standard.QUALITY and 1 <= quality <= 100):
        raise OptionError(
            f"quality {quality} for {KINDS[kind].title} is not possible; "
            f"give 1 to 100 for {', '.join(KINDS[name].title for name in standard.QUALITY)}"
        )
    name = str(target) if stream is None else f"the {KINDS[kind].title} stream"
    found = _checked(_pictures(picture, kind), kind, name)
    first = next(found, None)
    if first is None:
        raise ImageError(f"{name}: there is no picture to write")
    if stream is None:
        with atomic(target) as file:  # type: ignore[arg-type]
            _encode(file, first, found, kind, quality, name)
    else:
        whole = io.BytesIO()
        _encode(whole, first, found, kind, quality, name)
        stream.write(whole.getbuffer())


def _pictures(
    given: Picture | NDArray[np.generic] | Iterable[Picture], kind: str
) -> Iterator[Picture]:
    if isinstance(given, Picture):
        yield given
    elif isinstance(given, np.ndarray):
        yield picture_of(given, keep_float=kind == "tiff")
    else:
        several: Any = given
        if not isinstance(several, Iterable) or isinstance(several, str | bytes):
            several = [given]
        for one in several:
            if not isinstance(one, Picture | np.ndarray):
                raise ImageError(
                    f"a {type(one).__name__} cannot be written; give Pictures or NumPy arrays"
                )
            yield from _pictures(one, kind)


def _encode(
    file: BinaryIO,
    first: Picture,
    rest: Iterator[Picture],
    kind: str,
    quality: int | None,
    name: str,
) -> None:
    module: ModuleType | None = None
    if kind == "tiff":
        from pellucid.images import tiff as module
    elif kind == "dicom":
        from pellucid.images import derived as module
    elif kind == "pdf":
        from pellucid.images import sheets as module
    if module is not None:
        module.write(file, chain([first], rest), name)
        return
    if next(rest, None) is not None:
        raise ImageError(
            f"{name}: {KINDS[kind].title} holds one picture; write several as TIFF or PDF"
        )
    standard.write(file, first, kind, quality, name)


def _checked(pictures: Iterator[Picture], kind: str, name: str) -> Iterator[Picture]:
    """Refuse what the format would lose."""
    form = KINDS[kind]
    for picture in pictures:
        if picture.bits > max(form.bits):
            what = "float" if picture.bits == 32 else f"{picture.bits}-bit"
            able = [k.title for k in KINDS.values() if picture.bits in k.bits and k.free]
            raise ImageError(
                f"{name}: {form.title} cannot hold {what} samples; "
                f"write {' or '.join(able)}, or round the samples to 8 bits yourself"
            )
        if picture.alpha is not None and not form.alpha:
            raise ImageError(
                f"{name}: {form.title} cannot hold transparency; write PNG, WebP, AVIF or TIFF"
            )
        if (
            picture.alpha is not None
            and kind != "tiff"
            and picture.storage.get("extrasample") in (0, 1)
        ):
            why = (
                "the fourth channel is not said to be transparency"
                if picture.storage["extrasample"] == 0
                else "the colours are multiplied by alpha"
            )
            raise ImageError(f"{name}: {why}; write TIFF")
        if max(picture.height, picture.width) > form.side:
            raise ImageError(
                f"{name}: {form.title} ends at {form.side} pixels a side and this picture is "
                f"{picture.width}x{picture.height}; write PNG or TIFF"
            )
        yield picture
