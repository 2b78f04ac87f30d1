"""Densities as whole numbers, which is what an entropy coder works with on every machine alike.

A row holds the frequencies of neighbouring whole numbers, and last that of all others together,
the escape. Read next: `codec_file`, which stores the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.learn.models.entropy import NARROWEST, SCALES, STEP, TAILS, Logistics

TOTAL = 2**16
"""What the frequencies of a row sum to."""

LONGEST = 2**12
"""Most symbols of a row: each takes at least one of the 65,536."""

_TAIL = 2**-17
"""Mass beyond either end that is left to the escape."""

_REACH = 12.0
"""Scales of a logistic or deviations of a Gaussian with tails; less than `_TAIL` is beyond."""


@dataclass(frozen=True)
class Rows:
    """Rows of frequencies, of any leading shape.

    Attributes:
        freq: uint16 (..., W); a row is its symbols, then its escape, then zeros.
        offset: int32 (...), the value of the first symbol.
        size: int32 (...), used entries with the escape, 2 or more.
    """

    freq: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def reshape(self, *shape: int) -> Rows:
        """The same rows, laid out otherwise."""
        freq = self.freq.reshape(*shape, -1)
        return Rows(freq, self.offset.reshape(shape), self.size.reshape(shape))


def frequencies(masses: np.ndarray) -> np.ndarray:
    """Whole numbers of at least one in the proportion of `masses` that sum to `TOTAL`.

    Args:
        masses: (n,), none below nothing, not all nothing; n up to `TOTAL`.

    Example:
        >>> frequencies(np.array([0.5, 0.5, 0.0]))
        array([32768, 32767,     1])
    """
    rare = np.zeros(len(masses), bool)
    while True:
        share = masses / masses[~rare].sum() * (TOTAL - rare.sum())
        wanting = rare | (share < 1)
        if (wanting == rare).all():
            break
        rare = wanting
    share[rare] = 1
    found: np.ndarray = np.floor(share).astype(np.int64)
    largest = np.argsort(found - share, kind="stable")
    found[largest[: TOTAL - found.sum()]] += 1
    return found


def gaussian_rows() -> Rows:
    """Of the `SCALES` Gaussians with `TAILS` around nothing, integrated over bins of width one."""
    rows = []
    for index in range(SCALES):
        deviation = NARROWEST * np.exp(STEP * index)
        symbols = _symbols(-_REACH * deviation, _REACH * deviation)
        away = symbols.abs()
        ends = torch.stack([0.5 - away, -0.5 - away, symbols - 0.5, -symbols - 0.5])
        shares = [share * torch.special.ndtr(ends / factor / deviation) for share, factor in TAILS]
        near, far, below, above = torch.stack(shares).sum(0)
        rows.append(_row(symbols, near - far, below, above))
    return _stacked(rows)


@torch.no_grad()
def logistic_rows(density: Logistics) -> Rows:
    """Of every quality and channel of a density that was learnt; (Q, C) rows."""
    parts = [part.cpu().double().flatten(0, 1) for part in density.parts()]
    rows = []
    for weights, means, scales in zip(*parts, strict=True):
        low = float((means - _REACH * scales).min())
        high = float((means + _REACH * scales).max())
        if high - low > 2 * LONGEST:
            middle = float((weights * means).sum())
            low, high = max(low, middle - LONGEST), min(high, middle + LONGEST)
        symbols = _symbols(low, high)
        off = symbols[:, None] - means
        away = off.abs()
        mass = torch.sigmoid((0.5 - away) / scales) - torch.sigmoid((-0.5 - away) / scales)
        below = torch.sigmoid((off - 0.5) / scales)
        above = torch.sigmoid((-off - 0.5) / scales)
        rows.append(_row(symbols, *((weights * part).sum(1) for part in (mass, below, above))))
    return _stacked(rows).reshape(*density.shape[:2])


def _symbols(low: float, high: float) -> Tensor:
    return torch.arange(np.floor(low), np.ceil(high) + 1, dtype=torch.float64)


def _row(symbols: Tensor, mass: Tensor, below: Tensor, above: Tensor) -> tuple[np.ndarray, int]:
    """Frequencies and first symbol, of symbols with what each holds and what lies beyond it."""
    inside = torch.nonzero((below + mass > _TAIL) & (above + mass > _TAIL)).flatten()
    first, last = int(inside[0]), int(inside[-1])
    while last - first >= LONGEST:  # what is rarest goes first
        if mass[first] < mass[last]:
            first += 1
        else:
            last -= 1
    kept = mass[first : last + 1].numpy()
    escaped = float(below[first] + above[last])
    return frequencies(np.append(kept, escaped)), int(symbols[first])


def _stacked(rows: list[tuple[np.ndarray, int]]) -> Rows:
    sizes = np.array([len(row) for row, _ in rows], np.int32)
    freq = np.zeros((len(rows), sizes.max()), np.uint16)
    for filled, (row, _) in zip(freq, rows, strict=True):
        filled[: len(row)] = row
    return Rows(freq, np.array([first for _, first in rows], np.int32), sizes)
