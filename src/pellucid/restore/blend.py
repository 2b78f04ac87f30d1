"""Take back a share of a change, on the file's own samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.images.picture import scaled, unscaled


def blend(
    before: NDArray[Any], after: NDArray[Any], rows: slice, share: float | NDArray[np.float32]
) -> None:
    """Move `rows` of `after`, in place, toward `before`.

    Args:
        before: The picture as it came, (H, W, C). Samples that are not finite stay as they came.
        after: Restored, of the same shape; of the same dtype or, beside integers, float32.
        rows: Which rows.
        share: How much of the change to keep, from 0 to 1: one number, or one for each pixel of
            the rows, (h, W, 1).
    """
    if np.ndim(share) == 0 and share == 0:
        after[rows] = before[rows] if after.dtype == before.dtype else scaled(before[rows])
        return
    one, other = scaled(before[rows]), scaled(after[rows])
    with np.errstate(invalid="ignore"):
        mixed = one + np.asarray(share, np.float32) * (other - one)
    if before.dtype.kind == "f":
        mixed = np.where(np.isfinite(one), mixed, one)
    after[rows] = unscaled(mixed, after.dtype)
