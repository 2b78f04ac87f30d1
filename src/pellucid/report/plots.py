"""Curves of a training run, and of what codecs cost; the one home of matplotlib, which opens only
when a curve is drawn.

Figures are made directly, never through pyplot: no global state and no window, so that a server
or a test can draw too. Read next: `advice`, which finds the turning point marked here.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from pellucid.errors import optional
from pellucid.images.files import atomic
from pellucid.report.advice import History, advice, diverged, turning_point

TRAIN = "#4c78a8"
VALIDATION = "#e4572e"
INK = "#202124"
PALE_INK = "#5f6368"
WIDTHS = (1.25, 1.0)
LINES = (VALIDATION, TRAIN, "#3b7d4f", "#8a6fb0", "#b08d3c")

SCORES = {
    "val_psnr": ("PSNR, dB", "#b5541c", ".2f"),
    "val_ssim": ("SSIM", "#3b7d4f", ".3f"),
}
"""Scores drawn where the history has them: name on the axis, colour, format."""


def curves(history: History, path: str | Path, *, title: str = "") -> Path:
    """Draw training against validation and what the restored pictures score; return the path.

    Left, both losses with the gap between them shaded and the epoch marked after which validation
    turned up; right, validation PSNR and SSIM where the history has them; beneath, the advice.

    Args:
        history: Rows with ``epoch``, ``train_loss``, ``val_loss``, ``val_psnr``, ``val_ssim``;
            any of them may be missing or None.
        path: Where the PNG goes; replaced in one step.
        title: A line above, for example the name of the recipe.
    """
    return _saved(_figure(history, title), Path(path))


def curves_picture(history: History, *, title: str = "") -> Image.Image:
    """What `curves` draws, as a picture in memory."""
    drawn = io.BytesIO()
    _figure(history, title).savefig(drawn, format="png")
    return Image.open(drawn).convert("RGB")


def _figure(history: History, title: str) -> Any:
    figures = optional("matplotlib.figure", "train")
    scores = [key for key in SCORES if any(row.get(key) is not None for row in history)]
    figure = figures.Figure(figsize=(10 if scores else 6.4, 4.6), dpi=120, layout="constrained")
    grid = figure.add_gridspec(
        max(1, len(scores)), 2 if scores else 1, width_ratios=WIDTHS[: 1 + bool(scores)]
    )
    _losses(figure.add_subplot(grid[:, 0]), history)
    for i, key in enumerate(scores):
        _score(figure.add_subplot(grid[i, 1]), history, key, last=i == len(scores) - 1)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, color=INK)
    said = textwrap.fill(advice(history), 142 if scores else 88)
    figure.supxlabel(said, x=0.01, ha="left", fontsize=9.5, color=PALE_INK)
    return figure


def rates(
    lines: Mapping[str, Sequence[tuple[float, float]]], path: str | Path, *, title: str = ""
) -> Path:
    """Draw what codecs give for what they take; return the path.

    Args:
        lines: By name, bits a pixel and PSNR in dB of each setting; the first is drawn thick.
        path: Where the PNG goes; replaced in one step.
        title: A line above, for example the data set.
    """
    figures = optional("matplotlib.figure", "train")
    tickers = optional("matplotlib.ticker", "train")
    figure = figures.Figure(figsize=(6.4, 4.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e5e8", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)
    for number, (name, points) in enumerate(lines.items()):
        bpp, psnr = zip(*sorted(points), strict=True)
        look: dict[str, Any] = {"lw": 2.4, "zorder": 3} if number == 0 else {"lw": 1.4}
        look |= {"color": LINES[number % len(LINES)], "marker": "o", "ms": 3.5}
        axes.plot(bpp, psnr, label=name, **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(tickers.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(tickers.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(tickers.NullFormatter())
    axes.set_xlabel("bits a pixel, of the whole file")
    axes.set_ylabel("PSNR, dB")
    axes.legend(frameon=False, fontsize=9, loc="best")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, color=INK)
    return _saved(figure, Path(path))


def _saved(figure: Any, path: Path) -> Path:
    """The figure as a PNG, whole or not at all."""
    with suppress(OSError):  # `atomic` says in one line what stands in the way
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as beside:
        figure.savefig(beside, format="png")
    return path


def _losses(axes: Any, history: History) -> None:
    epochs = _epochs(history)
    train, validation = _column(history, "train_loss"), _column(history, "val_loss")
    _dress(axes, epochs, "loss")
    mark = _mark(epochs)
    axes.plot(epochs, train, color=TRAIN, label="training", **mark)
    axes.plot(epochs, validation, color=VALIDATION, label="validation", **mark)
    axes.fill_between(epochs, train, validation, color=VALIDATION, alpha=0.12, label="gap", lw=0)
    known = [value for value in (*train, *validation) if math.isfinite(value)]
    # A steep first epoch would flatten everything after it on a linear scale.
    if known and min(known) > 0 and max(known) > 20 * min(known):
        axes.set_yscale("log")
    turn, lost = turning_point(history), diverged(history)
    if turn is not None:
        axes.axvline(turn, color=PALE_INK, lw=1, ls=(0, (4, 3)))
        axes.plot(turn, validation[epochs.index(turn)], "o", color=VALIDATION, ms=7, mec="white")
        _beside(axes, turn, epochs, f"validation turns up\nafter epoch {turn}")
    if lost is not None:
        axes.axvline(lost, color=PALE_INK, lw=1, ls=(0, (4, 3)))
        _beside(axes, lost, epochs, f"no number\nfrom epoch {lost}")
    axes.legend(frameon=False, fontsize=9, loc="best")


def _score(axes: Any, history: History, key: str, *, last: bool) -> None:
    """What the restored validation pictures score, with the best epoch named."""
    name, colour, form = SCORES[key]
    epochs, values = _epochs(history), _column(history, key)
    _dress(axes, epochs, name)
    axes.plot(epochs, values, color=colour, **_mark(epochs))
    # Its own axes and not a second scale: two lines that cross on two scales mean nothing.
    if not last:
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)
    best = max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i])
    if math.isfinite(values[best]):
        axes.plot(epochs[best], values[best], "o", color=colour, ms=7, mec="white")
        said = f"validation pictures: best {values[best]:{form}} at epoch {epochs[best]}"
        axes.set_title(said, fontsize=9.5, color=PALE_INK, loc="left")


def _dress(axes: Any, epochs: list[int], label: str) -> None:
    tickers = optional("matplotlib.ticker", "train")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e5e8", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(tickers.MaxNLocator(integer=True))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)


def _beside(axes: Any, epoch: int, epochs: list[int], text: str) -> None:
    """Text at the upper end of a vertical line, on the side that has room."""
    right = epoch > (epochs[0] + epochs[-1]) / 2
    axes.annotate(
        text,
        (epoch, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if right else 6, -4),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        fontsize=9,
        color=PALE_INK,
    )


def _mark(epochs: list[int]) -> dict[str, Any]:
    """Points on the line while they are few enough to be told apart."""
    return {"marker": "o", "ms": 3.5, "lw": 1.6} if len(epochs) <= 25 else {"lw": 1.6}


def _epochs(history: History) -> list[int]:
    return [int(row.get("epoch") or i + 1) for i, row in enumerate(history)]


def _column(history: History, key: str) -> list[float]:
    """Values of one key; what is missing or infinite becomes NaN, a hole in the line."""
    values = [row.get(key) for row in history]
    return [math.nan if v is None or not math.isfinite(v) else float(v) for v in values]
