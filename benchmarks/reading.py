"""How Tesseract reads damaged pages before and after a network, beside what people do without one.

    python benchmarks/reading.py document -o reading.json

Pages are typeset here from this project's own documentation, two sizes and resolutions, in the
fonts at hand, damaged in nine ways and read. The damage is not that of training: white noise, salt
and pepper are what they are everywhere, but `stain` and `faded` below are written anew and stand
for nothing that a network has seen. --pages DIR reads real scans in their place (page.png with
page.txt beside it). Needs the extras `ocr` and `baselines`, and the program tesseract.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tables import parser, run, save, table

Page = NDArray[np.uint8]
Chance = np.random.Generator

DOCS = Path(__file__).resolve().parents[1] / "docs"
A5_INCHES = (5.83, 8.27)
INK = 20
MARGIN_INCHES, LINE = 0.5, 1.35
SIZES = ((150, 10.5), (200, 9.0), (150, 11.0), (200, 10.0), (150, 9.5), (200, 11.0))
"""Dots an inch, and points, in turn."""

FONTS = (
    ("LiberationSerif-Regular.ttf", "DejaVuSerif.ttf"),
    ("LiberationSans-Regular.ttf", "DejaVuSans.ttf"),
    ("DejaVuSerif.ttf", "STIXGeneral.ttf"),
    ("LiberationMono-Regular.ttf", "DejaVuSansMono.ttf"),
    ("DejaVuSans.ttf", "DejaVuSans.ttf"),
    ("LiberationSerif-Italic.ttf", "DejaVuSerif-Italic.ttf"),
)
"""In turn; the second comes with matplotlib, for where the first is not installed."""


# Pages


def sentences() -> Iterator[str]:
    """The prose of the documentation, without code, tables and marks."""
    for path in sorted(DOCS.glob("*.md")):
        if path.name == "api.md":
            continue
        text = re.sub(r"```.*?```|<!--.*?-->", "", path.read_text(encoding="utf-8"), flags=re.S)
        for block in text.split("\n\n"):
            line = " ".join(block.split())
            if len(line) > 150 and line[0].isupper() and "|" not in line:
                plain = re.sub(r"[`*_]|\[([^]]*)\]\([^)]*\)|https?://\S+", r"\1", line)
                yield plain.encode("ascii", "ignore").decode()


def typeset(count: int) -> Iterator[tuple[str, Page, str, int]]:
    """Name, pixels, text and resolution of each page."""
    paragraphs = sentences()
    for number in range(count):
        dpi, points = SIZES[number % len(SIZES)]
        wide, high = (round(side * dpi) for side in A5_INCHES)
        sheet = Image.new("L", (wide, high), 255)
        pen, font = ImageDraw.Draw(sheet), _font(FONTS[number % len(FONTS)], points * dpi / 72)
        margin, step = round(MARGIN_INCHES * dpi), round(LINE * points * dpi / 72)
        top, said = margin, []
        for paragraph in paragraphs:
            for line in _lines(paragraph, font, wide - 2 * margin):
                if top > high - margin - step:
                    break
                pen.text((margin, top), line, font=font, fill=INK)
                said.append(line)
                top += step
            top += step // 2
            if top > high - margin - 2 * step:
                break
        yield f"page-{number:02d}", np.asarray(sheet), " ".join(said), dpi


def _font(names: tuple[str, str], pixels: float) -> Any:
    try:
        return ImageFont.truetype(names[0], round(pixels))
    except OSError:
        from matplotlib import get_data_path

        return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", names[1]), round(pixels))


def _lines(text: str, font: Any, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            line = word
        else:
            line = longer
    yield line


def scanned(folder: Path) -> Iterator[tuple[str, Page, str, int]]:
    """Pages of a folder, each with its text beside it."""
    from pellucid import images
    from pellucid.report.page_files import grey_page

    for path in images.find(folder):
        text = path.with_suffix(".txt")
        if text.is_file():
            page, dpi = grey_page(path)
            yield path.stem, page, text.read_text(encoding="utf-8", errors="replace"), dpi


# Damage


def _rounded(values: NDArray[np.floating[Any]]) -> Page:
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def white_noise(sigma: float) -> Callable[[Page, Chance], Page]:
    """Gaussian noise, clipped to what a file holds."""
    return lambda page, chance: _rounded(page / 255 + chance.normal(0, sigma, page.shape))


def salt_and_pepper(share: float) -> Callable[[Page, Chance], Page]:
    """So many pixels black or white."""

    def spoil(page: Page, chance: Chance) -> Page:
        drawn = chance.random(page.shape)
        return np.where(drawn < share, np.where(drawn < share / 2, 0, 255), page).astype(np.uint8)

    return spoil


def stain(page: Page, chance: Chance) -> Page:
    """Four cups were put down on it, light falls from one side, and it was folded twice."""
    high, wide = page.shape
    rows, columns = np.mgrid[0:high, 0:wide].astype(np.float32)
    angle = chance.uniform(0, 2 * np.pi)
    light = 0.8 + 0.3 * (
        np.cos(angle) * (columns / wide - 0.5) + np.sin(angle) * (rows / high - 0.5)
    )
    for _ in range(4):
        far = np.hypot(rows - chance.uniform(0, high), columns - chance.uniform(0, wide))
        far /= chance.uniform(0.1, 0.22) * wide
        light *= 1 - chance.uniform(0.1, 0.35) * (far < 1)
        light *= 1 - chance.uniform(0.2, 0.45) * np.exp(-(((far - 1) * 15) ** 2))
    for _ in range(2):
        crease = rows - chance.uniform(0.15, 0.85) * high
        crease -= chance.uniform(-0.06, 0.06) * (columns - wide / 2)
        light *= 1 - 0.35 * np.exp(-((crease / 2.5) ** 2))
    return _rounded(page / 255 * np.clip(light, 0, 1) + chance.normal(0, 0.02, page.shape))


def faded(page: Page, chance: Chance) -> Page:
    """A quarter of the contrast is left, on paper that is darker to one side."""
    paper = np.linspace(chance.uniform(0.62, 0.75), chance.uniform(0.82, 0.95), page.shape[1])
    weak = paper - 0.22 * (1 - page / 255)
    return _rounded(weak + chance.normal(0, 0.04, page.shape))


DAMAGES: dict[str, Callable[[Page, Chance], Page]] = {
    "none": lambda page, chance: page,
    "Gaussian 0.1": white_noise(0.1),
    "Gaussian 0.2": white_noise(0.2),
    "Gaussian 0.3": white_noise(0.3),
    "salt and pepper 5 %": salt_and_pepper(0.05),
    "salt and pepper 10 %": salt_and_pepper(0.1),
    "salt and pepper 20 %": salt_and_pepper(0.2),
    "stain, uneven light": stain,
    "faded print": faded,
}


# The table


def scored(
    model: str, pages: list[tuple[str, Page, str, int]], damages: list[str], *, classic: bool
) -> dict[str, Any]:
    """Character errors in percent, and seconds a page, by damage and method."""
    from pellucid.report.reading import evaluate_reading

    found: dict[str, dict[str, float]] = {}
    seconds: dict[str, dict[str, tuple[float, float]]] = {}
    for damage in damages:
        with tempfile.TemporaryDirectory() as folder:
            for name, page, text, dpi in pages:
                chance = np.random.default_rng(zlib.crc32(f"{name}/{damage}".encode()))
                spoilt = Image.fromarray(DAMAGES[damage](page, chance))
                spoilt.save(Path(folder, f"{name}.png"), dpi=(dpi, dpi))
                Path(folder, f"{name}.txt").write_text(text, encoding="utf-8")
            report = evaluate_reading(model, folder, baselines=classic)
        found[damage] = {name: 100 * score.cer for name, score in report.scores.items()}
        seconds[damage] = {
            name: (score.cleaning, score.reading) for name, score in report.scores.items()
        }
        print(damage, {name: round(cer, 2) for name, cer in found[damage].items()}, flush=True)
    told = {"model": model, "pages": len(pages), "cer_percent": found}
    return {**told, "seconds_cleaning_reading": seconds}


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, score and save."""
    arguments = parser(__doc__)
    arguments.add_argument("model", help="a model's name or file")
    arguments.add_argument("--pages", type=Path, help="a folder of scans in place of typeset pages")
    arguments.add_argument("--count", type=int, default=12, help="so many pages at most")
    arguments.add_argument("--damages", nargs="*", default=list(DAMAGES), choices=list(DAMAGES))
    arguments.add_argument(
        "--only-model", action="store_true", help="leave the classic filters out"
    )
    given = arguments.parse_args(words)
    found = scanned(given.pages) if given.pages else typeset(given.count)
    pages = list(found)[: given.count]
    told = scored(given.model, pages, given.damages, classic=not given.only_model)
    methods = list(next(iter(told["cer_percent"].values())))
    rows = [
        [damage, *(f"{row[method]:.1f}" for method in methods)]
        for damage, row in told["cer_percent"].items()
    ]
    print(table(["CER %", *methods], rows), end="\n\n")
    for damage, took in told["seconds_cleaning_reading"].items():
        alone, (cleaning, reading) = took[methods[0]][1], took[methods[1]]
        print(
            f"{damage}: reading alone {alone:.1f} s a page, cleaning {cleaning:.1f} s and reading "
            f"{reading:.1f} s"
        )
    save(given.out, told)


if __name__ == "__main__":
    run(main)
