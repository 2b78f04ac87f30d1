"""Where data sets lie: the folders of ``$PELLUCID_DATA``, by name.

A path list, searched two folders deep, so that one entry serves both ``data/mnist`` and
``data/digits/mnist``. Nothing is opened here.
"""

from __future__ import annotations

import os
from pathlib import Path

from pellucid.images import SUFFIXES


def find(name: str) -> Path | None:
    """The folder of that name under ``$PELLUCID_DATA``, a path list searched two folders deep."""
    if not name or name in (".", "..") or set(name) & {"/", "\\", ":", "*", "?", "["}:
        return None
    for root in _roots():
        for candidates in (
            [root] if root.name == name else [],
            [root / name],
            root.glob(f"*/{name}"),
        ):
            for place in sorted(candidates):
                if os.path.isdir(place):
                    return place
    return None


def find_file(name: str) -> Path | None:
    """The file of that name under ``$PELLUCID_DATA``, a path list searched two folders deep."""
    for root in _roots():
        for pattern in (name, f"*/{name}", f"*/*/{name}"):
            for place in sorted(root.glob(pattern)):
                if place.is_file():
                    return place
    return None


def found_names() -> list[str]:
    """Names that `find` finds: folders under ``$PELLUCID_DATA`` that look like data sets."""
    near = [place for root in _roots() for place in root.glob("*") if _holds_data(place)]
    # At the second level a folder of class folders counts; at the first it would be a shelf.
    far = [
        place
        for root in _roots()
        for place in root.glob("*/*")
        if _holds_data(place) or any(_holds_data(inside) for inside in place.glob("*"))
    ]
    ordinary = {"train", "test", "val", "validation", "clean", "damaged", "noisy"}
    names = {place.name for place in (*near, *far)}
    return sorted(n for n in names if n.lower() not in ordinary and not n.startswith("."))


def _roots() -> list[Path]:
    given = os.environ.get("PELLUCID_DATA", "")
    roots = [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    return [root for root in roots if os.path.isdir(root)]


def _holds_data(place: Path) -> bool:
    suffixes = {*SUFFIXES, ".npz", ".gz", ".bin"}
    try:
        names = os.listdir(place)
    except OSError:
        return False
    return any(
        name.lower() in ("train", "clean") or Path(name).suffix.lower() in suffixes
        for name in names
    )
