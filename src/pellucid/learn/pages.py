"""Pages of print, made here: many fonts, sizes, scripts and layouts, ink on even white.

What a network for pages learns to give back. Text is drawn by chance from each script's letters, so
nothing can be learnt by heart; fonts are those of the system, of the folders that
``$PELLUCID_FONTS`` lists, and the few that come with matplotlib. Read next: `paper`, which spoils
pages, and `datasets`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pellucid.errors import DataError
from pellucid.learn.sources import SPLITS, TEST, TRAIN, VALIDATION, Source, Split, counted, placed

COUNTS = {TRAIN: 480, VALIDATION: 24, TEST: 24}
"""Pages of each part."""

SIZE = (640, 512)
"""Height and width of a page in pixels: a part of a page of paper at most resolutions."""

TEXT_PIXELS = (11.0, 60.0)
"""Font sizes: 8 to 11 points at 100 to 400 dots an inch."""

LETTERS = 0.12
"""Share of pages that are written by hand from top to bottom."""

ONE_BIT = 0.35
"""Share of the pages without tints that are scans of one bit as they are, letters ragged."""

HELD = (0.8, 0.9)
"""Where the fonts of validation and test begin on the scale of a file name's hash."""

FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
"""Where systems keep their fonts."""

PHOTOGRAPHS = ("astronaut", "brick", "chelsea", "coins", "grass", "gravel", "rocket")
"""What stands on pages as pictures: of scikit-image's, those that `photographs` trains on."""

SUFFIXES = (".ttf", ".otf", ".ttc")


def _span(first: str, last: str) -> str:
    return "".join(map(chr, range(ord(first), ord(last) + 1)))


# Letters about as often as English has them, so that words look like words.
_LATIN = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllcccuuummm"
_LATIN += "wwffggyyppbbvkjxqz"
SCRIPTS: dict[str, str] = {
    "latin": _LATIN,
    "european": _LATIN + "äöüßéèêëàâçñåøæœłčšžőűíóúāēţřďğış",
    "greek": _span("α", "ω"),
    "cyrillic": _span("а", "я"),
    "hebrew": _span("א", "ת"),
    "arabic": _span("ا", "غ") + _span("ف", "ي"),
    "devanagari": _span("क", "ह") + "ािीुूेैोौ",
    "thai": _span("ก", "ฮ"),
    "hangul": _span("가", "갷"),
    "chinese": _span("一", "龥")[::7],
}
"""Letters that words are drawn from; more often where they stand more often."""

OFTEN = {"latin": 6.0, "european": 3.0}
"""How much more often than the other scripts a page is in one of these."""

_SIGNS = "0123456789.,;:!?()–-"
"""What every page may need, and fonts of symbols do not have all of."""

_MARKS = (",", ",", ".", ".", ".", ";", ":", "!", "?", " –")


@dataclass(frozen=True)
class Face:
    """A font file, and the scripts that it has all letters of."""

    path: Path
    scripts: tuple[str, ...]


def pages() -> Source:
    """`COUNTS` pages, grey, 8 bits; with twenty fonts or more, those of each part are its own.

    Raises:
        DataError: There is no font.
    """
    faces = _faces()
    if not faces:
        raise DataError(
            "no font with letters was found; list a folder of .ttf or .otf files in $PELLUCID_FONTS"
        )
    splits = {}
    for index, part in enumerate(SPLITS):
        mine = faces
        if len(faces) >= 20:
            mine = [f for f in faces if np.digitize(placed(f.path.name), HELD) == index] or faces
        sheets = [_page(np.random.default_rng([index, n]), mine) for n in range(COUNTS[part])]
        names = tuple(f"{part}/{n:04d}" for n in range(len(sheets)))
        splits[part] = Split(np.stack(sheets)[..., None], paths=names)
    return Source("pages", splits, about=f"{counted(splits)}, in {len(faces)} fonts")


def _faces() -> list[Face]:
    """All fonts at hand that have the letters of some script, by name."""
    listed = os.environ.get("PELLUCID_FONTS", "").split(os.pathsep)
    folders = [Path(folder).expanduser() for folder in (*listed, *FOLDERS) if folder]
    spec = find_spec("matplotlib")
    if spec is not None and spec.submodule_search_locations:
        folders.append(Path(spec.submodule_search_locations[0], "mpl-data", "fonts", "ttf"))
    files = {
        path.name: path
        for folder in reversed(folders)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    }
    faces = [Face(path, _scripts(path)) for _, path in sorted(files.items())]
    return [face for face in faces if face.scripts]


