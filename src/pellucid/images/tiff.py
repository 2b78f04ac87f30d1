"""TIFF: 1, 8 and 16 bit and float32, page by page, written back as it was stored.

tifffile reads and writes; codecs beyond deflate come with the extra ``tiff``. Signed samples of 16
bits (Hounsfield units, differences) are floats while they are in memory.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import lzma
import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, Literal

import numpy as np
import tifffile
from PIL import Image

from pellucid.errors import ImageError, optional
from pellucid.images import directories
from pellucid.images import exif as exif_block
from pellucid.images.colours import from_cmyk, from_colormap
from pellucid.images.files import DAMAGED, decoding, size_of
from pellucid.images.kinds import check_size
from pellucid.images.picture import Array, Picture
from pellucid.images.png import effort

# tifffile tells of odd tags through logging; a picture that reads well needs no such lines.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_RAW = "a camera raw file is not read; develop it to 16-bit TIFF first"
CAMERA = (32803, 34892)
CONVERT = "convert it to 8-bit, 16-bit or float32 grey or RGB TIFF first"

MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
NONE, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
LZMA, ZSTD = 34925, 50000

# Codecs that are written again; any other becomes deflate.
KEPT = {NONE: NONE, LZW: LZW, JPEG: JPEG, DEFLATE: DEFLATE, OLD_DEFLATE: DEFLATE}
KEPT |= {PACKBITS: PACKBITS, LZMA: LZMA, ZSTD: ZSTD}
# Most bits of picture that a stored byte stands for; see `kinds.KINDS`.
RATIOS = {NONE: 8, LZW: 8 * 4096, JPEG: 8 * 4096, PACKBITS: 8 * 64}
RATIOS |= {DEFLATE: 8 * 1040, OLD_DEFLATE: 8 * 1040, LZMA: 8 * 8000, ZSTD: 8 * 20_000}
WITHOUT_EXTRA = (NONE, DEFLATE, LZMA)
CCITT = (2, 3, 4)
JPEG_QUALITY = 92

# Carried from page to page: names, and what GIS and ImageJ need.
CARRIED = (
    *(269, 285, 297, 316),
    *(33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113),
    *(50838, 50839),
    # What microscopes note, and often alone: Zeiss, FEI, Micro-Manager.
    *(34118, 34680, 34682, 51123),
)
GDAL_NODATA = 42113
XMP, IPTC = 700, 33723
# tifffile writes no tag that points at a directory: these stand in until `write` has laid it down.
STANDING_IN = {directories.EXPOSURE: directories.EXPOSURE + 1, directories.GPS: directories.GPS + 1}


def count(stream: BinaryIO, name: str) -> int:
    """Number of pages; thumbnails and masks beside them are not counted."""
    with _opened(stream, name) as (_, indices):
        return len(indices)


def read(stream: BinaryIO, name: str, page: int = 0) -> Picture:
    """One page."""
    with _opened(stream, name) as (file, indices):
        if not 0 <= page < len(indices):
            raise ImageError(
                f"{name}: there is no page {page}; the pages are 0 to {len(indices) - 1}"
            )
        return _picture(file, indices[page], (page, len(indices)), name)


def pages(stream: BinaryIO, name: str) -> Iterator[Picture]:
    """All pages, each read when it is asked for."""
    with _opened(stream, name) as (file, indices):
        for number, index in enumerate(indices):
            yield _picture(file, index, (number, len(indices)), name)


@contextmanager
def _opened(stream: BinaryIO, name: str) -> Iterator[tuple[Any, list[int]]]:
    stream.seek(0)
    with _told(name):
        file = tifffile.TiffFile(stream)
        found: list[Any] = list(file.pages)
        indices = [i for i, page in enumerate(found) if not page.subfiletype & 5]
        if not found:
            raise ImageError(f"{name}: {DAMAGED}")
        if not indices and any(_holds_raw(page) for page in found):
            raise ImageError(f"{name}: {_RAW}")
        indices = indices or list(range(len(found)))
        if len(found) == 1 and (count := _planes(found[0])) > 1:
            raise ImageError(
                f"{name}: a stack of {count} images in one piece is not read; save it with a page "
                "for each, or as single images"
            )
    yield file, indices


def _planes(page: Any) -> int:
    """How many pictures lie behind a file's only page, by what the programs that do so note."""
    text = page.description
    if page.is_imagej and "images=" in text:
        told = text.partition("images=")[2].split()[0]
        return int(told) if told.isdigit() else 1
    if page.is_stk:  # MetaMorph has an entry for each in this tag
        return int(page.tags[33629].count) if 33629 in page.tags else 1
    if page.is_shaped:  # tifffile notes the whole shape
        found = re.search(r'"shape": *\[([\d, ]+)\]', text)
        if found and "truncated" in text:
            return math.prod(map(int, found[1].split(","))) // int(math.prod(page.shape))
    return 1


