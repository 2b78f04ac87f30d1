"""What the training history says, in one line.

A history is a list of rows, one an epoch, with the keys of ``history.csv``: ``epoch`` (from 1),
``train_loss``, ``val_loss``, ``val_psnr``, ``lr`` and others; a value may be missing or None.
Read next: `plots.curves`, which draws the same history and marks the same turning point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

History = Sequence[Mapping[str, float | None]]

FEWEST = 4
"""Epochs below which a trend is a guess."""


def advice(history: History) -> str:
    """One line that says how the training went and what to do next.

    Example:
        >>> rows = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.1 / e} for e in range(1, 9)]
        >>> print(advice(rows))
        Still learning: validation loss fell 25.0 % over the last 2 epochs. Train longer, for \
example with --set train.epochs=16.
    """
    if not history:
        return "Nothing to judge: no epoch was finished."
    lost = diverged(history)
    if lost is not None:
        return (
            f"Diverged: the loss stopped being a number in epoch {lost}. Lower the learning rate"
            f"{_tenth_of_the_rate(history)}."
        )
    epochs, train, validation = _losses(history)
    if not validation:
        return "Nothing to judge: there is no validation loss. Give the data a validation part."
    if len(validation) < FEWEST:
        return (
            f"Too short to judge: {_count(len(validation), 'epoch')}. Train for at least {FEWEST}."
        )
    turn = turning_point(history)
    if turn is not None:
        return _after_the_turn(turn, epochs, train, validation)
    recent = max(2, round(len(validation) / 4))
    smooth = _smoothed(validation)
    fall = smooth[-1 - recent] - smooth[-1]
    if fall > max(0.01 * abs(smooth[-1 - recent]), 2 * _noise(validation)):
        return (
            f"Still learning: validation loss fell {_percent(fall, smooth[-1 - recent])} over the "
            f"last {_count(recent, 'epoch')}. Train longer, for example with "
            f"--set train.epochs={2 * epochs[-1]}."
        )
    best = min(range(len(validation)), key=validation.__getitem__)
    line = (
        f"Settled: validation loss has stopped moving; it was lowest at epoch {epochs[best]} "
        f"({validation[best]:.4g})"
    )
    if train and _gap(train, validation) > 0.25:
        return (
            f"{line}, {_percent(validation[-1] - train[-1], train[-1])} above training loss. "
            "More data or a smaller model would narrow that gap; more epochs will not."
        )
    if _spent(history) and best >= len(validation) - recent:
        return (
            f"Finished: validation loss was lowest ({validation[best]:.4g}, epoch {epochs[best]}) "
            "when the learning rate had fallen to nothing. Whether more epochs help, only a "
            f"longer run tells: --set train.epochs={2 * epochs[-1]}."
        )
    return f"{line}. More epochs will change little; a larger model may do better."


def diverged(history: History) -> int | None:
    """The first epoch whose loss is infinite or not a number, or None."""
    for i, row in enumerate(history):
        for key in ("train_loss", "val_loss"):
            value = row.get(key)
            if value is not None and not math.isfinite(value):
                return _epoch(row, i)
    return None


def turning_point(history: History) -> int | None:
    """The epoch after which validation loss rose for good, or None where it did not.

    A rise counts when at least two later epochs lie above the lowest one, on average by three
    times the jitter between neighbouring epochs and by 0.5 % of the loss: one bad epoch is chance.
    """
    epochs, _, validation = _losses(history)
    if len(validation) < FEWEST or diverged(history) is not None:
        return None
    smooth = _smoothed(validation)
    low = min(range(len(smooth)), key=smooth.__getitem__)
    bottom = smooth[low]
    # The median slides a narrow valley sideways: name the lowest epoch itself near it.
    near = range(max(0, low - 1), min(len(smooth), low + 2))
    low = min(near, key=validation.__getitem__)
    later = validation[low + 1 :]
    if len(later) < max(2, len(validation) // 10):
        return None
    recent = later[-max(2, len(later) // 2) :]
    rise = sum(recent) / len(recent) - bottom
    if rise > max(3 * _noise(validation), 0.005 * abs(bottom)):
        return epochs[low]
    return None


def _after_the_turn(
    turn: int, epochs: list[int], train: list[float], validation: list[float]
) -> str:
    low = epochs.index(turn)
    rise = _percent(validation[-1] - validation[low], validation[low])
    said = (
        f"validation loss was lowest at epoch {turn} ({validation[low]:.4g}) and "
        f"has risen {rise} since"
    )
    if train and train[-1] > train[low]:
        return f"Unstable: {said}, and training loss with it. Lower the learning rate."
    return (
        f"Over-fitting: {said}, while training loss went on falling. Stop at epoch {turn}, or "
        "give it more data, more varied damage or a smaller model."
    )


def _losses(history: History) -> tuple[list[int], list[float], list[float]]:
    """Epochs that have a validation loss, with both losses; no training loss where one lacks."""
    rows = [(i, row) for i, row in enumerate(history) if row.get("val_loss") is not None]
    train = [row.get("train_loss") for _, row in rows]
    return (
        [_epoch(row, i) for i, row in rows],
        [] if None in train else [float(value) for value in train if value is not None],
        [float(row["val_loss"] or 0.0) for _, row in rows],
    )


def _epoch(row: Mapping[str, float | None], index: int) -> int:
    return int(row.get("epoch") or index + 1)


def _smoothed(values: list[float]) -> list[float]:
    """Running median of three, so that one lucky epoch is not taken for the bottom."""
    inner = [median(values[i - 1 : i + 2]) for i in range(1, len(values) - 1)]
    return [values[0], *inner, values[-1]]


def _noise(values: list[float]) -> float:
    """Standard deviation of the jitter: what is left of neighbours once their trend is taken off.

    Second differences of white noise spread by sqrt(6); the median keeps the steep first epochs
    from counting, and 1.4826 makes it a standard deviation.
    """
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return 1.4826 * median(bends) / math.sqrt(6) if bends else 0.0


def _spent(history: History) -> bool:
    """Whether the learning rate ended far below where it was: what then settles is the rate."""
    rates = [row.get("lr") or 0.0 for row in history]
    return 0 < rates[-1] < max(rates) / 20


def _gap(train: list[float], validation: list[float]) -> float:
    return (validation[-1] - train[-1]) / max(abs(train[-1]), 1e-12)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / max(abs(whole), 1e-12):.1f} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _tenth_of_the_rate(history: History) -> str:
    rate = next((row["lr"] for row in history if row.get("lr")), None)
    return f", for example to {rate / 10:.1g}" if rate else ""
