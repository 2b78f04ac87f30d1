"""What a scanner put on a page of PDF: where its pictures lie, and what they look like.

A scanned page is a picture as large as the page, or strips of it, or a background with a mask above
it; text that was recognised lies over it and is not seen. pikepdf tells where they are, pdfium
paints them. The extra ``pdf`` brings both. Read next: ``pdf``, which makes pictures of pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import ImageError, optional
from pellucid.images.files import DAMAGED
from pellucid.images.kinds import check_size
from pellucid.images.painting import (
    POINTS,
    STRAY,
    Matrix,
    add_page,
    differing,
    glance,
    operands,
    painting,
)
from pellucid.images.picture import Array

LEAST_COVER = 0.25
"""Share of a page below which pictures on it are no scan of it."""

MOST_TEXT = 200
"""Visible bytes of text above which a page was typeset and its pictures are illustrations."""

MOST_COVER = 0.8
"""Share of a page above which its pictures are no illustrations, whatever is drawn around them."""

MOST_OTHER = 0.004
"""Share of a page, from which on what else is drawn on it makes it a typeset one."""

_SPECK = 1e-3
"""Share of the page below which a picture is an ornament, and stays as it is."""

_COLOURS = ("q", "Q", "gs", "g", "rg", "k", "cs", "sc", "scn")
"""What a mask's colour may depend on."""

_DRAWING = ("f", "F", "f*", "B", "B*", "b", "b*", "S", "s", "sh", "INLINE IMAGE")
"""Instructions that paint without text and named objects."""

_SHOWING = ("Tj", "TJ", "'", '"')
_UNSEEN = (3, 7)
"""Modes of text that paint nothing."""


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


def find_scan(page: Any, instructions: Sequence[Any], name: str) -> Scan | str:
    """The scan on a page, or why there is none.

    What is drawn over a scan stays there, but what is seen beneath or between its pictures would be
    painted over, so such a page has none.

    Args:
        page: pikepdf's page.
        instructions: What is on it, parsed.
        name: For messages.

    Raises:
        ImageError: A picture on it is cut off, or cannot be as large as it says.
    """
    edges = np.array([float(edge) for edge in page.cropbox]).reshape(2, 2)
    page_low, page_high = edges.min(0), edges.max(0)

    def cover(low: Matrix, high: Matrix) -> float:
        common = np.minimum(high, page_high) - np.maximum(low, page_low)
        return float(np.maximum(common, 0).prod() / max((page_high - page_low).prod(), 1e-9))

    painted, shown, others = _painted(page, instructions)
    draws = tuple(draw for draw in painted if cover(*draw.box) >= _SPECK)
    if not draws:
        return "there is no scan on this page"
    if sum(length for index, length in shown if index > draws[0].index) > MOST_TEXT:
        return "this page is typeset and not scanned"
    low = np.min([draw.box[0] for draw in draws], axis=0)
    high = np.max([draw.box[1] for draw in draws], axis=0)
    covered = cover(low, high)
    if covered < LEAST_COVER:
        return "the pictures on this page are too small for a scan of it"
    for draw in draws:
        _check(draw.image, name)
    alone = {draw.index for draw in draws}
    others |= {index for index, _ in shown} | {draw.index for draw in painted} - alone
    if why := _seen_besides(page, instructions, draws, others, (low, high), covered):
        return why
    density = np.max([draw.density for draw in draws], axis=0)
    columns, rows = (int(n) for n in np.maximum(1, np.rint(density * (high - low))))
    across, up = (density * POINTS / max(1e-3, float(page.obj.get("/UserUnit", 1)))).tolist()
    return Scan(draws, low, high, (columns, rows), (round(across, 3), round(up, 3)))


def _seen_besides(
    page: Any,
    instructions: Sequence[Any],
    draws: Sequence[Draw],
    others: set[int],
    corners: tuple[Matrix, Matrix],
    covered: float,
) -> str:
    """Why what is drawn besides a scan's pictures makes the page none; empty where it does not.

    The page is looked at as it is, and with its pictures alone.
    """
    last = draws[-1].index
    beneath = any(index < last for index in others)
    if not beneath and (not others or covered >= MOST_COVER):
        return ""
    by_itself = glance(page, _without(instructions, others))

    def differs(wanted: Sequence[Any]) -> Array:
        return differing(glance(page, wanted), by_itself)

    if beneath:
        edges = np.array([float(edge) for edge in page.cropbox]).reshape(2, 2)
        page_low, page_high = edges.min(0), edges.max(0)
        # Rows of a glance go down, and the page's own units up.
        scale = np.array(by_itself.shape[::-1]) / np.maximum(page_high - page_low, 1e-9)
        left, under = np.floor((corners[0] - page_low) * scale).clip(0).astype(int)
        right, over = np.ceil((corners[1] - page_low) * scale).clip(0).astype(int)
        tall = by_itself.shape[0]
        inside = np.s_[max(0, tall - over) : max(0, tall - under), left:right]
        # Text that lies hidden beneath a scan is no matter.
        if differs(instructions[: last + 1])[inside].sum() > STRAY:
            return "something else is seen between the pictures on this page"
    if covered < MOST_COVER and differs(instructions).mean() > MOST_OTHER:
        return "this page is typeset and not scanned"
    return ""