def _holds_raw(page: Any) -> bool:
    """Whether the large picture of a thumbnail is what a camera's sensor saw."""
    inside = list(page.pages) if 330 in page.tags else []
    return any(int(one.photometric) in CAMERA for one in inside if hasattr(one, "photometric"))


def _told(name: str) -> AbstractContextManager[None]:
    """What tifffile and the codecs raise, told in a line."""

    def look(text: str) -> None:
        if "imagecodecs" in text and not _has_codecs():
            optional("imagecodecs", "tiff")

    return decoding(name, look=look)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _picture(file: Any, index: int, number: tuple[int, int], name: str) -> Picture:
    label = name if number[1] == 1 else f"{name}, page {number[0]}"
    with _told(label):
        page = file.pages[index]
        _check(file, page, label)
        stored = page.asarray(squeeze=False)
        samples, alpha, bits, icc = _unpack(page, stored, label)
        nodata = _nodata(page, samples)
        if nodata is not None:
            samples[samples == np.float32(nodata)] = np.nan
        order = _tag(page, 274, 1)
        unit, resolution = _tag(page, 296, 2), _resolution(page)
        entries = _entries(file, page)
        unit = unit if unit in (1, 2, 3) else 2
        scale = {2: 1.0, 3: 2.54}.get(unit)
        return Picture(
            samples,
            alpha,
            bits=bits,
            icc=icc,
            exif=exif_block.made(entries.values(), file.byteorder),
            xmp=entries[XMP].raw if XMP in entries else None,
            iptc=_iptc(entries.get(IPTC), file.byteorder),
            dpi=(resolution[0] * scale, resolution[1] * scale) if resolution and scale else None,
            orientation=int(order) if order in range(1, 9) else 1,
            kind="tiff",
            page=number,
            storage={
                "compression": int(page.compression),
                "predictor": int(page.predictor) > 1,
                "resolution": (resolution, unit) if resolution and scale is None else None,
                "extrasample": int(page.extrasamples[0]) if page.extrasamples else 2,
                "tags": [entries[tag] for tag in CARRIED if tag in entries],
                "byteorder": file.byteorder,
                "signed": page.dtype.kind == "i",
                "nodata": nodata,
                "bigtiff": file.is_bigtiff,
            },
        )


def _nodata(page: Any, samples: Array) -> float | None:
    """The value that GIS programs put where nothing was measured; of floats and signed samples."""
    if samples.dtype.kind != "f":
        return None
    try:
        value = float(str(_tag(page, GDAL_NODATA, "")).strip(" \0"))
    except ValueError:
        return None
    return value if math.isfinite(value) and bool((samples == np.float32(value)).any()) else None


