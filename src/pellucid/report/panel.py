"""Pictures side by side in one PNG: clean | damaged | restored, with scores beneath.

Drawn with Pillow in milliseconds, since training makes one after every epoch. Read next: `plots`
for curves, `evaluate` for the panel of best, median and worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pellucid.images.files import atomic

Cell = np.ndarray | None

PAPER = (255, 255, 255)
INK = (32, 33, 36)
PALE_INK = (95, 99, 104)
EDGE = (206, 209, 214)


def panel(
    cells: Sequence[Sequence[Cell]],
    path: str | Path,
    *,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
    note: str = "",
    least: int = 112,
    most: int = 640,
) -> Path:
    """Write a labelled grid of pictures as PNG and return its path.

    Args:
        cells: Rows of pictures, (H, W), (H, W, 1) or (H, W, 3), uint8 or float in [0, 1] (clipped);
            None leaves a place empty. Sizes may differ.
        path: Where the PNG goes; replaced in one step.
        columns: A header above each column.
        rows: A label left of each row.
        captions: A line beneath each picture; rows as in `cells`, "" for none.
        title: A line above everything.
        note: A line beneath everything.
        least: Pictures smaller than this are enlarged by a whole factor, pixels kept sharp.
        most: Pictures larger than this are reduced, all of them by the same factor.
    """
    image = draw(
        cells,
        columns=columns,
        rows=rows,
        captions=captions,
        title=title,
        note=note,
        least=least,
        most=most,
    )
    return save(image, path)


def save(image: Image.Image, path: str | Path) -> Path:
    """Write a drawn image as PNG, whole or not at all, and return its path."""
    path = Path(path)
    with suppress(OSError):  # `atomic` says in one line what stands in the way
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as beside:
        image.save(beside, format="PNG", compress_level=3)
    return path


def draw(
    cells: Sequence[Sequence[Cell]],
    *,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
    note: str = "",
    least: int = 112,
    most: int = 640,
) -> Image.Image:
    """The grid of `panel` as a Pillow image."""
    grid = _shown(cells, least, most)
    count = max((len(row) for row in grid), default=0)
    grid = [[*row, *[None] * (count - len(row))] for row in grid]
    texts = [
        [_at(captions[r], c) if r < len(captions) else "" for c in range(count)]
        for r in range(len(grid))
    ]

    size = _text_size(grid)
    small, large = _font(size), _font(round(1.15 * size))
    line = round(1.45 * size)
    gap = max(6, size // 2)
    margin = round(1.2 * size)

    widths = [
        max(
            [_length(large, _at(columns, c))]
            + [picture.width + 2 for row in grid if (picture := row[c]) is not None]
            + [_length(small, row[c]) for row in texts]
        )
        for c in range(count)
    ]
    heights = [max((p.height + 2 for p in row if p is not None), default=line) for row in grid]
    below = [line if any(row) else 0 for row in texts]
    label = max((_length(large, text) + 2 * gap for text in rows if text), default=0)

    total = label + sum(widths) + gap * max(0, count - 1)
    titles = _wrapped(title, _font(round(1.4 * size)), max(total, 24 * size)) if title else []
    notes = _wrapped(note, small, max(total, 24 * size)) if note else []
    heading = [_length(_font(round(1.4 * size)), text) for text in titles]
    width = 2 * margin + max([total, *heading, *[_length(small, text) for text in notes]])
    top = margin + (round(2.1 * size) * len(titles) + gap // 2 if titles else 0)
    header = round(1.7 * size) if any(columns) else 0
    body = sum(heights) + sum(below) + gap * max(0, len(grid) - 1)
    height = top + header + body + (gap + line * len(notes) if notes else 0) + margin

    image = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(image)
    for i, text in enumerate(titles):
        where = (margin, margin + round(2.1 * size) * i)
        pen.text(where, text, fill=INK, font=_font(round(1.4 * size)))
    left = [margin + label + sum(widths[:c]) + gap * c for c in range(count)]
    for c, text in enumerate(columns[:count]):
        place = (left[c] + widths[c] / 2, top + header - 0.45 * size)
        pen.text(place, text, fill=INK, font=large, anchor="ms")
    y = top + header
    for r, row in enumerate(grid):
        if _at(rows, r):
            place = (margin + label - 2 * gap, y + heights[r] / 2)
            pen.text(place, rows[r], fill=INK, font=large, anchor="rm")
        for c, picture in enumerate(row):
            if picture is None:
                continue
            x = left[c] + (widths[c] - picture.width) // 2
            down = y + (heights[r] - picture.height) // 2
            # A hairline around each: white pages on white paper would have no border.
            pen.rectangle((x - 1, down - 1, x + picture.width, down + picture.height), outline=EDGE)
            image.paste(picture, (x, down))
        for c, text in enumerate(texts[r]):
            place = (left[c] + widths[c] / 2, y + heights[r] + 0.25 * size)
            pen.text(place, text, fill=PALE_INK, font=small, anchor="ma")
        y += heights[r] + below[r] + gap
    for i, text in enumerate(notes):
        pen.text((margin, y + line * i), text, fill=PALE_INK, font=small)
    return image


def _shown(
    cells: Sequence[Sequence[Cell]], least: int, most: int
) -> list[list[Image.Image | None]]:
    """Every picture as Pillow holds it, all enlarged or reduced by one common factor."""
    sides = [max(cell.shape[:2]) for row in cells for cell in row if cell is not None]
    longest = max(sides, default=1)
    if longest > most:
        factor = most / longest
    else:
        factor = max(1, min(-(-least // longest), most // longest))
    return [[None if cell is None else _picture(cell, factor) for cell in row] for row in cells]


def _picture(cell: np.ndarray, factor: float) -> Image.Image:
    samples = np.asarray(cell)
    if samples.dtype != np.uint8:
        samples = np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        samples = np.rint(np.clip(samples, 0, 1) * 255).astype(np.uint8)
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    picture = Image.fromarray(np.ascontiguousarray(samples))
    if factor == 1:
        return picture
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    way = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    return picture.resize((size[0], size[1]), way)


def _text_size(grid: list[list[Image.Image | None]]) -> int:
    """Text grows with the pictures, so that a panel stays legible when a screen shrinks it."""
    widths = [picture.width for row in grid for picture in row if picture is not None]
    count = max((len(row) for row in grid), default=1)
    total = count * max(widths, default=112)
    return min(26, max(13, round(total / 72)))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The typeface that comes inside Pillow: the same panel on every machine."""
    return ImageFont.load_default(size)


def _length(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> int:
    return int(np.ceil(font.getlength(text)))


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _length(font, longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _at(items: Sequence[str], index: int) -> str:
    return items[index] if index < len(items) else ""
