"""Pictures into PDF: in the place of the scans that they were, or as pages of their own.

Only the picture on a page is replaced. Text that was recognised, bookmarks, links, labels and
metadata stay, and so does every page that did not change. Black and white stays so; other scans
become JPEG, or JPEG 2000 where only that is no larger than they were. Read next: ``scans``.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from pellucid.errors import ImageError, optional
from pellucid.images.files import decoding
from pellucid.images.forms import lay_open
from pellucid.images.painting import POINTS, add_page
from pellucid.images.pdf import Sheet, Source
from pellucid.images.picture import Array, Picture
from pellucid.images.replacing import REPLACED, make_room
from pellucid.images.scans import Scan

# pikepdf logs a traceback for metadata that are no XMP; they say nothing, and that is all.
logging.getLogger("pikepdf").addHandler(logging.NullHandler())

QUALITIES, LOW_QUALITIES = (85, 75, 65), (55, 45)
"""Of JPEG; the first that makes a scan no larger than it was. In place of the low ones JPEG 2000 is
taken, which at the same size is nearer by 4 dB, unless the document is PDF/A-1, which forbids it.
"""

HEADERS = 300
"""Bytes of a JPEG 2000 file besides what its rate counts."""

LEAST_PSNR = 32.0
"""Of JPEG 2000, in dB; a scan that would be worse at the size that it was becomes larger."""

MOST_UNITS = 14_400
"""Units along the side of a page; readers stop there (ISO 32000-1, annex C)."""

DPI = 96.0
"""Of a picture that does not say its own."""

ROWS_PER_STRIP, STRIPS, SIZES = 278, 273, 279
"""Tags of TIFF."""

_TOGETHER = 32
"""Pages whose pictures are held in memory before they go to the disk."""


def write(file: BinaryIO, pictures: Iterable[Picture], name: str) -> None:
    """All pages of one document.

    Args:
        file: Open and empty.
        pictures: As they were read from a PDF, all and in order, some with other samples (those
            have a `Picture.derivation`); or any others, which become the pages of a new one.
        name: For messages.

    Raises:
        ImageError: They are pages of several documents, or not all of one.
    """
    pikepdf = optional("pikepdf", "pdf")
    source: Source | None = None
    pdf: Any = None
    with ExitStack() as stack:
        spool = _Spool(stack, pikepdf)
        for number, picture in enumerate(pictures):
            sheet: Sheet | None = picture.storage.get("pdf")
            found = sheet.source if sheet else None
            if pdf is None:
                source, pdf = found, pikepdf.new() if found is None else found.opened()
                stack.callback(pdf.close)
                spool.pdf = pdf
                spool.jpeg2000 = not pdf.open_metadata().pdfa_status.startswith("1")
            if found is not source or (sheet and sheet.index != number):
                raise ImageError(
                    f"{name}: these are not the pages of one PDF in their order; write each alone"
                )
            with decoding(name, passing=(OSError,)):
                if sheet is None:
                    _append(spool, picture)
                elif sheet.scan is not None and picture.derivation:
                    _replace(spool, sheet, sheet.scan, picture)
        if source is not None and number + 1 != len(pdf.pages):
            raise ImageError(
                f"{name}: there are {number + 1} of {len(pdf.pages)} pages; give all of them"
            )
        with decoding(name, passing=(OSError,)):
            spool.settle()
            if source is not None:
                pdf.remove_unreferenced_resources()
            # The same pages make the same file, to the last byte.
            linear = source is not None and pdf.is_linearized
            pdf.save(file, linearize=linear, deterministic_id=True, min_version=spool.version)


class _Spool:
    """Pictures on their way into a document, of which only a few are held in memory."""

    def __init__(self, stack: ExitStack, pikepdf: Any) -> None:
        self.stack, self.pikepdf = stack, pikepdf
        self.pdf: Any = None
        self.jpeg2000, self.version = True, ""
        self.waiting: list[tuple[Any, str, Any]] = []

    def put(self, page: Any, name: str, picture: Picture, most: int | None) -> None:
        """The picture into a page's resources, in at most so many bytes if that can be had."""
        if not self.waiting:
            self.draft = self.pikepdf.new()
        encoded = _encoded(picture, most, self.pikepdf, jpeg2000=self.jpeg2000)
        if encoded[1].Filter == self.pikepdf.Name.JPXDecode:
            self.version = "1.5"  # the first that knows it
        image = self.draft.make_stream(*encoded)
        self.waiting.append((page, name, image))
        if len(self.waiting) >= _TOGETHER:
            self.settle()

    def settle(self) -> None:
        """What is waiting goes to the disk, from where the document takes it when it is saved."""
        if not self.waiting:
            return
        images = self.pikepdf.Array([image for _, _, image in self.waiting])
        self.draft.trailer.Root.Pictures = images
        file = self.stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self.draft.save(file)
        self.draft.close()
        stored = self.pikepdf.open(file)
        self.stack.callback(stored.close)
        for (page, name, _), image in zip(self.waiting, stored.Root.Pictures, strict=True):
            page.Resources.XObject[name] = self.pdf.copy_foreign(image)
        self.waiting = []


