"""The largest, the smallest and the middle of what lies around each pixel of a plane.

Pillow has the same as rank filters, which sort each neighbourhood and take twenty times as long.
Beyond the plane its edge is repeated, as there. Everything goes strip by strip, in a few bytes a
pixel of the plane.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import bands

Plane = NDArray[np.uint8]
Way = Callable[[Plane, Plane], Plane]


def largest(plane: Plane, side: int) -> Plane:
    """The largest in a square of `side` pixels, odd, around each pixel of (H, W)."""
    return _in_strips(plane, side // 2, lambda part: _around(part, side, np.maximum))


def smallest(plane: Plane, side: int) -> Plane:
    """The smallest in a square of `side` pixels, odd, around each pixel of (H, W)."""
    return _in_strips(plane, side // 2, lambda part: _around(part, side, np.minimum))


def median(plane: Plane) -> Plane:
    """The median of the 3x3 pixels around each pixel of (H, W).

    Sorted by columns first, which neighbours share; the median is that of the largest of the least,
    the middle of the middle and the least of the largest (J. L. Smith, "Implementing median filters
    in XC4000E FPGAs", Xcell 23, 1996).
    """
    return _in_strips(plane, 1, _median)


def _median(part: Plane) -> Plane:
    above, here, below = part[:-2], part[1:-1], part[2:]
    low, high = np.minimum(above, here), np.maximum(above, here)
    least, most = np.minimum(low, below), np.maximum(high, below)
    middle = np.maximum(low, np.minimum(high, below))
    return _middle(
        np.maximum(np.maximum(least[:, :-2], least[:, 1:-1]), least[:, 2:]),
        _middle(middle[:, :-2], middle[:, 1:-1], middle[:, 2:]),
        np.minimum(np.minimum(most[:, :-2], most[:, 1:-1]), most[:, 2:]),
    )


def _middle(a: Plane, b: Plane, c: Plane) -> Plane:
    found: Plane = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return found


def _around(part: Plane, side: int, way: Way) -> Plane:
    """One of two values all over a square: down its columns, then along its rows."""
    height, width = (length - side + 1 for length in part.shape)
    down = part[:height]
    for step in range(1, side):
        down = way(down, part[step : step + height])
    found = down[:, :width]
    for step in range(1, side):
        found = way(found, down[:, step : step + width])
    return found


def _in_strips(plane: Plane, margin: int, found: Callable[[Plane], Plane]) -> Plane:
    """What `found` makes of each strip with a margin of pixels all around it."""
    height, width = plane.shape
    made = np.empty_like(plane)
    for rows in bands(height, width):
        lines = np.arange(rows.start - margin, rows.stop + margin).clip(0, height - 1)
        made[rows] = found(np.pad(plane[lines], ((0, 0), (margin, margin)), "edge"))
    return made
