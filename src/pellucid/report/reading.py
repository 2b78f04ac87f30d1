"""How well a page is read: the errors of Tesseract before and after a model cleaned it.

What a page should say is a text beside its picture, or what is read from its clean partner. Pages
are pooled: the edits of all over the characters (or words) of all, and no page counts for more
than its own length, so that noise read as text does not decide alone. Read next: `page_filters`,
what people do without a network.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from pellucid import __version__, images
from pellucid.errors import DataError, OptionError, optional
from pellucid.learn.damage import Damage, parse
from pellucid.report.page_files import (
    DPI,
    UNTOUCHED,
    damaged_page,
    grey_page,
    paired,
    restored_page,
)
from pellucid.report.page_filters import Page, at_hand
from pellucid.report.trial import check_limit, spread
from pellucid.restore.runtime import available_threads
from pellucid.restore.twins import Twins, open_twins

_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-"})

Filter = Callable[[Page], Page]


@dataclass(frozen=True)
class Score:
    """How a set of pages was read.

    Attributes:
        cer: Character error rate, from 0 to 1.
        wer: Word error rate, likewise.
        cleaning: Seconds a page before it was read.
        reading: Seconds a page that Tesseract took, one thread.
    """

    cer: float
    wer: float
    cleaning: float
    reading: float


@dataclass(frozen=True)
class ReadingReport:
    """What came of it, by method; `UNTOUCHED` and the model are always among them.

    Attributes:
        model: The model's name.
        data: What was read.
        damage: What was done to the pages first.
        n: How many pages.
        scores: By method.
        pages: For each page: its path, and the errors of every method.
    """

    model: str
    data: str
    damage: str
    n: int
    scores: Mapping[str, Score]
    pages: tuple[Mapping[str, Any], ...] = field(repr=False)

    def to_json(self) -> str:
        """The scores as JSON text."""
        told = {
            "model": self.model,
            "version": __version__,
            "task": "ocr",
            "data": self.data,
            "damage": self.damage,
            "n": self.n,
            "scores": {
                name: {
                    "cer": score.cer,
                    "wer": score.wer,
                    "seconds_cleaning": score.cleaning,
                    "seconds_reading": score.reading,
                }
                for name, score in self.scores.items()
            },
            "pages": list(self.pages),
        }
        return json.dumps(told, indent=1, allow_nan=False)

    def table(self) -> str:
        """The scores for a terminal, a line for each method."""
        wide = max(len(name) for name in self.scores)
        head = f"{self.data}, {self.n} pages, damage {self.damage}"
        lines = [head, f"{'':{wide}}   CER %   WER %   s a page: cleaning, reading"]
        lines += [
            f"{name:{wide}}  {100 * score.cer:6.2f}  {100 * score.wer:6.2f}   "
            f"{score.cleaning:.2f}, {score.reading:.2f}"
            for name, score in self.scores.items()
        ]
        return "\n".join(lines)


def evaluate_reading(
    model: str | Path | Twins,
    data: str | Path,
    damage: str | Damage | None = None,
    *,
    baselines: bool = False,
    limit: int | None = None,
    seed: int = 0,
    language: str = "eng",
    device: str = "auto",
    ensemble: bool = False,
) -> ReadingReport:
    """Have pages read by Tesseract as they are and as a model cleaned them.

    Args:
        model: A name or file.
        data: A folder of pages with a text of the same name beside each (or with the sub-folders
            ``clean`` and ``text``), or ``noisy:clean``, two folders of pages with the same names;
            there the clean page's reading is what should be read.
        damage: What is done to the pages first; None leaves them as they are.
        baselines: Also what people do without a network (`page_filters`).
        limit: Read so many pages at most, spread evenly.
        seed: Where the damage comes from; each page has draws of its own.
        language: What Tesseract is to expect.
        device: 'auto', 'cpu', 'cuda', 'mps' or 'openvino'.
        ensemble: The mean over eight mirrored and turned views.

    Raises:
        DataError: Pages and texts do not fit together.
        OptionError: Tesseract or its language is not installed.
    """
    optional("rapidfuzz", "ocr")
    check_tesseract(language)
    check_limit(limit)
    sheets = _sheets(data)
    sheets = [sheets[index] for index in spread(len(sheets), limit)]
    runner = open_twins(model, device=device, ensemble=ensemble)
    named = runner.suited(1).name
    doing = None if damage is None else parse(damage)
    methods: dict[str, Filter] = {UNTOUCHED: lambda page: page}
    methods[named] = lambda page: restored_page(page, runner)
    methods |= at_hand() if baselines else {}
    rows = []
    with ThreadPoolExecutor(available_threads()) as pool:
        for sheet in sheets:
            page, dpi = sheet.page()
            if doing is not None:
                page = damaged_page(page, doing, sheet.name, seed)
            truth = plain(sheet.truth(language))
            row = _judged(page, truth, methods, pool, dpi=dpi, language=language)
            rows.append({"path": sheet.name, "characters": len(truth), **row})
    return ReadingReport(
        model=named,
        data=str(data),
        damage="none" if doing is None else str(doing),
        n=len(rows),
        scores={name: _pooled(rows, name) for name in methods},
        pages=tuple(rows),
    )


def check_tesseract(language: str) -> None:
    """Refuse at once where Tesseract, or a language of it, is not there."""
    if not shutil.which("tesseract"):
        raise OptionError(
            "the program tesseract is not installed; get it (apt install tesseract-ocr, brew "
            "install tesseract), or judge pixels in place of reading"
        )
    told = subprocess.run(
        ["tesseract", "--list-langs"], capture_output=True, text=True, check=False
    )
    # The first line says where they are.
    known = told.stdout.split("\n", 1)[-1].split()
    missing = [one for one in language.split("+") if one not in known]
    if missing:
        raise OptionError(
            f"tesseract does not know the language {missing[0]}; it has {', '.join(sorted(known))}"
        )


def read_page(page: Page, *, dpi: int = DPI, language: str = "eng") -> str:
    """What Tesseract reads on a page.

    Args:
        page: (H, W) uint8, ink dark.
        dpi: Its pixels an inch.
        language: As Tesseract calls it; several are joined with +.
    """
    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG", compress_level=1)
    command = ["tesseract", "stdin", "stdout", "-l", language, "--psm", "3", "--dpi", str(dpi)]
    # Its threads get in each other's way; pages are read side by side in their place.
    told = subprocess.run(
        command,
        input=file.getvalue(),
        capture_output=True,
        env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        check=False,
    )
    if told.returncode:
        last = told.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise DataError(f"tesseract failed: {last[0] if last else told.returncode}")
    return told.stdout.decode("utf-8", "replace")


def plain(text: str) -> str:
    """The text with single spaces and plain quotes and dashes, which no page is judged by."""
    return " ".join(text.translate(_PLAIN).split())


def errors(truth: str, read: str) -> tuple[int, int]:
    """Edits from what was read to the truth: of characters and of words, at most all of them."""
    distance = optional("rapidfuzz.distance", "ocr").Levenshtein.distance
    words = truth.split()
    return (
        min(distance(truth, read), len(truth)),
        min(distance(words, read.split()), len(words)),
    )


@dataclass(frozen=True)
class _Sheet:
    """A page, and where what it should say is found: a text, or a clean picture."""

    name: str
    path: Path
    reference: Path

    def page(self) -> tuple[Page, int]:
        """Its pixels, and how many an inch."""
        return grey_page(self.path)

    def truth(self, language: str) -> str:
        """What it should say."""
        if self.reference.suffix == ".txt":
            return self.reference.read_text(encoding="utf-8", errors="replace")
        page, dpi = grey_page(self.reference)
        return read_page(page, dpi=dpi, language=language)


def _sheets(data: str | Path) -> list[_Sheet]:
    """The pages of a folder, or of two."""
    pairs = paired(data)
    if pairs is not None:
        return [_Sheet(*pair) for pair in pairs]
    top = Path(data)
    inside = (top / "clean", top / "text")
    pages, texts = inside if all(folder.is_dir() for folder in inside) else (top, top)
    found = [
        (path, texts / path.relative_to(pages).with_suffix(".txt")) for path in images.find(pages)
    ]
    sheets = [_Sheet(path.stem, path, text) for path, text in found if text.is_file()]
    if not sheets:
        raise DataError(
            f"{data}: no page has a text beside it (page.png and page.txt); give such a folder, "
            "or noisy:clean, whose clean pages are read for it"
        )
    return sheets


def _judged(
    page: Page,
    truth: str,
    methods: Mapping[str, Filter],
    pool: ThreadPoolExecutor,
    *,
    dpi: int,
    language: str,
) -> dict[str, Any]:
    """The errors on a page by method, and the seconds of cleaning and of reading."""
    cleaned, seconds = [], []
    for method in methods.values():
        began = time.perf_counter()
        cleaned.append(method(page))
        seconds.append(time.perf_counter() - began)

    def timed(one: Page) -> tuple[str, float]:
        began = time.perf_counter()
        return read_page(one, dpi=dpi, language=language), time.perf_counter() - began

    found = {}
    for name, took, (text, reading) in zip(methods, seconds, pool.map(timed, cleaned), strict=True):
        characters, words = errors(truth, plain(text))
        found[name] = {
            "characters": characters,
            "words": words,
            "seconds_cleaning": round(took, 4),
            "seconds_reading": round(reading, 4),
        }
    return {"words": len(truth.split()), "errors": found}


def _pooled(rows: Sequence[Mapping[str, Any]], name: str) -> Score:
    def total(key: str) -> float:
        return float(sum(row["errors"][name][key] for row in rows))

    return Score(
        cer=total("characters") / max(1, sum(row["characters"] for row in rows)),
        wer=total("words") / max(1, sum(row["words"] for row in rows)),
        cleaning=total("seconds_cleaning") / len(rows),
        reading=total("seconds_reading") / len(rows),
    )
