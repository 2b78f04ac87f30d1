"""How well a page's ink is found: black and white pages held against their truth, pixel by pixel.

The measures are those of the document binarisation contests: I. Pratikakis, B. Gatos,
K. Ntirogiannis, "ICDAR 2011 Document Image Binarization Contest (DIBCO 2011)", ICDAR 2011,
https://doi.org/10.1109/ICDAR.2011.299. Read next: `reading`, which judges pages by what is read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid import __version__, images
from pellucid.errors import DataError
from pellucid.learn.damage import Damage, parse
from pellucid.report.page_files import (
    UNTOUCHED,
    damaged_page,
    grey_page,
    paired,
    restored_page,
)
from pellucid.report.page_filters import Page, background_division, otsu, sauvola
from pellucid.report.trial import check_limit, spread
from pellucid.restore.binarize import binarize
from pellucid.restore.twins import Twins, open_twins

Mask = NDArray[np.bool_]

SOURCE, TARGET = "_source", "_target"
"""How the contests' pages and their truth are told apart where both lie in one folder."""

MEASURES = {"fm": ("FM %", 1), "psnr": ("PSNR dB", 2)}
"""Their heads in a table, and how many digits are shown."""


def measures(found: Mask, ink: Mask) -> dict[str, float]:
    """How far what was found is from the ink.

    FM is the harmonic mean of the shares of ink that was found and of what was found that is ink;
    PSNR is that of pictures of 0 and 1.

    Args:
        found: (H, W), true where a method sees ink.
        ink: (H, W), the truth.

    Returns:
        ``fm`` in percent and ``psnr`` in dB; higher is better.

    Example:
        >>> page = np.arange(64).reshape(8, 8) < 20
        >>> measures(page, page)["fm"]
        100.0
    """
    marked = float(found.sum() + ink.sum())
    fm = 200 * float((found & ink).sum()) / marked if marked else 100.0
    wrong = max(float((found != ink).mean()), 1 / ink.size)
    return {"fm": fm, "psnr": float(-10 * np.log10(wrong))}


@dataclass(frozen=True)
class InkReport:
    """What came of it, by method: means over the pages, and each page's own.

    Attributes:
        model: The model's name.
        data: What was judged.
        damage: What was done to the pages first.
        scores: By method: `MEASURES` and ``seconds`` a page.
        pages: For each page: its name and the measures of every method.
    """

    model: str
    data: str
    damage: str
    scores: Mapping[str, Mapping[str, float]]
    pages: tuple[Mapping[str, Any], ...] = field(repr=False)

    def to_json(self) -> str:
        """The scores as JSON text."""
        told = {"model": self.model, "version": __version__, "task": "binarize", "data": self.data}
        told |= {"damage": self.damage}
        found = {"n": len(self.pages), "scores": self.scores, "pages": list(self.pages)}
        return json.dumps({**told, **found}, indent=1, allow_nan=False)

    def table(self) -> str:
        """The scores for a terminal, a line for each method."""
        wide = max(len(name) for name in self.scores)
        heads = "".join(f"{head:>9}" for head, _ in MEASURES.values())
        lines = [f"{self.data}, {len(self.pages)} pages, damage {self.damage}"]
        lines.append(f"{'':{wide}}{heads}   s a page")
        for name, score in self.scores.items():
            values = "".join(f"{score[key]:9.{digits}f}" for key, (_, digits) in MEASURES.items())
            lines.append(f"{name:{wide}}{values}{score['seconds']:11.2f}")
        return "\n".join(lines)


def evaluate_binarizing(
    model: str | Path | Twins,
    data: str | Path,
    damage: str | Damage | None = None,
    *,
    baselines: bool = False,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    ensemble: bool = False,
) -> InkReport:
    """Hold pages that were made black and white against where their ink is.

    Args:
        model: A name or file.
        data: ``pages:truths``, two folders with the same names, or one folder of NAME_source and
            NAME_target; the truth is dark where ink is.
        damage: What is done to the pages first; None leaves them as they are.
        baselines: Also thresholds without a network: Otsu's, Sauvola's, and Otsu's after division
            by the background.
        limit: Judge so many pages at most, spread evenly.
        seed: Where the damage comes from; each page has draws of its own.
        device: 'auto', 'cpu', 'cuda', 'mps' or 'openvino'.
        ensemble: The mean over eight mirrored and turned views.

    Raises:
        DataError: Pages and truths do not fit together.
        OptionError: There is no such model, or the limit is below 1.
    """
    check_limit(limit)
    found = _pairs(data)
    found = [found[index] for index in spread(len(found), limit)]
    runner = open_twins(model, device=device, ensemble=ensemble)
    named = runner.suited(1).name
    doing = None if damage is None else parse(damage)
    methods = _methods(named, runner, baselines=baselines)
    rows: list[dict[str, Any]] = []
    for name, page_file, truth_file in found:
        page, ink = grey_page(page_file)[0], grey_page(truth_file)[0] < 128
        if page.shape != ink.shape:
            sizes = " and ".join(f"{w}x{h}" for h, w in (page.shape, ink.shape))
            raise DataError(f"{page_file} and {truth_file} have {sizes} pixels; they must agree")
        if doing is not None:
            page = damaged_page(page, doing, name, seed)
        row: dict[str, dict[str, float]] = {}
        for method, part in methods.items():
            began = time.perf_counter()
            seen = part(page)
            row[method] = {"seconds": round(time.perf_counter() - began, 4), **measures(seen, ink)}
        rows.append({"path": name, "scores": row})
    scores = {
        method: {
            key: float(np.mean([row["scores"][method][key] for row in rows]))
            for key in (*MEASURES, "seconds")
        }
        for method in methods
    }
    done = "none" if doing is None else str(doing)
    return InkReport(named, str(data), done, scores, tuple(rows))


def _methods(named: str, runner: Twins, *, baselines: bool) -> dict[str, Callable[[Page], Mask]]:
    """From a page to where its ink is."""

    def parted(page: Page) -> Mask:
        is_ink: Mask = binarize(page[..., None])[..., 0] == 0
        return is_ink

    found: dict[str, Callable[[Page], Mask]] = {UNTOUCHED: parted}
    found[named] = lambda page: parted(restored_page(page, runner))
    if baselines:
        found["otsu"] = lambda page: otsu(page) == 0
        found["sauvola"] = lambda page: sauvola(page) == 0
        found["background+otsu"] = lambda page: otsu(background_division(page)) == 0
    return found


def _pairs(data: str | Path) -> list[tuple[str, Path, Path]]:
    """Name, page and truth of every pair."""
    found = paired(data)
    if found is None:
        files = {path.stem: path for path in images.find(data)}
        names = [stem.removesuffix(SOURCE) for stem in files if stem.endswith(SOURCE)]
        both = sorted(name for name in names if name + TARGET in files)
        found = [(name, files[name + SOURCE], files[name + TARGET]) for name in both]
    if not found:
        raise DataError(
            f"{data}: no page has its truth; give pages:truths, two folders with the same names, "
            f"or a folder of NAME{SOURCE} and NAME{TARGET}"
        )
    return found
