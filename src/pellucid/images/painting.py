"""Pages of PDF taken apart by pikepdf and painted by pdfium; the extra ``pdf`` brings both.

Read next: `scans`, which finds what a scanner put on a page.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import optional
from pellucid.images.picture import Array

Matrix = NDArray[np.float64]
"""(3, 3); a row (x, y, 1) times it is where that point lies, as PDF has it."""

POINTS = 72.0
"""Units of a page in an inch, unless the page says otherwise."""

TYPESET_DPI = 200.0
"""At which typeset pages are painted where they must become pictures."""

MOST_PIXELS = 50e6
"""Of a typeset page that must become a picture: three feet square at that resolution."""

LOOK = 1000
"""Pixels of the longer side where a page is only looked at."""

STRAY = 8
"""Pixels of a glance that may differ by chance."""

_DIFFERS = 32
"""Of 255: by so much a pixel differs that shows something else."""

_IMAGE = 3
"""What pdfium calls an object that is a picture."""

_PDFIUM = threading.Lock()
"""pdfium works for one thread at a time."""


def instructions_of(page: Any) -> list[Any]:
    """What is on a page, parsed."""
    return list(optional("pikepdf", "pdf").parse_content_stream(page))


def add_page(pdf: Any, width: float, height: float) -> Any:
    """A new page of a document, of any size."""
    pikepdf = optional("pikepdf", "pdf")
    sheet = pikepdf.Dictionary(
        Type=pikepdf.Name.Page,
        MediaBox=pikepdf.Array([0, 0, width, height]),
        Resources=pikepdf.Dictionary(),
    )
    pdf.pages.append(pikepdf.Page(pdf.make_indirect(sheet)))
    return pdf.pages[-1]


def operands(matrix: Matrix) -> str:
    """The six numbers of a matrix, as PDF writes them."""
    return " ".join(f"{number:.9f}".rstrip("0").rstrip(".") for number in matrix[:, :2].flat)


def rendered_page(page: Any) -> tuple[Array, float]:
    """A page as it is seen, (H, W, 1) or (H, W, 3) of uint8, and its pixels an inch.

    At `TYPESET_DPI`, or at less where that would be more than `MOST_PIXELS`.
    """
    pikepdf = optional("pikepdf", "pdf")
    alone = pikepdf.new()
    alone.pages.append(page)
    edges = np.array([float(edge) for edge in alone.pages[0].cropbox]).reshape(2, 2)
    area = max(1e-9, float(np.abs(edges[1] - edges[0]).prod()))
    points = POINTS / max(1e-3, float(alone.pages[0].obj.get("/UserUnit", 1)))  # of units, an inch
    dpi = min(TYPESET_DPI, points * float(np.sqrt(MOST_PIXELS / area)))
    return painting(alone, dpi / points, grey=False), dpi


def glance(page: Any, instructions: Sequence[Any]) -> Array:
    """What a page shows within its crop box with these instructions alone: (H, W) of uint8, small.

    Not turned as the page asks, and with what was laid over it (annotations).
    """
    pikepdf = optional("pikepdf", "pdf")
    alone = pikepdf.new()
    alone.pages.append(page)
    sheet = alone.pages[0]
    sheet.obj.Rotate, sheet.obj.UserUnit = 0, 1
    named = sheet.get_resources()
    if "/XObject" in named:
        used = {str(one.operands[0]) for one in instructions if str(one.operator) == "Do"}
        inside = dict(named.items())
        inside["/XObject"] = pikepdf.Dictionary(
            {name: one for name, one in named["/XObject"].items() if name in used}
        )
        sheet.obj.Resources = pikepdf.Dictionary(inside)
    sheet.Contents = alone.make_stream(pikepdf.unparse_content_stream(instructions))
    edges = np.array([float(edge) for edge in sheet.cropbox]).reshape(2, 2)
    scale = LOOK / max(1e-3, float(np.abs(edges[1] - edges[0]).max()))
    return painting(alone, scale, grey=True, checked=False)[..., 0]


def differing(one: Array, other: Array) -> Array:
    """Where two glances show something else."""
    return np.abs(one.astype(np.int16) - other) > _DIFFERS


def painting(pdf: Any, scale: float, *, grey: bool, checked: bool = True) -> Array:
    """The only page of a document as pdfium paints it; `checked` raises where it left one out."""
    pdfium = optional("pypdfium2", "pdf")
    file = io.BytesIO()
    pdf.save(file)
    with _PDFIUM:
        document = pdfium.PdfDocument(file.getvalue())
        try:
            page = document[0]
            # A picture that pdfium cannot decode is left out of the painting without a word.
            for one in page.get_objects(filter=[_IMAGE]) if checked else ():
                one.get_bitmap()
            bitmap = page.render(scale=scale, grayscale=grey, rev_byteorder=True)
            samples: Array = np.array(bitmap.to_numpy())
            bitmap.close()
        finally:
            document.close()
    samples = samples[..., None] if samples.ndim == 2 else samples[..., :3]
    if samples.shape[2] == 3 and all(
        bool((samples[..., 0] == samples[..., other]).all()) for other in (1, 2)
    ):
        samples = np.ascontiguousarray(samples[..., :1])
    return samples
