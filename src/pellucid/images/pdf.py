"""PDF: the scans on its pages, each with what is needed to put another in its place.

A page without a scan comes as it is painted and says why it should be left as it is. Pictures are
decoded one page at a time. Read next: ``scans``, which finds them, and ``sheets``, which writes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pellucid.errors import ImageError, optional
from pellucid.images.files import DAMAGED, decoding
from pellucid.images.forms import check, opened
from pellucid.images.painting import instructions_of, rendered_page
from pellucid.images.picture import Picture
from pellucid.images.replacing import stands
from pellucid.images.scans import Scan, find_scan, rendered_scan

TAIL_BYTES = 1024
"""In which a whole file has its mark of the end."""

_TURNED = {0: 1, 90: 6, 180: 3, 270: 8}
"""How a page is turned for reading, and what EXIF calls that."""


@dataclass(frozen=True, eq=False)
class Source:
    """A document that pictures were read from.

    Attributes:
        file: Its path, or its bytes.
        name: For messages.
    """

    file: str | bytes
    name: str

    def opened(self) -> Any:
        """Pikepdf's document, opened anew.

        Raises:
            ImageError: It is damaged, empty or encrypted.
        """
        pikepdf = optional("pikepdf", "pdf")
        given = io.BytesIO(self.file) if isinstance(self.file, bytes) else self.file
        with decoding(self.name):
            try:
                pdf = pikepdf.open(given)
            except pikepdf.PasswordError as error:
                raise ImageError(f"{self.name}: {_ENCRYPTED}") from error
            if pdf.is_encrypted:
                raise ImageError(f"{self.name}: {_ENCRYPTED}")
            if not len(pdf.pages):
                raise ImageError(f"{self.name}: there is no page in this PDF; get the file again")
        return pdf

    @cached_property
    def pdf(self) -> Any:
        """Pikepdf's document, never changed."""
        return self.opened()

    @cached_property
    def signed(self) -> bool:
        """Whether somebody has signed it digitally, which no change outlives."""
        form = self.pdf.Root.get("/AcroForm", {})
        with decoding(self.name):
            return bool(int(form.get("/SigFlags", 0)) & 1)

    def picture(self, index: int) -> Picture:
        """A page as a picture; it keeps this source."""
        name, pages = f"{self.name}, page {index + 1}", self.pdf.pages
        with decoding(name):
            pdf, page, apart = self.pdf, pages[index], None
            instructions = instructions_of(page)
            check(page, instructions, name)
            scan = find_scan(page, instructions, name)
            if isinstance(scan, str) and (alone := opened(page)) is not None:
                laid_open = instructions_of(alone.pages[0])
                inside = find_scan(alone.pages[0], laid_open, name)
                if not isinstance(inside, str):
                    pdf, page, apart = alone, alone.pages[0], alone
                    instructions, scan = laid_open, inside
            if not isinstance(scan, str):
                samples = rendered_scan(pdf, page, instructions, scan, name)
                if not stands(page, instructions, scan, samples):
                    scan = "pictures on this page are clipped, masked, see-through or in layers"
            if isinstance(scan, str):
                samples, dpi = rendered_page(page)
                seen, found = Picture(samples, dpi=(dpi, dpi), untouched=scan), None
            else:
                seen = Picture(
                    samples,
                    bits=1 if scan.bilevel and samples.shape[2] == 1 else 8,
                    dpi=scan.dpi,
                    orientation=_TURNED.get(int(page.rotation) % 360, 1),
                )
                found = scan
        storage = {"pdf": Sheet(self, index, found, apart)}
        return replace(seen, kind="pdf", page=(index, len(pages)), storage=storage)

    def unread(self, index: int, why: str) -> Picture:
        """What stands for a page that could not be read, and leaves it as it is when written."""
        white = np.full((1, 1, 1), 255, np.uint8)
        storage = {"pdf": Sheet(self, index, None)}
        page = index, len(self.pdf.pages)
        return Picture(white, kind="pdf", page=page, storage=storage, error=why)


@dataclass(frozen=True, eq=False)
class Sheet:
    """Where a picture was in a document.

    Attributes:
        source: The document.
        index: The page, from 0.
        scan: What of it the picture is; None for the whole of a page without a scan.
        apart: The document of this page with its groups laid open, in which the scan was found; it
            holds the scan's pictures. None where the page itself does.
    """

    source: Source
    index: int
    scan: Scan | None
    apart: Any = None


_ENCRYPTED = "this PDF is encrypted; save it without a password first (qpdf --decrypt IN OUT)"


def count(stream: BinaryIO, name: str) -> int:
    """Number of pages."""
    return len(_source(stream, name).pdf.pages)


def read(stream: BinaryIO, name: str, page: int = 0) -> Picture:
    """One page."""
    source = _source(stream, name)
    last = len(source.pdf.pages) - 1
    if not 0 <= page <= last:
        raise ImageError(f"{name}: there is no page {page}; the pages are 0 to {last}")
    return source.picture(page)


def pages(stream: BinaryIO, name: str, *, lenient: bool = False) -> Iterator[Picture]:
    """All pages, each decoded when it is asked for; a lenient one says why it could not be."""
    source = _source(stream, name)
    last = len(source.pdf.pages) - 1
    for index in range(last + 1):
        try:
            picture = source.picture(index)
        except ImageError as error:
            if not lenient or last == 0:
                raise
            picture = source.unread(index, str(error))
        yield picture


def _source(stream: BinaryIO, name: str) -> Source:
    """The document, by its path where it has one, so that it need not be held in memory."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - TAIL_BYTES))
    if b"%%EOF" not in stream.read():
        raise ImageError(f"{name}: {DAMAGED} (a PDF without an end)")
    path = getattr(stream, "name", None)
    if isinstance(path, (str, Path)) and os.path.isfile(path):
        return Source(os.fspath(path), name)
    stream.seek(0)
    return Source(stream.read(), name)
