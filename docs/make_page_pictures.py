"""Make the picture of docs/pages.md: damaged pieces of pages, cleaned, and what is read of both.

``python docs/make_page_pictures.py`` needs the program tesseract. The text is typeset here, damaged
in four ways with fixed seeds, and cleaned by the model in the box.
"""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

import pellucid
from pellucid.images.files import atomic
from pellucid.learn.damage import parse

PLACE = Path(__file__).resolve().parent / "images" / "pages.png"
TEXT = (
    "A page is read twice: first by the one who\nfeeds the scanner, and then by a program\n"
    "that never saw the paper. What it takes\nfor letters on 24 October 1931 is a guess."
)
DAMAGES = (
    "gaussian:0.3",
    "salt_pepper:0.2",
    "stain:0.9+shade:0.6+gaussian:0.04",
    "fade:0.8+shade:0.5+gaussian:0.05",
)
SIZE = (560, 180)
FONT_PIXELS, LINE_PIXELS, MARGIN = 24, 34, 24
READ_LETTERS, READ_LINES, READ_PIXELS, READ_STEP = 54, 4, 15, 20
"""Of what is read: letters in a line, lines that are shown, and their size."""


def typeface(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """A font that comes with matplotlib."""
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", f"{name}.ttf"), pixels)


def damaged(damage: str) -> np.ndarray:
    """The text, (H, W) uint8, with this damage."""
    sheet = Image.new("L", SIZE, 255)
    pen, font = ImageDraw.Draw(sheet), typeface("DejaVuSerif", FONT_PIXELS)
    for number, line in enumerate(TEXT.splitlines()):
        pen.text((MARGIN, MARGIN + number * LINE_PIXELS), line, font=font, fill=20)
    page = torch.from_numpy(np.array(sheet))[None, None] / 255
    spoilt = parse(damage)(page, generator=torch.Generator().manual_seed(1), clip=True)
    return np.rint(255 * spoilt[0, 0].numpy()).astype(np.uint8)


def reading(page: np.ndarray) -> str:
    """What Tesseract takes it for."""
    stream = io.BytesIO()
    Image.fromarray(page).save(stream, "png", dpi=(200, 200))
    words = ["tesseract", "-", "-", "--psm", "6", "-l", "eng"]
    done = subprocess.run(words, input=stream.getvalue(), capture_output=True, check=True)
    return " ".join(done.stdout.decode().split())


def with_reading(page: np.ndarray) -> Image.Image:
    """A piece of a page, and below it what is read of it."""
    shown = Image.new("L", (SIZE[0], SIZE[1] + READ_LINES * READ_STEP + 24), 255)
    shown.paste(Image.fromarray(page), (0, 0))
    pen, font = ImageDraw.Draw(shown), typeface("DejaVuSansMono", READ_PIXELS)
    lines = textwrap.wrap(reading(page) or "(nothing)", READ_LETTERS)[:READ_LINES]
    for number, line in enumerate(lines):
        pen.text((MARGIN, SIZE[1] + 10 + number * READ_STEP), line, font=font, fill=90)
    return shown


def main() -> None:
    """Make it."""
    rows = []
    for damage in DAMAGES:
        page = damaged(damage)
        clean = np.rint(255 * pellucid.denoise(page, model="document").clip(0, 1)).astype(np.uint8)
        rows.append(np.hstack([np.asarray(with_reading(one)) for one in (page, clean)]))
    with atomic(PLACE) as file:
        Image.fromarray(np.vstack(rows)).save(file, format="PNG", optimize=True)
    print(PLACE)


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is not installed; install tesseract first")