def _scripts(path: Path) -> tuple[str, ...]:
    """The scripts that a font has all letters of; none of a font of symbols or a damaged one."""
    from fontTools.ttLib import TTFont, TTLibError

    # What is odd about a font's tables, and does not matter here, is not for the user to read.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            known = font.getBestCmap() or {}
    except (TTLibError, OSError, AssertionError, ValueError, KeyError):
        return ()
    if path.name.startswith("LastResort") or not all(ord(sign) in known for sign in _SIGNS):
        return ()
    return tuple(
        name for name, letters in SCRIPTS.items() if all(ord(letter) in known for letter in letters)
    )


@lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@lru_cache(maxsize=1)
def _photographs() -> list[Image.Image]:
    """Photographs for pages: those that come with scikit-image, or none."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return []
    folder = Path(spec.submodule_search_locations[0], "data")
    files = [file for name in PHOTOGRAPHS for file in sorted(folder.glob(f"{name}.*"))]
    return [Image.open(file).convert("L") for file in files]


def _page(rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """One page (H, W) uint8."""
    sheet = _Sheet(rng, faces)
    while sheet.top < SIZE[0]:
        sheet.draw_next()
    if rng.random() < 0.2:
        sheet.stamp()
    if rng.random() < 0.2:
        sheet.scribble()
    image = sheet.image
    if rng.random() < 0.4:
        image = image.rotate(rng.normal(0, 0.8), Image.Resampling.BICUBIC, fillcolor=255)
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))
    scanned = rng.random() < ONE_BIT and not sheet.tinted  # a tint would turn into specks
    return _one_bit(np.asarray(image), rng) if scanned else np.asarray(image)


def _one_bit(page: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a scanner for black and white makes of a page: letters ragged by paper and threshold.

    Books are kept so. Nothing is wrong with such a page, and smooth letters would be invented ones.
    """
    paper = rng.normal(0, rng.uniform(10, 40), page.shape)
    seen = Image.fromarray(np.clip(page + paper, 0, 255).astype(np.uint8))
    seen = seen.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.0)))
    return np.where(np.asarray(seen) < rng.uniform(100, 180), 0, 255).astype(np.uint8)


