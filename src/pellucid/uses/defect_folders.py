"""Folders of good pictures and of pictures to judge, plain or laid out as MVTec AD is.

That layout: ``train/good``, ``test/good``, ``test/<kind>`` and masks of the defects in
``ground_truth/<kind>/<name>_mask.png`` or ``<name>.png``, non-zero on the defect (Bergmann et al.
2021, https://doi.org/10.1007/s11263-020-01400-4). Read next: `detect`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pellucid.errors import DataError
from pellucid.images import SUFFIXES, find, read

GOOD = "good"


@dataclass(frozen=True)
class Judged:
    """A picture whose answer is known.

    Attributes:
        path: The file.
        kind: Its defect; 'good' has none.
        mask: Where the defect is marked; None for a good picture, and where no mask was drawn.
    """

    path: Path
    kind: str
    mask: Path | None = None

    @property
    def anomalous(self) -> bool:
        """Whether it has a defect."""
        return self.kind != GOOD


def good_pictures(folder: str | Path) -> list[Path]:
    """The good pictures below a folder, or in its ``train/good`` where it is laid out so.

    Returns:
        In the order of `in_order`.

    Raises:
        ImageError: There is no such folder, or no picture in it.
    """
    inside = Path(folder) / "train" / GOOD
    return in_order(find(inside if inside.is_dir() else folder))


def judged_pictures(folder: str | Path) -> list[Judged]:
    """The pictures of ``test``, with their kinds and masks.

    Raises:
        DataError: The folder is not laid out as MVTec AD, or lacks good or bad pictures.
        ImageError: A folder in it cannot be read.
    """
    top = Path(folder)
    tests = top / "test"
    if not tests.is_dir():
        raise DataError(
            f"{top}: to be judged, a folder holds test/good, test/<kind> and "
            "ground_truth/<kind>/<name>.png, and this one has no test"
        )
    kinds = sorted(p.name for p in tests.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [
        Judged(path, kind, None if kind == GOOD else _mask(top, tests, path, kind))
        for kind in sorted(kinds, key=lambda kind: (kind != GOOD, kind))
        for path in find(tests / kind)
    ]
    for wanted, there in ((GOOD, GOOD in kinds), ("<kind>", len(kinds) > (GOOD in kinds))):
        if not there:
            raise DataError(f"{tests}: there is no folder {wanted}; both good and bad are needed")
    return found


def _mask(top: Path, tests: Path, path: Path, kind: str) -> Path | None:
    place = top / "ground_truth" / kind / path.relative_to(tests / kind).parent
    for stem in (f"{path.stem}_mask", path.stem):
        for suffix in (".png", *SUFFIXES):
            if (place / (stem + suffix)).is_file():
                return place / (stem + suffix)
    return None


def read_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A mask as true and false, (H, W).

    Raises:
        DataError: Its size is not that of its picture.
        ImageError: It cannot be read.
    """
    mask: np.ndarray = (read(path).upright().samples != 0).any(axis=2)
    if mask.shape != shape:
        raise DataError(
            f"{path}: the mask is {mask.shape[1]}x{mask.shape[0]} but its picture is "
            f"{shape[1]}x{shape[0]}; both must agree pixel for pixel"
        )
    return mask


def in_order(paths: list[Path]) -> list[Path]:
    """Paths by the last number in their names, where cameras count, and then by the whole path."""
    return sorted(paths, key=lambda path: (_count(path), str(path)))


def _count(path: Path) -> int:
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1][-18:]) if numbers else 0


def blocks(paths: list[Path], count: int) -> list[list[int]]:
    """Pictures in `count` runs of neighbours, cut where the numbers in their names jump most.

    One part is photographed several times within seconds: were chance to share out the pictures,
    what is left out would have been seen all the same. A cut is moved by at most a quarter of a
    block to the widest gap that is there.

    Args:
        paths: As `in_order` gives them.
        count: How many blocks, at most the number of pictures.

    Returns:
        Indices, block after block; none is empty.
    """
    total = len(paths)
    numbers = [_count(path) for path in paths]
    jumps = [after - before for before, after in pairwise(numbers)]
    reach = total // (4 * count)
    cuts = [0]
    for i in range(1, count):
        ideal = round(i * total / count)
        near = range(max(cuts[-1] + 1, ideal - reach), min(total - 1, ideal + reach) + 1)
        cuts.append(max(near, key=lambda cut: (jumps[cut - 1], -abs(cut - ideal))))
    cuts.append(total)
    return [list(range(start, end)) for start, end in pairwise(cuts)]
