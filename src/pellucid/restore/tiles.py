"""Running a network over a picture of any size in bounded memory, without seams.

A network looks at most `halo` pixels around each pixel. Windows that overlap by twice that, start
on the network's own grid and keep only their inner part give exactly the numbers of one run over
the whole picture: there is nothing to blend. Where a network sees everything (a dense code, group
normalisation) or further than windows can afford, neighbours are cross-faded instead.

Nothing here knows what a sample is: `run` asks `read` for float pixels and hands restored ones to
`write`, one window at a time, so `denoise` can work on the file's own samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

SIDES = (512, 1024)
"""Smallest and largest side of a window in pixels unless told otherwise: ten times the overlap in
between, where two thirds of the work are on a window's own ground and a network of 64 channels at
full size still takes well under a gigabyte."""

FARTHEST = 128
"""Largest overlap on each side in pixels. What a network sees beyond it hardly moves a pixel, and
windows would spend most of their time on each other's ground."""


@dataclass(frozen=True)
class Span:
    """One window along one axis: read `start:stop`, keep `first:last`.

    Where windows are cross-faded, `first:last` reaches into the neighbours and `fade` counts the
    pixels over which the weight rises at the start and falls at the end.
    """

    start: int
    stop: int
    first: int
    last: int
    fade: tuple[int, int] = (0, 0)

    def weights(self) -> Pixels:
        """Weight of each kept pixel; those of all windows over a pixel add up to one."""
        weight = np.ones(self.last - self.first, np.float32)
        rise, fall = self.fade
        if rise:
            weight[:rise] = ramp(rise)
        if fall:
            weight[-fall:] = 1 - ramp(fall)
        return weight


