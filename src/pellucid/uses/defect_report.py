"""A detector judged where the answers are known: by kind of defect, and over all.

Pictures count by image AUROC, best F1 and what the detector's own threshold finds; pixels by AUROC,
best F1 and PRO, at the pictures' own sizes. Each kind stands against all good pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import DataError, PellucidError, making
from pellucid.uses.defect_folders import GOOD, judged_pictures, read_mask
from pellucid.uses.defect_scores import PixelTally, auroc, f1_max
from pellucid.uses.detect import Progress, pixels

ALL = "all"
HEADS = ("kind", "n", "AUROC", "F1-max", "found", "pixel AUROC", "pixel F1-max", "PRO")


@dataclass(frozen=True)
class KindScores:
    """How well one kind of defect is told from good pictures.

    Attributes:
        kind: Its folder; 'all' for all together.
        n: Pictures with it.
        image_auroc: Of the pictures' scores.
        image_f1_max: At the best threshold, which is not known in use.
        found: Share of its pictures above the detector's threshold.
        pixel_auroc: Of the maps; None where no defect is marked.
        pixel_f1_max: Likewise.
        pro: Overlap with each defect up to 30 % false positives, likewise.
    """

    kind: str
    n: int
    image_auroc: float
    image_f1_max: float
    found: float
    pixel_auroc: float | None
    pixel_f1_max: float | None
    pro: float | None


@dataclass(frozen=True)
class DefectReport:
    """What `evaluate` found.

    Attributes:
        data: The folder.
        threshold: The detector's.
        good: Good pictures.
        false_alarms: Share of the good pictures that are above the threshold.
        rows: For each kind, and 'all' at the end.
        images: ``path``, ``kind`` and ``score`` of each picture.
        failed: Why the others are left out, a line each.
        unmarked: Pictures with defects that have no mask, where others have.
    """

    data: str
    threshold: float
    good: int
    false_alarms: float
    rows: tuple[KindScores, ...]
    images: tuple[dict[str, Any], ...]
    failed: tuple[str, ...]
    unmarked: int = 0

    def table(self) -> str:
        """As a person reads it."""
        cells = [HEADS, *(_told(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(HEADS))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        alarms = f"{self.false_alarms:.1%} of {self.good} good pictures are above the threshold"
        lines.append(f"{alarms} ({self.threshold:.4g})")
        if self.unmarked:
            lines.append(
                f"{self.unmarked} pictures with defects have no mask in ground_truth, and no part "
                "in the scores of pixels"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As a program reads it; what cannot be told is null."""
        told = asdict(self)
        told["rows"] = {row.pop("kind"): row for row in told["rows"]}
        return told


def evaluate(
    model: str | Path,
    folder: str | Path,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> DefectReport:
    """Judge a detector on a folder laid out as MVTec AD (`defect_folders`).

    Args:
        model: What `detect.fit` wrote.
        folder: With ``test`` and, for the scores of pixels, ``ground_truth``.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: Called after each picture.

    Raises:
        DataError: The folder is laid out otherwise, or too little of it can be read.
        PellucidError: The model is at fault.
    """
    with making():
        from pellucid.learn import detector_files
    found = judged_pictures(folder)
    detector = detector_files.load(model, device=device)
    limit = float(detector.metadata["threshold"])
    tallies: dict[str, PixelTally] = {}
    unmarked = 0
    scores: dict[str, list[float]] = {}
    told: list[dict[str, Any]] = []
    failed: list[str] = []
    for done, one in enumerate(found, start=1):
        try:
            picture = pixels(one.path)
            mask = None if one.mask is None else read_mask(one.mask, picture.shape[:2])
        except PellucidError as error:
            failed.append(str(error))
            continue
        value, places = detector.judge(picture)
        scores.setdefault(one.kind, []).append(value)
        if mask is not None or not one.anomalous:
            tallies.setdefault(one.kind, PixelTally()).add(places, mask)
        else:
            unmarked += 1
        name = one.path.relative_to(folder).as_posix()
        told.append({"path": name, "kind": one.kind, "score": round(value, 6)})
        if progress is not None:
            progress("pictures", done, len(found))
    if ALL in scores:
        raise DataError(
            f"{folder}: a kind of defect is called '{ALL}', as all of them together are; give its "
            "folder another name"
        )
    kinds = [kind for kind in scores if kind != GOOD]
    if GOOD not in scores or not kinds:
        why = f"; {failed[0]}" if failed else ""
        raise DataError(f"{folder}: good and bad pictures are needed, and one cannot be read{why}")
    rows = [_row(kind, [kind], scores, tallies, limit) for kind in kinds]
    rows.append(_row(ALL, kinds, scores, tallies, limit))
    alarms = float(np.mean(np.array(scores[GOOD]) > limit))
    marked = rows[-1].pixel_auroc is not None
    return DefectReport(
        data=str(folder),
        threshold=limit,
        good=len(scores[GOOD]),
        false_alarms=alarms,
        rows=tuple(rows),
        images=tuple(told),
        failed=tuple(failed),
        unmarked=unmarked if marked else 0,
    )


def _row(
    name: str,
    kinds: Sequence[str],
    scores: dict[str, list[float]],
    tallies: dict[str, PixelTally],
    limit: float,
) -> KindScores:
    bad = [value for kind in kinds for value in scores[kind]]
    values = [*scores[GOOD], *bad]
    flags = [False] * len(scores[GOOD]) + [True] * len(bad)
    row = KindScores(
        kind=name,
        n=len(bad),
        image_auroc=auroc(values, flags),
        image_f1_max=f1_max(values, flags)[0],
        found=float(np.mean(np.array(bad) > limit)),
        pixel_auroc=None,
        pixel_f1_max=None,
        pro=None,
    )
    marked = [tallies[kind] for kind in kinds if kind in tallies]
    if not marked or not sum(tally.defects for tally in marked):
        return row
    tally = reduce(add, [tallies[GOOD], *marked])
    return replace(row, pixel_auroc=tally.auroc(), pixel_f1_max=tally.f1_max(), pro=tally.pro())


def _told(row: KindScores) -> tuple[str, ...]:
    rates = (row.image_auroc, row.image_f1_max, row.found)
    marked = (row.pixel_auroc, row.pixel_f1_max, row.pro)
    shown = ["-" if v is None or math.isnan(v) else f"{v:.3f}" for v in (*rates, *marked)]
    return (row.kind, str(row.n), *shown)
