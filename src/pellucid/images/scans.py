"""What a scanner put on a page of PDF: where its pictures lie, and what they look like.

A scanned page is a picture as large as the page, or strips of it, or a background with a mask above
it; text that was recognised lies over it and is not seen. pikepdf tells where they are, pdfium
paints them. The extra ``pdf`` brings both. Read next: ``pdf``, which makes pictures of pages.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import optional
from pellucid.images.kinds import check_size
from pellucid.images.picture import Array

Matrix = NDArray[np.float64]
"""(3, 3); a row (x, y, 1) times it is where that point lies, as PDF has it."""

POINTS = 72.0
"""Units of a page in an inch, unless the page says otherwise."""

LEAST_COVER = 0.25
"""Share of a page below which pictures on it are no scan of it."""

MOST_TEXT = 200
"""Visible bytes of text above which a page was typeset and its pictures are illustrations."""

TYPESET_DPI = 200.0
"""At which typeset pages are painted where they must become pictures."""

_SPECK = 1e-3
"""Share of the page below which a picture is an ornament, and stays as it is."""

_COLOURS = ("q", "Q", "gs", "g", "rg", "k", "cs", "sc", "scn")
"""What a mask's colour may depend on."""

_SHOWING = ("Tj", "TJ", "'", '"')
_UNSEEN = (3, 7)
"""Modes of text that paint nothing."""

_IMAGE = 3
"""What pdfium calls an object that is a picture."""

_PDFIUM = threading.Lock()
"""pdfium works for one thread at a time."""


@dataclass(frozen=True, eq=False)
class Draw:
    """A picture as the page paints it.

    Attributes:
        index: Number of the instruction that does.
        name: What the page calls it.
        image: pikepdf's stream.
        matrix: Takes the unit square to where it lies on the page.
    """

    index: int
    name: str
    image: Any
    matrix: Matrix

    @property
    def box(self) -> tuple[Matrix, Matrix]:
        """Lower left and upper right corner of the upright rectangle around it."""
        corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) @ self.matrix
        return corners[:, :2].min(0), corners[:, :2].max(0)

    @property
    def density(self) -> Matrix:
        """Its pixels for each unit of the page, across and up."""
        sides = np.maximum(np.hypot(self.matrix[:2, 0], self.matrix[:2, 1]), 1e-9)
        pixels = np.array([int(self.image.Width), int(self.image.Height)]) / sides
        is_turned = abs(self.matrix[0, 0]) < abs(self.matrix[0, 1])
        return pixels[::-1] if is_turned else pixels


@dataclass(frozen=True, eq=False)
class Scan:
    """The scan on a page.

    Attributes:
        draws: The pictures that it is made of, in the order of painting.
        low: Its lower left corner on the page.
        high: Its upper right corner.
        size: Columns and rows of its pixels.
        dpi: Its pixels an inch, across and up.
    """

    draws: tuple[Draw, ...]
    low: Matrix
    high: Matrix
    size: tuple[int, int]
    dpi: tuple[float, float]

    @property
    def bilevel(self) -> bool:
        """Whether it is one picture of black and white."""
        image = self.draws[0].image
        mask = bool(image.get("/ImageMask", False))
        return len(self.draws) == 1 and (mask or int(image.get("/BitsPerComponent", 8)) == 1)

    @property
    def stored(self) -> int:
        """Bytes that its pictures take in the file."""
        return sum(len(draw.image.read_raw_bytes()) for draw in self.draws)


def find_scan(page: Any, instructions: Sequence[Any]) -> Scan | str:
    """The scan on a page, or why there is none.

    Args:
        page: pikepdf's page.
        instructions: What is on it, parsed.
    """
    edges = np.array([float(edge) for edge in page.cropbox]).reshape(2, 2)
    page_low, page_high = edges.min(0), edges.max(0)

    def cover(low: Matrix, high: Matrix) -> float:
        common = np.minimum(high, page_high) - np.maximum(low, page_low)
        return float(np.maximum(common, 0).prod() / max((page_high - page_low).prod(), 1e-9))

    painted, shown = _painted(page, instructions)
    draws = tuple(draw for draw in painted if cover(*draw.box) >= _SPECK)
    if not draws:
        return "there is no scan on this page"
    if sum(length for index, length in shown if index > draws[0].index) > MOST_TEXT:
        return "this page is typeset and not scanned"
    low = np.min([draw.box[0] for draw in draws], axis=0)
    high = np.max([draw.box[1] for draw in draws], axis=0)
    if cover(low, high) < LEAST_COVER:
        return "the pictures on this page are too small for a scan of it"
    density = np.max([draw.density for draw in draws], axis=0)
    columns, rows = (int(n) for n in np.maximum(1, np.rint(density * (high - low))))
    across, up = (density * POINTS / float(page.obj.get("/UserUnit", 1))).tolist()
    return Scan(draws, low, high, (columns, rows), (round(across, 3), round(up, 3)))


