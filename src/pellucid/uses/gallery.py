"""Pictures to look at one after the other, by name: of a folder, a data set, or one file.

Of files only the names are held, so that a folder may be larger than memory. Read next: `embed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid import images
from pellucid.errors import DataError, PellucidError, unknown
from pellucid.learn import datasets
from pellucid.learn.places import find
from pellucid.learn.sources import SPLITS, usable


@dataclass(frozen=True)
class Gallery:
    """Pictures that can be opened one by one; of files only the names are held.

    Attributes:
        items: A file each (which may have pages), or an array (H, W, C).
        names: Relative to the folder; for arrays the split and the place in it.
        splits: The split of each.
        labels: Class of each, (N,) int64, or None.
        class_names: What the labels stand for.
    """

    items: Sequence[Path | np.ndarray]
    names: tuple[str, ...]
    splits: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def pages(self, index: int) -> list[np.ndarray]:
        """The pictures of an item, (H, W, C) each, uint8 or float32 in [0, 1], upright.

        Raises:
            PellucidError: It cannot be read, or holds values that no picture has.
        """
        item = self.items[index]
        if isinstance(item, np.ndarray):
            return [item]
        return [usable(picture.upright(), str(item)) for picture in images.pages(item)]

    def first(self) -> tuple[str, np.ndarray]:
        """Name and pixels of the first picture that can be read."""
        for index in range(len(self)):
            try:
                return self.names[index], self.pages(index)[0]
            except PellucidError:
                if index == len(self) - 1:
                    raise
        raise DataError("there is no picture; give a folder or a data set with some")


def gallery(data: str | Path, split: str = "all") -> Gallery:
    """The pictures of a folder, a data set, an ``.npz``, or one picture file.

    Args:
        data: As in `datasets.load`, or a picture file.
        split: 'train', 'validation', 'test' or 'all'.

    Raises:
        OptionError: No such data or split.
        DataError: What was found cannot be used.
    """
    if split not in (*SPLITS, "all"):
        raise unknown("split", split, [*SPLITS, "all"])
    if not isinstance(data, str | Path):
        raise DataError(
            f"pictures are looked for by a name or a path, not in a {type(data).__name__}; save "
            "arrays with numpy.savez(images=...) and give that file"
        )
    path = Path(data).expanduser()
    if path.is_file() and path.suffix.lower() != ".npz":
        if split not in ("all", "test"):
            raise DataError(f"{path} is one picture and has no {split} part; leave the split out")
        return Gallery((path,), (path.name,), ("test",))
    source = datasets.locate(data)
    if split != "all" and split not in source.splits:
        raise DataError(
            f"'{source.name}' has no {split} pictures; it has: {', '.join(source.splits)}, all"
        )
    root = path if path.is_dir() else find(str(data))
    rows: dict[object, tuple[str, Path | np.ndarray, str, int]] = {}
    for part in (name for name in SPLITS if name in source.splits):
        if split not in (part, "all"):
            continue
        pictures = source.splits[part]
        for i, item in enumerate(pictures.clean):
            label = -1 if pictures.labels is None else int(pictures.labels[i])
            if isinstance(item, np.ndarray):
                # Of one or two pictures, one serves in several splits: the same memory.
                key: object = item.__array_interface__["data"][0]
                name = f"{part}/{i:05d}"
            else:
                key = item
                name = _relative(item, root) or (pictures.paths[i] if pictures.paths else str(item))
            rows.setdefault(key, (name, item, part, label))
    found = list(rows.values())
    if all(isinstance(item, Path) for _, item, _, _ in found):
        found.sort(key=lambda row: row[0])
    labels = np.array([label for *_, label in found], np.int64)
    known = len(labels) > 0 and bool((labels >= 0).all())
    named = source.class_names or tuple(map(str, range(int(labels.max(initial=-1)) + 1)))
    return Gallery(
        tuple(item for _, item, _, _ in found),
        tuple(name for name, *_ in found),
        tuple(part for _, _, part, _ in found),
        labels if known else None,
        named if known else (),
    )


def _relative(item: Path, root: Path | None) -> str | None:
    if root is None or not item.is_relative_to(root):
        return None
    return item.relative_to(root).as_posix()