def _check(file: Any, page: Any, name: str) -> None:
    """Refuse by name what is not grey or RGB of a known depth, and what cannot be whole."""
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    total = size_of(file.filehandle)
    bits = int(page.bitspersample) * samples
    stored, ratio = min(total, sum(page.databytecounts)), RATIOS.get(int(page.compression))
    sides = [(int(page.imagewidth), int(page.imagelength))]
    sides += [(int(page.tilewidth), int(page.tilelength))] if page.is_tiled else []
    for width, height in sides:
        check_size("tiff", width, height, bits=bits, stored=stored, name=name, ratio=ratio)
    if 50706 in page.tags or photometric in CAMERA:
        raise ImageError(f"{name}: {_RAW}")
    if int(page.imagedepth) > 1:
        raise ImageError(f"{name}: volumes in one page are not read; save one slice a page")
    known = {MINISWHITE: 1, MINISBLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4}
    if photometric == YCBCR and int(page.compression) == JPEG:
        known[YCBCR] = 3
    if photometric not in known:
        colours = getattr(page.photometric, "name", str(photometric))
        raise ImageError(f"{name}: colours of the kind {colours} are not read; {CONVERT}")
    extra = samples - known[photometric]
    if extra not in ((0,) if photometric in (PALETTE, YCBCR) else (0, 1)):
        raise ImageError(
            f"{name}: {samples} channels are not read (grey, RGB, either with alpha, CMYK are); "
            "save each channel as a page"
        )
    if extra and known[photometric] == 1 and 0 in page.extrasamples:
        raise ImageError(
            f"{name}: two channels, the second of which is not said to be transparency, are not "
            "read; save each channel as a page"
        )
    dtype = page.dtype.name if page.dtype is not None else "unknown type"
    if dtype not in ("bool", "uint8", "uint16", "int16", "float16", "float32", "float64"):
        raise ImageError(f"{name}: samples of {dtype} are not read; {CONVERT}")
    if photometric == CMYK and dtype != "uint8":
        raise ImageError(f"{name}: CMYK is read with 8 bits only, not {dtype}; convert it to RGB")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if len(segments) != int(np.prod(page.chunked)):
        raise ImageError(f"{name}: {DAMAGED}")
    for offset, size in segments:
        if offset + size > total or (offset == 0) != (size == 0):
            raise ImageError(f"{name}: {DAMAGED}")
    if not _has_codecs():
        _check_unfolding(file, page, name)


def _has_codecs() -> bool:
    return importlib.util.find_spec("imagecodecs") is not None


def _check_unfolding(file: Any, page: Any, name: str) -> None:
    """Without imagecodecs a strip may unfold to any size: unfold it first, no further than it may.

    Strips that are too small to unfold to much are passed over.
    """
    makers: dict[int, Any] = {DEFLATE: zlib.decompressobj, OLD_DEFLATE: zlib.decompressobj}
    makers[LZMA] = lzma.LZMADecompressor
    maker = makers.get(int(page.compression))
    most = int(np.prod(page.chunks)) * page.dtype.itemsize
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False):
        if maker is not None and size > 16_384:
            file.filehandle.seek(offset)
            if len(maker().decompress(file.filehandle.read(size), most + 1)) > most:
                raise ImageError(f"{name}: {DAMAGED}")


def _unpack(page: Any, stored: Array, name: str) -> tuple[Array, Array | None, int, bytes | None]:
    """Samples, alpha, bits and ICC profile of an array (separate, depth, H, W, contiguous)."""
    array = stored[:, 0]  # depth is 1
    array = np.moveaxis(array[..., 0], 0, -1) if array.shape[0] > 1 else array[0]
    photometric, bits = int(page.photometric), int(page.bitspersample)
    icc = _tag(page, 34675, None)
    icc = icc if isinstance(icc, bytes) else None
    if photometric == PALETTE:
        return from_colormap(array[..., 0], page.colormap), None, 8, icc
    if array.dtype == np.bool_:
        array = np.multiply(array, np.uint8(255), dtype=np.uint8)
    elif array.dtype.kind in "fi":
        array = ~array if photometric == MINISWHITE and array.dtype.kind == "i" else array
        array, bits = array.astype(np.float32, copy=False), 32
    elif bits not in (8, 16):
        array = _stretched(array, bits)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if photometric == MINISWHITE and array.dtype.kind == "u":
        array[..., 0] = ~array[..., 0]
    colours = {CMYK: 4, RGB: 3, YCBCR: 3}.get(photometric, 1)
    alpha = np.ascontiguousarray(array[..., colours]) if array.shape[-1] > colours else None
    samples = np.ascontiguousarray(array[..., :colours])
    if photometric == CMYK:
        image = Image.frombuffer("CMYK", samples.shape[1::-1], samples, "raw", "CMYK", 0, 1)
        samples, icc = from_cmyk(image, icc)
    if samples.dtype == np.uint8 and bits != 1:
        bits = 8
    if alpha is not None and bits == 1:
        bits = 8
    return samples, alpha, 16 if samples.dtype == np.uint16 else bits, icc


