"""What `evaluate` hands back: scores as JSON, as a table for the terminal, and as a panel."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pellucid import __version__
from pellucid.report.likelihood import Likelihood
from pellucid.report.panel import draw, save

Scores = Mapping[str, float]

COLUMNS = {"psnr": ("PSNR dB", ".2f"), "ssim": ("SSIM", ".4f"), "rmse": ("RMSE", ".4f")}
COLUMNS |= {"mae": ("MAE", ".4f")}

UNDAMAGED = "none"
"""The damage of plain reconstruction, where the damaged picture is the clean one."""

SMALL = 64
"""Pictures up to this side are shown three of a kind, above one another."""


@dataclass(frozen=True)
class Example:
    """A picture to look at: what it stands for, its three versions (H, W, C), its two PSNRs."""

    label: str
    name: str
    clean: NDArray[np.float32]
    damaged: NDArray[np.float32]
    restored: NDArray[np.float32]
    before: float
    after: float


@dataclass(frozen=True)
class BaselineScores:
    """What a classical method reached.

    Attributes:
        scores: Mean scores, or None where it does not apply.
        n: On how many pictures.
        restored: Mean scores of the model on the very same pictures.
        setting: What was chosen for it on some of these pictures, in its favour.
        sigma: ``known`` (the true level), ``estimated``, a fixed level, or None if it wants none.
        seconds: Time for a picture.
        reason: Why it does not apply.
    """

    scores: Scores | None
    n: int = 0
    restored: Scores | None = None
    setting: Mapping[str, float] = field(default_factory=dict)
    sigma: str | float | None = None
    seconds: float | None = None
    reason: str | None = None

    def beside(self, restored: Scores) -> BaselineScores:
        """The same, with the model's scores on the same pictures."""
        return self if self.scores is None else replace(self, restored=restored)

    def told(self) -> dict[str, Any]:
        """The entry of the JSON file: its scores, and how they came about."""
        empty: dict[str, float | None] = dict.fromkeys(COLUMNS)
        return {
            **(empty if self.scores is None else self.scores),
            "n": self.n,
            "restored": self.restored,
            "setting": dict(self.setting),
            "sigma": self.sigma,
            "seconds_per_image": self.seconds,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Report:
    """Scores of a model on a data set; means over pictures.

    Attributes:
        model: Its name.
        data: The data set's name.
        split: Which part of it.
        damage: What was done to the pictures; ``pairs`` where the data brought its own.
        clipped: Whether damaged values were kept in [0, 1].
        rounded: Whether restored values were rounded to 8 bits, as those of 8-bit pictures are.
        seed: Where the damage came from.
        channels: 1 for grey, 3 for colour.
        n: How many pictures.
        total: How many there are in the split.
        damaged: Mean scores of the damaged pictures, as they are.
        restored: Mean scores of the restored ones, clipped.
        images: Scores of each picture.
        baselines: Classical methods by name.
        seconds: Time for the model alone, on all pictures.
        examples: Best, median and worst.
        protocol: ``published`` where the noise is that of the published tables, drawn by numpy,
            seeded with 0 for each picture, not clipped; else ``own``.
        likelihood: In nats, of a model that has one.
        partners: Whether the data brought damaged ones, used or not.
    """

    model: str
    data: str
    split: str
    damage: str
    clipped: bool
    rounded: bool
    seed: int
    channels: int
    n: int
    total: int
    damaged: Scores
    restored: Scores
    images: tuple[Mapping[str, Any], ...] = field(repr=False)
    baselines: Mapping[str, BaselineScores] = field(default_factory=dict)
    seconds: float = 0.0
    examples: tuple[Example, ...] = field(default=(), repr=False, compare=False)
    protocol: str = "own"
    likelihood: Likelihood | None = None
    partners: bool = False

    def to_json(self) -> str:
        """The scores as JSON text; what is not a number becomes null."""
        told = {
            "model": self.model,
            "version": __version__,
            "data": self.data,
            "split": self.split,
            "damage": self.damage,
            "partners": self.partners,
            "protocol": self.protocol,
            "clipped": self.clipped,
            "rounded": self.rounded,
            "seed": self.seed,
            "channels": self.channels,
            "n": self.n,
            "total": self.total,
            "seconds": self.seconds,
            "damaged": self.damaged,
            "restored": self.restored,
            "baselines": {name: scores.told() for name, scores in self.baselines.items()},
            "likelihood": self.likelihood.told() if self.likelihood else None,
            "images": list(self.images),
        }
        return json.dumps(_plain(told), indent=1, allow_nan=False)

    def table(self) -> str:
        """The scores for a terminal, a line for each method."""
        head = f"{self.model} on {self.data} ({self.split}): {self._pictures}, damage {self._done}"
        lines = [_line("", {key: title for key, (title, _) in COLUMNS.items()}, "")]
        if self.damage != UNDAMAGED:
            lines += [_line("damaged", _told(self.damaged), "")]
        lines += [_line("restored", _told(self.restored), "")]
        for baseline in self.baselines.values():
            if baseline.restored is not None and baseline.n < self.n:
                lines += ["", f"on {baseline.n} of these pictures, spread evenly"]
                lines += [_line("restored", _told(baseline.restored), "")]
                break
        for name, baseline in self.baselines.items():
            lines.append(_line(name, _told(baseline.scores or {}), _remark(baseline)))
        if self.likelihood:
            lines += ["", self.likelihood.table()]
        return "\n".join([head, "", *lines])

    def panel(self, path: str | Path) -> Path:
        """Write `picture` as PNG and return its path."""
        return save(self.picture(), path)

    def picture(self) -> Image.Image:
        """The best, the median and the worst picture: clean, damaged, restored.

        Small pictures come three of a kind.
        """
        title = f"{self.model} on {self.data}: {_decibels(self.restored['psnr'])}"
        if self.damage != UNDAMAGED:
            title += f", damaged {_decibels(self.damaged['psnr'])}"
        of = f"Best, median and worst by PSNR of {self._pictures}" if self.n > 2 else self._pictures
        note = f"{of}; damage {self._done}."
        names = ["clean", "damaged", "restored"]
        triples = [[example.clean, example.damaged, example.restored] for example in self.examples]
        captions = [[e.name, _decibels(e.before), _decibels(e.after)] for e in self.examples]
        if self.damage == UNDAMAGED:
            del names[1]
            triples = [[clean, restored] for clean, _, restored in triples]
            captions = [[name, after] for name, _, after in captions]
        labels = [example.label for example in self.examples]
        if all(max(example.clean.shape[:2]) <= SMALL for example in self.examples):
            return draw(
                [list(row) for row in zip(*triples, strict=True)],
                rows=names,
                columns=labels,
                # Names would push pictures of a few pixels apart.
                captions=[[], *(list(row) for row in list(zip(*captions, strict=True))[1:])],
                title=title,
                note=note,
            )
        return draw(triples, rows=labels, columns=names, captions=captions, title=title, note=note)

    @property
    def _pictures(self) -> str:
        some = f"{self.n:,}" if self.n == self.total else f"{self.n:,} of {self.total:,}"
        return f"{some} picture{'' if self.total == 1 else 's'}"

    @property
    def _done(self) -> str:
        if self.damage in ("pairs", "none"):
            return self.damage
        done = f"{self.damage}, {'clipped' if self.clipped else 'not clipped'}"
        if self.partners:
            done += ", not the pairs that are there"
        return f"{done}, published protocol" if self.protocol == "published" else done


def _remark(baseline: BaselineScores) -> str:
    """How a baseline was set, or why it is not there."""
    if baseline.scores is None:
        return f"not applicable: {baseline.reason}"
    parts = [f"{key} {value:g}" for key, value in baseline.setting.items()]
    if baseline.sigma is not None:
        told = baseline.sigma
        parts.insert(0, f"sigma {told if isinstance(told, str) else f'{told:g}'}")
    return ", ".join(parts)


def _line(name: str, texts: Mapping[str, str], remark: str) -> str:
    cells = "".join(f"{texts.get(key, '-'):>9}" for key in COLUMNS)
    return f"{name:<14}{cells}  {remark}".rstrip()


def _told(scores: Scores) -> dict[str, str]:
    return {
        key: f"{scores[key]:{form}}" if math.isfinite(scores.get(key, math.nan)) else "-"
        for key, (_, form) in COLUMNS.items()
    }


def _decibels(value: float) -> str:
    return f"{value:.2f} dB" if math.isfinite(value) else "no number"


def _plain(value: Any) -> Any:
    """The value for JSON: floats to six digits after the point, or null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