def _painted(
    page: Any, instructions: Sequence[Any]
) -> tuple[list[Draw], list[tuple[int, int]], set[int]]:
    """The pictures that a page paints; where it shows text, with its length; where it draws."""
    named = page.get_resources().get("/XObject", {})
    images = {name: one for name, one in named.items() if one.get("/Subtype") == "/Image"}
    draws: list[Draw] = []
    shown: list[tuple[int, int]] = []
    others: set[int] = set()
    now, mode = np.eye(3), 0
    kept: list[tuple[Matrix, int]] = []
    layers: list[bool] = []
    for index, one in enumerate(instructions):
        what = str(one.operator)
        if what == "q":
            kept.append((now, mode))
        elif what == "Q" and kept:
            now, mode = kept.pop()
        elif what == "cm":
            a, b, c, d, e, f = (float(number) for number in one.operands)
            now = np.array([[a, b, 0], [c, d, 0], [e, f, 1]]) @ now
        elif what in ("BDC", "BMC"):
            layers.append(str(one.operands[0]) == "/OC")
        elif what == "EMC" and layers:
            layers.pop()
        elif what == "Tr":
            mode = int(one.operands[0])
        elif what in _SHOWING and mode not in _UNSEEN:
            shown.append((index, _length(one.operands[-1])))
        elif what == "Do" and (name := str(one.operands[0])) in images:
            # What belongs to a layer may be hidden, and is no part of a scan.
            if "/OC" in images[name] or any(layers):
                others.add(index)
            else:
                draws.append(Draw(index, name, images[name], now))
        elif what == "Do" or what in _DRAWING:
            others.add(index)
    return draws, shown, others


def _without(instructions: Sequence[Any], left_out: set[int]) -> list[Any]:
    """The instructions without some that paint; the clipping of paths stays."""
    pikepdf = optional("pikepdf", "pdf")
    nothing = pikepdf.ContentStreamInstruction([], pikepdf.Operator("n"))
    shapes = {what for what in _DRAWING if len(what) <= 2 and what != "sh"}
    return [
        nothing if index in left_out and str(one.operator) in shapes else one
        for index, one in enumerate(instructions)
        if index not in left_out or str(one.operator) in shapes
    ]


def _check(image: Any, name: str) -> None:
    """Refuse a picture that is cut off, or cannot be as large as it says."""
    columns, rows = int(image.Width), int(image.Height)
    bits = 1 if image.get("/ImageMask", False) else int(image.get("/BitsPerComponent", 8))
    raw = image.read_raw_bytes()
    check_size("pdf", columns, rows, bits=bits, stored=len(raw), name=name)
    filters = image.get("/Filter", [])
    pikepdf = optional("pikepdf", "pdf")
    names = [str(one) for one in filters] if isinstance(filters, pikepdf.Array) else [str(filters)]
    if names != ["/DCTDecode"]:
        return
    if raw.rfind(b"\xff\xd9") < len(raw) // 2:
        raise ImageError(f"{name}: {DAMAGED} (a JPEG without an end)")
    found = _jpeg_size(raw)
    if found is not None and columns * rows > 2 * found[0] * found[1]:
        raise ImageError(
            f"{name}: a picture says that it has {columns}x{rows} pixels, and has "
            f"{found[0]}x{found[1]}: damaged, or a decompression bomb; get the file again"
        )


def _jpeg_size(raw: bytes) -> tuple[int, int] | None:
    """Columns and rows that a JPEG's frame says; None where there is no frame."""
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(raw[at + 7 : at + 9]), int.from_bytes(raw[at + 5 : at + 7])
        filling = marker == 0xFF
        at += 1 if filling else 2 + int.from_bytes(raw[at + 2 : at + 4])
    return None


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
    check_size("pdf", columns, rows, bits=8 if grey else 24, stored=scan.stored, name=name)
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
            placed = f"q {operands(matrices[index])} cm {one.operands[0]} Do Q"
            body.append(placed.encode())
        elif str(one.operator) in _COLOURS:
            body.append(pikepdf.unparse_content_stream([one]))
    sheet.Contents = alone.make_stream(b"\n".join(body))
    return painting(alone, 1.0, grey=grey)


def _snapped(matrix: Matrix) -> Matrix:
    """A matrix to pixels whose numbers are whole where only rounding kept them from it."""
    whole = np.rint(matrix)
    return np.where(np.abs(matrix - whole) < 1e-2, whole, matrix)


def _is_grey(image: Any) -> bool:
    """Whether a picture says that it has no colours; a mask has those of the paint."""
    pikepdf = optional("pikepdf", "pdf")
    space = image.get("/ColorSpace")
    if isinstance(space, pikepdf.Array):
        family = str(space[0])
        return family == "/CalGray" or (family == "/ICCBased" and int(space[1].N) == 1)
    return str(space) == "/DeviceGray"