def _stretched(array: Array, bits: int) -> Array:
    """Samples packed to an odd number of bits, on the scale of 8 or 16."""
    full, dtype = 2**bits - 1, np.uint8 if bits < 8 else np.uint16
    steps = np.arange(full + 1, dtype=np.int64)
    table = (steps * np.iinfo(dtype).max + full // 2) // full
    stretched: Array = table.astype(dtype)[array]
    return stretched


def _tag(page: Any, code: int, default: Any) -> Any:
    return page.tags[code].value if code in page.tags else default


def _resolution(page: Any) -> tuple[float, float] | None:
    try:
        (a, b), (c, d) = _tag(page, 282, None), _tag(page, 283, None)
        across, down = a / b, c / d
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 1e9 and 0 < down < 1e9 else None


def _entries(file: Any, page: Any) -> dict[int, directories.Entry]:
    """What goes with the picture and says nothing of how its pixels are stored, by tag."""
    found = directories.read(
        file.filehandle,
        page.offset,
        file.byteorder,
        big=file.is_bigtiff,
        tags=(XMP, IPTC, *CARRIED, *exif_block.NAMES),
        nested=tuple(STANDING_IN),
    )
    return {entry.tag: entry for entry in found}


def _iptc(entry: directories.Entry | None, order: str) -> bytes | None:
    """A record of IPTC, which some programs store as whole numbers in the order of the file."""
    if entry is None:
        return None
    raw = entry.ordered(order)
    # What fills the last number up is no part of the record.
    return raw.rstrip(b"\0") if entry.form == directories.LONG else raw


def write(stream: BinaryIO, pictures: Iterable[Picture], name: str) -> None:
    """Write pictures as pages, each when it comes, stored as its file had it, else deflated."""
    writer, big, faxes = None, False, []
    order: Literal["<", ">"] = "<"
    inside: list[list[directories.Entry]] = []
    try:
        for number, picture in enumerate(pictures):
            if writer is None:
                order = picture.storage.get("byteorder") or exif_block.byte_order(picture.exif)
                big = _is_big(picture)
                writer = tifffile.TiffWriter(stream, bigtiff=big, byteorder=order)
            inside.append([entry for entry in exif_block.entries(picture.exif) if entry.inside])
            try:
                if _write_page(writer, picture, order, big) in CCITT:
                    faxes.append(number)
            except (ValueError, TypeError, RuntimeError, struct.error) as error:
                raise ImageError(f"{name}: cannot be written as TIFF: {_short(error)}") from error
    finally:
        if writer is not None:
            writer.close()
    if faxes or any(inside):
        stream.seek(0)
        with tifffile.TiffFile(stream) as file:
            for number, entries in enumerate(inside):
                page: Any = file.pages[number]
                if number in faxes:
                    page.tags[259].overwrite(CCITT[-1])
                for entry in entries:
                    _lay_inside(stream, file, page, entry)


def _lay_inside(stream: BinaryIO, file: Any, page: Any, entry: directories.Entry) -> None:
    """Write a directory at the end of the file, and let the tag that stands in point at it."""
    order, big = file.byteorder, file.is_bigtiff
    end = stream.seek(0, io.SEEK_END)
    at = end + end % 2
    stream.write(bytes(end % 2) + directories.laid(entry.inside, at, order, big=big))
    tag = page.tags[STANDING_IN[entry.tag]]
    stream.seek(tag.offset)
    stream.write(struct.pack(f"{order}H", entry.tag))
    stream.seek(tag.valueoffset)
    stream.write(struct.pack(order + ("Q" if big else "I"), at))


def _is_big(first: Picture) -> bool:
    """Whether offsets of 32 bits would not do for a file of such pages."""
    size = first.samples.nbytes * 4 // 3 * first.page[1]
    return bool(first.storage.get("bigtiff")) or size > 3_900_000_000


def _write_page(writer: Any, picture: Picture, order: str, big: bool) -> int:
    """Write a page; gives the codec that was used."""
    stored = picture.storage if picture.kind == "tiff" else {}
    about = _about(picture, stored, order, big)
    if picture.bits == 1 and stored.get("compression") in CCITT:
        return _write_fax(writer, picture.samples[..., 0] > 127, about)
    array = picture.samples[..., 0] if picture.channels == 1 else picture.samples
    extra = None
    if picture.alpha is not None:
        array = np.concatenate([picture.samples, picture.alpha[..., None]], axis=-1)
        extra = [stored.get("extrasample", 2)]
    elif picture.bits == 1:
        array = array > 127
    if stored.get("nodata") is not None and array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.float32(stored["nodata"]), array)
    if stored.get("signed") and array.dtype.kind == "f" and np.isfinite(array).all():
        array = np.rint(array).clip(-(2**15), 2**15 - 1).astype(np.int16)
    compression, predictor = _packing(picture, stored)
    levels = {JPEG: JPEG_QUALITY, DEFLATE: effort(picture)}
    writer.write(
        array,
        photometric=RGB if picture.channels == 3 else MINISBLACK,
        planarconfig=1 if array.ndim == 3 else None,
        extrasamples=extra,
        compression=compression,
        compressionargs={"level": levels[compression]} if compression in levels else None,
        predictor=predictor,
        **about,
    )
    return compression