def _painted(page: Any, instructions: Sequence[Any]) -> tuple[list[Draw], list[tuple[int, int]]]:
    """The pictures that a page paints; and the instructions that show text, with its length."""
    named = page.get_resources().get("/XObject", {})
    images = {name: one for name, one in named.items() if one.get("/Subtype") == "/Image"}
    draws: list[Draw] = []
    shown: list[tuple[int, int]] = []
    now, mode = np.eye(3), 0
    kept: list[tuple[Matrix, int]] = []
    for index, one in enumerate(instructions):
        what = str(one.operator)
        if what == "q":
            kept.append((now, mode))
        elif what == "Q" and kept:
            now, mode = kept.pop()
        elif what == "cm":
            a, b, c, d, e, f = (float(number) for number in one.operands)
            now = np.array([[a, b, 0], [c, d, 0], [e, f, 1]]) @ now
        elif what == "Tr":
            mode = int(one.operands[0])
        elif what in _SHOWING and mode not in _UNSEEN:
            shown.append((index, _length(one.operands[-1])))
        elif what == "Do" and (name := str(one.operands[0])) in images:
            draws.append(Draw(index, name, images[name], now))
    return draws, shown


def _length(text: Any) -> int:
    """Bytes of text that an instruction shows; lists of it have gaps between."""
    try:
        return len(bytes(text))
    except (TypeError, ValueError):
        return sum(len(bytes(part)) for part in text if not isinstance(part, (int, float)))


def rendered_scan(pdf: Any, page: Any, instructions: Sequence[Any], scan: Scan, name: str) -> Array:
    """The pixels of a scan; of a single picture just those that it holds.

    Args:
        pdf: pikepdf's document.
        page: Its page.
        instructions: What is on it, parsed.
        scan: What of it is wanted.
        name: For messages.

    Returns:
        (H, W, 1) or (H, W, 3) of uint8, on white.
    """
    pikepdf = optional("pikepdf", "pdf")
    columns, rows = scan.size
    grey = all(_is_grey(draw.image) for draw in scan.draws)
    check_size("pdf", columns, rows, bits=8 if grey else 24, stored=None, name=name)
    scale = np.array([columns, rows]) / (scan.high - scan.low)
    to_pixels = np.array([[scale[0], 0, 0], [0, scale[1], 0], [*(-scan.low * scale), 1]])
    matrices = {draw.index: _snapped(draw.matrix @ to_pixels) for draw in scan.draws}
    alone = pikepdf.new()
    sheet = add_page(alone, columns, rows)
    given = page.get_resources()
    for key in ("/ExtGState", "/ColorSpace"):
        if key in given:
            sheet.Resources[key] = alone.copy_foreign(pdf.make_indirect(given[key]))
    images = {draw.name: alone.copy_foreign(draw.image) for draw in scan.draws}
    sheet.Resources.XObject = pikepdf.Dictionary(images)
    body: list[bytes] = []
    for index, one in enumerate(instructions):
        if index in matrices:
            painting = f"q {operands(matrices[index])} cm {one.operands[0]} Do Q"
            body.append(painting.encode())
        elif str(one.operator) in _COLOURS:
            body.append(pikepdf.unparse_content_stream([one]))
    sheet.Contents = alone.make_stream(b"\n".join(body))
    return _painting(alone, 1.0, grey=grey)


def operands(matrix: Matrix) -> str:
    """The six numbers of a matrix, as PDF writes them."""
    return " ".join(f"{number:.9f}".rstrip("0").rstrip(".") for number in matrix[:, :2].flat)


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


def instructions_of(page: Any) -> list[Any]:
    """What is on a page, parsed."""
    return list(optional("pikepdf", "pdf").parse_content_stream(page))


def _snapped(matrix: Matrix) -> Matrix:
    """A matrix to pixels whose numbers are whole where only rounding kept them from it."""
    whole = np.rint(matrix)
    return np.where(np.abs(matrix - whole) < 1e-2, whole, matrix)


def rendered_page(page: Any) -> Array:
    """A page as it is seen, at `TYPESET_DPI`: (H, W, 1) or (H, W, 3) of uint8."""
    pikepdf = optional("pikepdf", "pdf")
    alone = pikepdf.new()
    alone.pages.append(page)
    return _painting(alone, TYPESET_DPI / POINTS, grey=False)


def _is_grey(image: Any) -> bool:
    """Whether a picture says that it has no colours; a mask has those of the paint."""
    pikepdf = optional("pikepdf", "pdf")
    space = image.get("/ColorSpace")
    if isinstance(space, pikepdf.Array):
        family = str(space[0])
        return family == "/CalGray" or (family == "/ICCBased" and int(space[1].N) == 1)
    return str(space) == "/DeviceGray"


def _painting(pdf: Any, scale: float, *, grey: bool) -> Array:
    """The only page of a document as pdfium paints it."""
    pdfium = optional("pypdfium2", "pdf")
    file = io.BytesIO()
    pdf.save(file)
    with _PDFIUM:
        document = pdfium.PdfDocument(file.getvalue())
        try:
            page = document[0]
            # A picture that pdfium cannot decode is left out of the painting without a word.
            for one in page.get_objects(filter=[_IMAGE]):
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