@dataclass(frozen=True)
class Plan:
    """How a picture is cut: every pair of a row span and a column span is a window.

    `exact` promises the numbers of one run over the whole picture. `size` is the height and width
    that every window is padded to, for a network that takes no other.
    """

    height: int
    width: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    exact: bool
    size: tuple[int, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether the picture is one window."""
        return len(self.rows) == len(self.columns) == 1


def plan(
    height: int,
    width: int,
    *,
    halo: int | None,
    multiple: int = 1,
    tile: int | None = None,
    size: tuple[int, int] | None = None,
) -> Plan:
    """How to cut a picture into windows.

    Args:
        height: Of the picture in pixels.
        width: Of the picture in pixels.
        halo: How far the network sees around a pixel; None where it sees everything.
        multiple: The network's grid; windows start on it.
        tile: Side of a window in pixels, more where the overlap asks for it; 512 to 1024 unless
            given. A picture with no more pixels than a window is left whole.
        size: The only size that the network takes, if it takes only one.

    Example:
        >>> cut = plan(600, 1010, halo=10, multiple=4, tile=512)
        >>> [(span.start, span.stop, span.first, span.last) for span in cut.columns]
        [(0, 356, 0, 344), (332, 688, 344, 676), (664, 1010, 676, 1010)]
    """
    if size is not None:
        rows, columns = (
            tuple(_spans(total, side, side // 4, 1, exact=False, bound=True))
            for total, side in zip((height, width), size, strict=True)
        )
        exact = len(rows) == len(columns) == 1
        return Plan(height, width, rows, columns, exact, size)
    exact = halo is not None and (halo <= FARTHEST or tile is not None)
    overlap = halo if halo is not None and exact else FARTHEST
    overlap = _up(overlap, multiple)
    side = min(max(10 * overlap, SIDES[0]), SIDES[1]) if tile is None else tile
    if height * width <= side * side:
        whole = (Span(0, height, 0, height),), (Span(0, width, 0, width),)
        return Plan(height, width, *whole, exact=True)
    # A window must advance: at least half of it is its own ground.
    side = _up(max(side, 4 * overlap), multiple)
    rows, columns = (
        tuple(_spans(total, side, overlap, multiple, exact=exact)) for total in (height, width)
    )
    return Plan(height, width, rows, columns, exact)


def run(
    cut: Plan,
    network: Callable[[Pixels], Pixels],
    read: Callable[[slice, slice], Pixels],
    write: Callable[[slice, slice, Pixels], None],
    *,
    together: int = 1,
) -> None:
    """Restore a picture window by window.

    Args:
        cut: From `plan`.
        network: Maps windows (B, H, W, C) to restored windows of the same shape.
        read: Gives the pixels (H, W, C) of rows and columns.
        write: Takes restored pixels; every pixel of the picture is written once.
        together: How many windows of one size go through the network at a time.
    """
    if cut.exact:
        for row, column, restored in _restored(cut, cut.rows, network, read, together):
            inside = (
                slice(row.first - row.start, row.last - row.start),
                slice(column.first - column.start, column.last - column.start),
            )
            write(slice(row.first, row.last), slice(column.first, column.last), restored[inside])
        return
    _crossfade(cut, network, read, write, together)


def _crossfade(
    cut: Plan,
    network: Callable[[Pixels], Pixels],
    read: Callable[[slice, slice], Pixels],
    write: Callable[[slice, slice, Pixels], None],
    together: int,
) -> None:
    """Restore with overlapping weights, holding one band of the picture as float sums.

    The band lies across the shorter side, so it stays small for a panorama too.
    """
    if cut.width > cut.height:
        turned = Plan(
            cut.width, cut.height, cut.columns, cut.rows, cut.exact, cut.size and cut.size[::-1]
        )
        _crossfade(
            turned,
            lambda windows: network(windows.swapaxes(1, 2)).swapaxes(1, 2),
            lambda rows, columns: read(columns, rows).swapaxes(0, 1),
            lambda rows, columns, pixels: write(columns, rows, pixels.swapaxes(0, 1)),
            together,
        )
        return
    band = np.zeros((0, cut.width, 0), np.float32)
    top = 0
    for row, after in pairwise((*cut.rows, None)):
        assert row is not None
        for this, column, restored in _restored(cut, (row,), network, read, together):
            if not band.shape[2]:
                band = np.zeros((0, cut.width, restored.shape[2]), np.float32)
            missing = this.last - top - len(band)
            if missing > 0:
                more = np.zeros((missing, *band.shape[1:]), np.float32)
                band = np.concatenate([band, more])
            kept = restored[
                this.first - this.start : this.last - this.start,
                column.first - column.start : column.last - column.start,
            ]
            weight = this.weights()[:, None, None] * column.weights()[None, :, None]
            place = slice(this.first - top, this.last - top), slice(column.first, column.last)
            band[place] += weight * kept
        done = (cut.height if after is None else after.first) - top
        write(slice(top, top + done), slice(0, cut.width), band[:done])
        band = band[done:].copy()
        top += done


def _restored(
    cut: Plan,
    rows: tuple[Span, ...],
    network: Callable[[Pixels], Pixels],
    read: Callable[[slice, slice], Pixels],
    together: int,
) -> Iterator[tuple[Span, Span, Pixels]]:
    """Every window of these rows after the network, windows of one shape going together."""
    waiting: list[tuple[Span, Span, Pixels]] = []

    def flush() -> Iterator[tuple[Span, Span, Pixels]]:
        if len(waiting) == 1:
            stack = waiting[0][2][None]
        else:
            stack = np.stack([window for _, _, window in waiting])
        restored = network(stack)
        for (row, column, _), pixels in zip(waiting, restored, strict=True):
            yield row, column, pixels
        waiting.clear()

    for row in rows:
        for column in cut.columns:
            window = read(slice(row.start, row.stop), slice(column.start, column.stop))
            if cut.size is not None:
                window = _padded(window, cut.size)
            if waiting and (len(waiting) >= together or waiting[0][2].shape != window.shape):
                yield from flush()
            waiting.append((row, column, window))
    if waiting:
        yield from flush()


def _spans(
    total: int, side: int, overlap: int, multiple: int, *, exact: bool, bound: bool = False
) -> Iterator[Span]:
    """Cut `total` pixels into windows that share twice `overlap`.

    They are at most `side` long, or just as long where they are `bound` to it; `side` and `overlap`
    are on the grid.
    """
    if total <= side:
        yield Span(0, total, 0, total)
        return
    step = max(side - 2 * overlap, 1)
    if bound:
        starts = [*range(0, total - side, step), total - side]
    else:
        # As many windows as it takes, and then no larger than it takes.
        count = -(-(total - 2 * overlap) // step)
        step = _up(-(-(total - 2 * overlap) // count), multiple)
        starts = [*range(0, total - 2 * overlap, step)]
        side = step + 2 * overlap
    stops = [*(start + side for start in starts[:-1]), total]
    # Shared pixels between neighbours; bound windows may share more than they need.
    shared = [(start, stop) for start, stop in zip(starts[1:], stops[:-1], strict=True)]
    if exact:
        edges = [0, *((low + high) // 2 for low, high in shared), total]
        for start, stop, (first, last) in zip(starts, stops, pairwise(edges), strict=True):
            yield Span(start, stop, first, last)
        return
    # Fade over the middle half of an overlap: what lies nearer to a window's edge is not used.
    centres = [(low + high) // 2 for low, high in shared]
    fades = [(centre - overlap // 2, centre + overlap // 2) for centre in centres]
    rises = [(0, 0), *fades]
    falls = [*fades, (total, total)]
    for start, stop, rise, fall in zip(starts, stops, rises, falls, strict=True):
        yield Span(start, stop, rise[0], fall[1], (rise[1] - rise[0], fall[1] - fall[0]))


def ramp(length: int) -> Pixels:
    """A smooth rise from 0 to 1 over `length` pixels, symmetric: it and its mirror sum to one."""
    place = (np.arange(length, dtype=np.float32) + 0.5) / length
    return (0.5 - 0.5 * np.cos(np.pi * place)).astype(np.float32)


def _padded(window: Pixels, size: tuple[int, int]) -> Pixels:
    """The window with its last rows and columns repeated up to `size`."""
    missing = [(0, side - given) for side, given in zip(size, window.shape, strict=False)]
    if any(after for _, after in missing):
        window = np.pad(window, (*missing, (0, 0)), mode="edge")
    return window


def _up(value: int, multiple: int) -> int:
    """The next multiple that is at least `value`."""
    return -(-value // multiple) * multiple
