"""DICOM's stored numbers to what was measured, and back without losing one.

A scanner stores integers; a slope and an intercept, or a table, say what they stand for (Hounsfield
units, counts). Both are one table here, of every number that can be stored, and the way back is the
nearest entry. Read next: ``dicom``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stored = NDArray[np.integer[Any]]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Modality:
    """What the stored numbers of one frame stand for.

    Attributes:
        first: The number that the first entry is for.
        values: What each number from `first` on stands for, float32.
        usable: Which numbers may be written, bool: those within the bits stored that are not
            padding.
        padding: The lowest and the highest number that mean that nothing was measured.
    """

    first: int
    values: Values
    usable: NDArray[np.bool_]
    padding: tuple[int, int] | None

    def measured(self, stored: Stored) -> Values:
        """What was measured, float32 of the same shape; NaN where it is padding."""
        values = self.values[stored.astype(np.int64) - self.first]
        if self.padding is not None:
            low, high = self.padding
            values[(stored >= low) & (stored <= high)] = np.nan
        return values

    def stored(self, values: Values, original: Stored) -> Stored:
        """Numbers whose meaning is nearest to the values, of the original's type.

        What has not changed, or is NaN, gets its original number, though another means the same.
        """
        numbers = np.flatnonzero(self.usable)
        numbers = numbers[np.argsort(self.values[numbers], kind="stable")]
        meanings = self.values[numbers]
        borders = (meanings[1:] + meanings[:-1]) / 2
        found = np.empty_like(original)
        for row, wanted in enumerate(values):
            # NaN goes anywhere: its original number is taken below.
            nearest = numbers[np.searchsorted(borders, np.nan_to_num(wanted))]
            old = original[row]
            same = (self.values[old.astype(np.int64) - self.first] == wanted) | np.isnan(wanted)
            found[row] = np.where(same, old, nearest + self.first)
        return found


def modality_of(data: Any, frame: int, dtype: np.dtype[Any]) -> Modality:
    """The meaning of a frame's numbers.

    Args:
        data: The pydicom data set of a grey image.
        frame: Which one; enhanced objects may scale each differently.
        dtype: Of the stored numbers.
    """
    from pydicom.pixels import apply_modality_lut

    # Old devices put other things into the bits that are not stored.
    span = np.iinfo(dtype)
    numbers = np.arange(span.min, span.max + 1, dtype=dtype)
    values = np.asarray(apply_modality_lut(numbers, _transformation(data, frame)), np.float32)
    bits = int(data.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if span.min < 0 else (0, 2**bits - 1)
    usable = (numbers >= low) & (numbers <= high) & np.isfinite(values)
    padding = _padding(data, signed=span.min < 0)
    if padding is not None:
        usable &= (numbers < padding[0]) | (numbers > padding[1])
    return Modality(int(span.min), values, usable, padding)


def _transformation(data: Any, frame: int) -> Any:
    """The data set in which slope and intercept, or the table, of a frame stand."""
    for groups, index in (("PerFrame", frame), ("Shared", 0)):
        sequence = data.get(f"{groups}FunctionalGroupsSequence") or []
        if index < len(sequence):
            found = sequence[index].get("PixelValueTransformationSequence")
            if found:
                return found[0]
    return data


def _padding(data: Any, *, signed: bool) -> tuple[int, int] | None:
    """The range of numbers that are padding."""
    given = [data.get("PixelPaddingValue"), data.get("PixelPaddingRangeLimit")]
    ends = [int(value) for value in given if value is not None]
    # Some writers store a negative number as an unsigned one.
    ends = [end - 2**16 if signed and end >= 2**15 else end for end in ends]
    return (min(ends), max(ends)) if given[0] is not None else None