def _write_fax(writer: Any, array: Array, about: dict[str, Any]) -> int:
    """A one-bit page as fax group 4, which is much smaller than deflate.

    Pillow's libtiff encodes it. tifffile cannot, but lays down what is already encoded; it knows no
    fax for writing, so the page is called deflated until `write` has put the codec right.
    """
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", compression="group4", tiffinfo={278: len(array)})
    buffer.seek(0)
    page: Any = tifffile.TiffFile(buffer).pages[0]
    buffer.seek(page.dataoffsets[0])
    writer.write(
        iter([buffer.read(page.databytecounts[0])]),
        shape=array.shape,
        dtype=bool,
        photometric=int(page.photometric),
        compression=DEFLATE,
        rowsperstrip=len(array),
        **about,
    )
    return CCITT[-1]


def _about(picture: Picture, stored: Any, order: str, big: bool) -> dict[str, Any]:
    """Keywords of tifffile's writer for what goes with the pixels."""
    resolution, unit = stored.get("resolution") or (picture.dpi, 2)
    entries = [*stored.get("tags", ()), *exif_block.entries(picture.exif)]
    entries += [directories.Entry(XMP, 1, picture.xmp)] if picture.xmp else []
    entries += [directories.Entry(IPTC, 7, picture.iptc)] if picture.iptc else []
    pointer = directories.LONG8 if big else directories.LONG
    tags = [(STANDING_IN[e.tag], pointer, 1, 0, False) for e in entries if e.inside]
    tags += [(e.tag, e.form, e.count, e.ordered(order), False) for e in entries if not e.inside]
    return {
        "iccprofile": picture.icc,
        "resolution": resolution,
        "resolutionunit": unit if resolution else None,
        "metadata": None,
        "software": False,
        "extratags": [*tags, (274, 3, 1, picture.orientation, True)],
    }


def _packing(picture: Picture, stored: Any) -> tuple[int, bool]:
    """Codec and predictor: the input's where they can be written here, else deflate."""
    given = stored.get("compression", OLD_DEFLATE if picture.bits != 32 else NONE)
    compression = KEPT.get(given, DEFLATE)
    if compression not in WITHOUT_EXTRA and not _has_codecs():
        compression = DEFLATE
    if compression == JPEG and (picture.bits != 8 or picture.alpha is not None):
        compression = DEFLATE
    if compression == JPEG and not stored.get("redrawn"):
        compression = DEFLATE  # to pack it once more would change what is to stay
    if compression in (NONE, JPEG, PACKBITS) or picture.bits == 1:
        return compression, False
    predictor = stored.get("predictor", picture.bits == 16)
    if picture.bits == 32 and not _has_codecs():
        predictor = False
    return compression, bool(predictor)