class _Sheet:
    """A page in the making: filled from the top down."""

    def __init__(self, rng: np.random.Generator, faces: Sequence[Face]) -> None:
        self.rng = rng
        height, width = SIZE
        self.image = Image.new("L", (width, height), 255)
        self.pen = ImageDraw.Draw(self.image)
        weights = np.array([max(OFTEN.get(name, 1.0) for name in f.scripts) for f in faces])
        self.face = faces[rng.choice(len(faces), p=weights / weights.sum())]
        chances = np.array([OFTEN.get(name, 1.0) for name in self.face.scripts])
        self.script = str(rng.choice(self.face.scripts, p=chances / chances.sum()))
        low, high = np.log(TEXT_PIXELS)
        self.size = float(np.exp(rng.uniform(low, high)))
        self.ink = int(rng.choice([0, 0, 0, 0, 20, 50, 80, 110]))
        self.left = int(rng.uniform(-0.1, 0.12) * width)
        self.right = int(rng.uniform(0.88, 1.1) * width)
        self.top = int(rng.uniform(-30, 60))
        self.spacing = rng.uniform(1.1, 1.7)
        self.is_letter = rng.random() < LETTERS
        self.tinted = False

    def draw_next(self) -> None:
        """Something of a page's height, and what it takes moved down."""
        before = self.top
        draw = self.handwriting if self.is_letter else self.chosen()
        draw()
        self.top = max(self.top, before + 4) + int(self.rng.uniform(0, self.size))

    def chosen(self) -> Callable[[], None]:
        """One of what may stand on a page of print, by chance."""
        kinds: list[tuple[float, Callable[[], None]]] = [
            (8, self.paragraph),
            (1.5, self.heading),
            (2, self.columns),
            (2, self.table),
            (1.5, self.items),
            (1, self.small_print),
            (1, self.form),
            (0.7, self.bar),
            (0.7, self.rule),
            (0.5, self.grey_box),
            (1, self.picture),
            (1.2, self.handwriting),
            (0.6, self.display),
            (0.7, self.drawing),
        ]
        weights = np.array([weight for weight, _ in kinds])
        return kinds[self.rng.choice(len(kinds), p=weights / weights.sum())][1]

    def word(self) -> str:
        """A word, a number, or something with a mark behind it."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.06:
            return str(rng.integers(0, 10 ** int(rng.integers(1, 6))))
        if kind < 0.09:
            return f"{rng.integers(1, 32)}.{rng.integers(1, 13)}.{rng.integers(1800, 2030)}"
        if kind < 0.11:
            return f"{rng.integers(0, 10000):,}.{rng.integers(0, 100):02d}"
        letters = SCRIPTS[self.script]
        long = 1 + rng.poisson(1 if self.script in ("chinese", "hangul") else 4)
        word = "".join(letters[i] for i in rng.integers(0, len(letters), long))
        if kind < 0.25:
            word = word.capitalize()
        elif kind < 0.28:
            word = word.upper()
        elif kind < 0.29:
            word = f"({word})"
        return word + (str(rng.choice(_MARKS)) if rng.random() < 0.14 else "")

    def line(self, width: float, font: ImageFont.FreeTypeFont) -> str:
        """Words that fill a width, one at least."""
        words, space = [self.word()], font.getlength(" ")
        filled = font.getlength(words[0])
        while True:
            more = self.word()
            filled += space + font.getlength(more)
            if filled > width:
                return " ".join(words)
            words.append(more)

    def text(self, at: tuple[float, float], words: str, font: ImageFont.FreeTypeFont) -> None:
        """Words on the page, now and then underlined."""
        self.pen.text(at, words, fill=self.ink, font=font)
        if self.rng.random() < 0.02:
            low = at[1] + 1.15 * font.size
            self.pen.line((at[0], low, at[0] + font.getlength(words), low), fill=self.ink)

    def lines(self, left: float, right: float, count: int, size: float) -> None:
        """Lines of text from the top down, the last one short."""
        font = _font(self.face.path, max(6, round(size)))
        for number in range(count):
            last = number == count - 1
            width = (right - left) * (self.rng.uniform(0.2, 1) if last else 1)
            self.text((left, self.top), self.line(width, font), font)
            self.top += int(self.spacing * size)

    def paragraph(self) -> None:
        self.lines(self.left, self.right, int(self.rng.integers(2, 9)), self.size)

    def display(self) -> None:
        """Letters as on posters and title pages."""
        size = self.size * self.rng.uniform(2.5, 5)
        self.lines(self.left, self.right, 1, min(size, 0.4 * SIZE[0]))

    def heading(self) -> None:
        self.lines(self.left, self.right, 1, self.size * self.rng.uniform(1.3, 2.5))

    def small_print(self) -> None:
        size = max(9.0, self.size * self.rng.uniform(0.5, 0.8))
        self.lines(self.left, self.right, int(self.rng.integers(2, 6)), size)

    def columns(self) -> None:
        count, gap = int(self.rng.integers(2, 4)), 1.5 * self.size
        wide = (self.right - self.left - (count - 1) * gap) / count
        size, top, low = max(9.0, 0.8 * self.size), self.top, self.top
        for number in range(count):
            self.top = top
            left = self.left + number * (wide + gap)
            self.lines(left, left + wide, int(self.rng.integers(3, 9)), size)
            low = max(low, self.top)
        self.top = low

    def items(self) -> None:
        font = _font(self.face.path, max(6, round(self.size)))
        for number in range(int(self.rng.integers(2, 6))):
            mark = f"{number + 1}." if self.rng.random() < 0.5 else "-"
            self.text((self.left + 5, self.top), mark, font)
            left = self.left + 2.2 * self.size
            self.text((left, self.top), self.line(0.8 * (self.right - left), font), font)
            self.top += int(self.spacing * self.size)

    def table(self) -> None:
        rows, columns = int(self.rng.integers(2, 7)), int(self.rng.integers(2, 6))
        ruled, wide = self.rng.random() < 0.7, int(self.rng.integers(1, 4))
        size = max(9.0, 0.8 * self.size)
        font, high = _font(self.face.path, round(size)), int(1.6 * size)
        places = np.linspace(self.left + 4, self.right - 4, columns + 1)
        for row in range(rows):
            for column in range(columns):
                width = places[column + 1] - places[column] - 8
                words = self.word() if self.rng.random() < 0.6 else self.line(width, font)
                if font.getlength(words) <= width:
                    self.text((places[column] + 4, self.top + 0.2 * size), words, font)
            if ruled:
                self.pen.line((places[0], self.top, places[-1], self.top), self.ink, wide)
            self.top += high
            if ruled and row == rows - 1:
                self.pen.line((places[0], self.top, places[-1], self.top), self.ink, wide)
        if ruled:
            for place in places:
                self.pen.line((place, self.top - rows * high, place, self.top), self.ink, wide)

    def form(self) -> None:
        font = _font(self.face.path, max(6, round(self.size)))
        for _ in range(int(self.rng.integers(1, 5))):
            label = self.word().rstrip(",.;:!?") + ":"
            self.text((self.left, self.top), label, font)
            begin, low = self.left + font.getlength(label) + 8, self.top + 1.2 * self.size
            if self.rng.random() < 0.5:
                self.pen.line((begin, low, self.right, low), fill=self.ink)
            else:
                end = max(begin + 20, self.right)
                self.pen.rectangle((begin, self.top, end, low), outline=self.ink)
            self.top += int(1.8 * self.size)

    def bar(self) -> None:
        """White on black."""
        font = _font(self.face.path, max(6, round(self.size)))
        low = self.top + 1.5 * self.size
        self.pen.rectangle((self.left, self.top, self.right, low), fill=self.ink)
        words = self.line(0.8 * (self.right - self.left), font)
        self.pen.text((self.left + 6, self.top + 0.1 * self.size), words, fill=255, font=font)
        self.top = int(low)

    def rule(self) -> None:
        self.pen.line(
            (self.left, self.top, self.right, self.top), self.ink, int(self.rng.integers(1, 5))
        )
        self.top += 8

    def grey_box(self) -> None:
        """A tinted box, which is print and no shadow."""
        self.tinted = True
        low = self.top + int(self.rng.uniform(2, 5) * self.size)
        self.pen.rectangle(
            (self.left, self.top, self.right, low), fill=int(self.rng.uniform(150, 235))
        )
        self.top += 6
        self.lines(self.left + 8, self.right - 8, 1, self.size)
        self.top = max(self.top, low)

    def picture(self) -> None:
        """A photograph, which is print as well: in greys, or in dots as newspapers have it."""
        found = _photographs()
        if not found:
            return
        self.tinted = True
        photo = found[self.rng.integers(len(found))]
        wide = int(self.rng.uniform(0.25, 0.7) * (self.right - self.left))
        high = int(self.rng.uniform(0.5, 1.2) * wide)
        left = int(self.rng.uniform(self.left, self.right - wide))
        cut = min(1.0, photo.width / wide, photo.height / high)
        corner = [self.rng.uniform(0, side - cut * size) for side, size in
                  ((photo.width, wide), (photo.height, high))]  # fmt: skip
        box = (corner[0], corner[1], corner[0] + cut * wide, corner[1] + cut * high)
        part = photo.resize((wide, high), Image.Resampling.BICUBIC, box=box)
        if self.rng.random() < 0.2:
            part = part.convert("1").convert("L")
        self.image.paste(part, (left, self.top))
        self.top += high

    def stamp(self) -> None:
        """A rubber stamp, turned, over whatever is there."""
        side = int(self.rng.uniform(80, 200))
        mask = Image.new("L", (side, side), 0)
        pen, font = ImageDraw.Draw(mask), _font(self.face.path, max(8, side // 7))
        pen.ellipse((3, 3, side - 3, side - 3), outline=255, width=3)
        for row in range(3):
            words = self.line(0.7 * side, font)
            pen.text((side / 2, side * (0.3 + 0.2 * row)), words, 255, font, anchor="mm")
        mask = mask.rotate(self.rng.uniform(-40, 40), Image.Resampling.BICUBIC)
        at = tuple(int(self.rng.uniform(-side / 4, end - side)) for end in SIZE[::-1])
        self.image.paste(int(self.rng.uniform(0, 110)), (at[0], at[1]), mask)

    def handwriting(self) -> None:
        """Lines of words in no letters: joined strokes up and down, pressed harder and softer."""
        rng, high = self.rng, min(60.0, self.size * self.rng.uniform(0.6, 1.6))
        ink, wide = int(rng.choice([self.ink, 40, 90, 120])), high * rng.uniform(0.06, 0.22)
        slant, spread = rng.uniform(0, 0.6), rng.uniform(0.35, 0.7)
        for _ in range(int(rng.integers(1, 6))):
            base, left = self.top + 1.7 * high, self.left + rng.uniform(0, 2 * high)
            while left < self.right - 2 * high:
                count = int(rng.integers(4, 20))
                # Down strokes end on the line or below it, up strokes at two heights.
                up = np.where(rng.random(count) < 0.2, rng.uniform(1.3, 1.8, count), 0.9)
                low = np.where(rng.random(count) < 0.12, rng.uniform(-0.7, -0.4, count), 0.0)
                heights = high * np.where(np.arange(count) % 2, up, low)
                heights += rng.normal(0, 0.1 * high, count)
                across = left + high * spread * np.cumsum(rng.uniform(0.1, 0.9, count))
                points = np.stack([across + slant * heights, base - heights], axis=1)
                self.stroke(points, ink, wide)
                left = float(across[-1]) + high * rng.uniform(0.5, 1.2)
            self.top += int(high * rng.uniform(2.6, 3.4))

    def stroke(self, points: np.ndarray, ink: int, wide: float) -> None:
        """One movement of a pen along points, its width changing slowly."""
        way = list(_smooth(points))
        pressed = np.interp(
            np.linspace(0, 1, len(way)), np.linspace(0, 1, 6), self.rng.uniform(0.5, 1.4, 6)
        )
        for one, other, hard in zip(way[:-1], way[1:], pressed[1:], strict=True):
            # A stroke narrower than a pixel covers a part of it.
            covered = min(1.0, wide * hard)
            self.pen.line(
                (*one, *other), round(255 - covered * (255 - ink)), max(1, round(wide * hard))
            )

    def drawing(self) -> None:
        """A diagram: frames, rings, arrows and hatching in lines of one width."""
        rng, wide = self.rng, int(self.rng.integers(1, 5))
        high = int(rng.uniform(60, 240))
        for _ in range(int(rng.integers(2, 9))):
            x0, x1 = sorted(rng.uniform(self.left, self.right, 2))
            y0, y1 = sorted(rng.uniform(self.top, self.top + high, 2))
            kind = rng.integers(4)
            if kind == 0:
                self.pen.rectangle((x0, y0, x1, y1), outline=self.ink, width=wide)
            elif kind == 1:
                self.pen.ellipse((x0, y0, x1, y1), outline=self.ink, width=wide)
            elif kind == 2:
                self.pen.line((x0, y0, x1, y1), self.ink, wide)
                self.pen.line((x1 - 8, y1 - 8, x1, y1, x1 - 10, y1), self.ink, wide)
            else:
                for x in np.arange(x0, min(x1, x0 + 150), rng.uniform(5, 12)):
                    self.pen.line((x, y0, x + (y1 - y0) / 2, y1), self.ink, wide)
        self.top += high

    def scribble(self) -> None:
        """Handwriting of a sort: a pen that goes to the right and up and down."""
        steps = int(self.rng.integers(30, 90))
        turns = np.cumsum(self.rng.normal(0, 0.7, steps))
        high = self.rng.uniform(8, 30)
        down = high * np.sin(np.linspace(0, steps, steps) * 0.8 + turns)
        across = np.cumsum(2 + high / 5 * np.cos(np.linspace(0, steps, steps) + turns) + 1)
        start = self.rng.uniform(0, 0.6) * SIZE[1], self.rng.uniform(0.1, 0.9) * SIZE[0]
        points = _smooth(np.stack([start[0] + across, start[1] + down], axis=1))
        self.pen.line(list(points), self.ink, int(self.rng.integers(1, 4)), joint="curve")


def _smooth(points: np.ndarray) -> Iterator[tuple[float, float]]:
    """Points between points, on quadratic curves through their middles."""
    middles = (points[1:] + points[:-1]) / 2
    for one, corner, other in zip(middles[:-1], points[1:-1], middles[1:], strict=True):
        for t in (0.0, 0.25, 0.5, 0.75):
            place = (1 - t) ** 2 * one + 2 * t * (1 - t) * corner + t**2 * other
            yield float(place[0]), float(place[1])