def _append(spool: _Spool, picture: Picture) -> None:
    """A page as large as the picture, upright."""
    picture = picture.upright()
    across, up = picture.dpi or (DPI, DPI)
    size = np.array([picture.width / across, picture.height / up]) * POINTS
    unit = max(1, int(np.ceil(size.max() / MOST_UNITS)))
    wide, high = (round(float(side), 6) for side in size / unit)
    page = add_page(spool.pdf, wide, high)
    if unit > 1:
        page.UserUnit = unit
    page.Resources.XObject = spool.pikepdf.Dictionary()
    body = f"q {wide:.6f} 0 0 {high:.6f} 0 0 cm /Page Do Q"
    page.Contents = spool.pdf.make_stream(body.encode())
    spool.put(page, "/Page", picture, None)


def _replace(spool: _Spool, sheet: Sheet, scan: Scan, picture: Picture) -> None:
    """The picture in place of the scan that it was."""
    page = spool.pdf.pages[sheet.index]
    if (picture.width, picture.height) != scan.size:
        raise ImageError(
            f"{sheet.source.name}, page {sheet.index + 1}: a picture of {picture.width}x"
            f"{picture.height} pixels is to replace one of {scan.size[0]}x{scan.size[1]}"
        )
    if sheet.apart is not None:
        lay_open(spool.pdf, page)
    make_room(spool.pdf, page, scan)
    spool.put(page, REPLACED, picture, scan.stored)


def _encoded(
    picture: Picture, most: int | None, pikepdf: Any, *, jpeg2000: bool
) -> tuple[bytes, Any]:
    """A picture as PDF stores it, and the dictionary that says how."""
    names = pikepdf.Name
    told = pikepdf.Dictionary(
        Type=names.XObject,
        Subtype=names.Image,
        Width=picture.width,
        Height=picture.height,
        BitsPerComponent=8,
        ColorSpace=names.DeviceGray if picture.channels == 1 else names.DeviceRGB,
    )
    sheet: Sheet | None = picture.storage.get("pdf")
    was_bilevel = sheet is not None and sheet.scan is not None and sheet.scan.bilevel
    if picture.channels == 1 and (picture.bits == 1 or was_bilevel):
        told.BitsPerComponent = 1
        told.Filter = names.CCITTFaxDecode
        told.DecodeParms = pikepdf.Dictionary(K=-1, Columns=picture.width, Rows=picture.height)
        return _fax(picture.samples[..., 0]), told
    told.Filter = names.DCTDecode
    for quality in QUALITIES if jpeg2000 else QUALITIES + LOW_QUALITIES:
        data = _jpeg(picture, quality)
        if most is None or len(data) <= most:
            return data, told
    if jpeg2000 and most is not None:
        told.Filter = names.JPXDecode
        data = _jpeg2000(picture, most)
    return data, told


def _fax(samples: Array) -> bytes:
    """Black and white by ITU-T T.6, which PDF calls CCITT fax with K below 0."""
    file = io.BytesIO()
    # Ink is what fax counts as black; TIFF, as Pillow writes it, has 1 for that.
    ink = Image.fromarray(samples < 128)
    ink.save(file, "TIFF", compression="group4", tiffinfo={ROWS_PER_STRIP: samples.shape[0]})
    with Image.open(file) as stored:
        (start,), (size,) = stored.tag_v2[STRIPS], stored.tag_v2[SIZES]  # type: ignore[attr-defined]
    return file.getvalue()[start : start + size]


def _image(picture: Picture) -> Image.Image:
    return Image.fromarray(picture.samples[..., 0] if picture.channels == 1 else picture.samples)


def _jpeg2000(picture: Picture, most: int) -> bytes:
    """The picture in so many bytes, or in the least that leave it `LEAST_PSNR`."""
    image, samples = _image(picture), picture.samples.reshape(picture.height, picture.width, -1)
    while True:
        file = io.BytesIO()
        times = max(1.0, samples.nbytes / max(most - HEADERS, HEADERS))
        image.save(
            file, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[times]
        )
        with Image.open(file) as seen:
            away = np.asarray(seen, np.float32).reshape(samples.shape) - samples
        if times == 1 or float(np.mean(away**2)) <= 255**2 / 10 ** (LEAST_PSNR / 10):
            return file.getvalue()
        most = max(most, 2 * HEADERS) * 5 // 4


def _jpeg(picture: Picture, quality: int) -> bytes:
    image = _image(picture)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
