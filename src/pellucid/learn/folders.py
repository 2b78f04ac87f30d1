"""A user's own pictures: image folders of any layout, and pairs of folders.

Only names are looked at; nothing is decoded before the splits are known. Read next: ``datasets``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pellucid import images
from pellucid.errors import DataError, PellucidError
from pellucid.learn.arrays import cifar, idx, npz, split_npz
from pellucid.learn.published import cifar_folder
from pellucid.learn.sources import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    Split,
    counted,
    in_three,
)

_DAMAGED_NAMES = ("damaged", "noisy")
# How real pairs are told apart where both lie in one folder.
_PAIR_ENDINGS = (
    ("_noisy", "_clean"),
    ("_damaged", "_clean"),
    ("_real", "_mean"),
    ("_source", "_target"),
)


Grouping = Callable[[Sequence[str]], list[str]]


def folder(path: Path, name: str | None = None, grouped: Grouping = list) -> Source:
    """The data set in a folder, whatever its layout.

    Told apart in this order: ``train`` and ``test`` (and ``validation``) inside, as folders or as
    ``.npz``; ``clean`` and ``damaged`` inside, as `pellucid damage` writes them (or ``noisy``, or
    ``X`` and ``X_cleaned``); one ``.npz``; MNIST's or CIFAR-10's files; ``*_noisy`` beside
    ``*_clean``; else pictures, whose labels are the sub-folders where all of them lie in one.

    Args:
        path: The folder.
        name: What to call it; its own name if not given.
        grouped: Keys for relative paths; pictures of one key come into one split together.

    Raises:
        DataError: The folder does not exist or its pairs do not match.
        ImageError: It holds no pictures.
    """
    name = name or path.name or str(path)
    if not path.is_dir():
        raise DataError(f"{path} is no folder; give a folder of pictures, an .npz, or a name")
    try:
        entries = {entry.name.lower(): entry for entry in sorted(path.iterdir())}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; see its permissions") from error
    parts = _parts({key: entry for key, entry in entries.items() if entry.is_dir()})
    if TRAIN in parts and TEST in parts:
        return _split_folders(parts, name, grouped)
    arrays = {key: entry for key, entry in entries.items() if key.endswith(".npz")}
    files = _parts(arrays)
    if TRAIN in files and TEST in files:
        return split_npz(files, name)
    sides = _sides(_folders(path))
    if sides is not None:
        return pairs(*sides, name)
    if len(arrays) == 1:
        return npz(next(iter(arrays.values())), name)
    if any(key.startswith("t10k-images") for key in entries):
        return idx(path, name)
    if cifar_folder(path) is not None:
        return cifar(path, name)
    return _pictures(path, name, grouped)


def _parts(entries: dict[str, Path]) -> dict[str, Path]:
    """Entries whose names begin like a split: train, train.npz, train_2000.npz; never two."""
    found = {}
    for part, names in SPLIT_NAMES.items():
        exact = [entry for key, entry in entries.items() if key in names]
        loose = [
            entry
            for key, entry in entries.items()
            if entry.is_file() and key.replace("-", "_").replace(".", "_").split("_")[0] in names
        ]
        if len(exact or loose) == 1:
            found[part] = (exact or loose)[0]
    return found


def _sides(inside: Sequence[Path]) -> tuple[Path, Path] | None:
    """The folders of the damaged and of the clean pictures, where the names say which is which."""
    names = {place.name.lower(): place for place in inside}
    for damaged in _DAMAGED_NAMES:
        if damaged in names and "clean" in names:
            return names[damaged], names["clean"]
    clean = [name for name in names if name.startswith("clean")]
    noisy = [name for name in names if name.startswith(_DAMAGED_NAMES)]
    cleaned = [name for name in names if f"{name}_cleaned" in names]
    guess = None
    if len(clean) == 1 and len(noisy) == 1:
        guess = names[noisy[0]], names[clean[0]]
    elif len(cleaned) == 1 and len(inside) == 2:
        guess = names[cleaned[0]], names[f"{cleaned[0]}_cleaned"]
    # Names that only begin so may be two classes of things: pairs match, classes do not.
    return guess if guess is not None and _pairable(*guess) else None


def _folders(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir()]


def _pairable(noisy: Path, clean: Path) -> bool:
    try:
        one, other = _matched(_by_stem(noisy), _by_stem(clean))
    except PellucidError:
        return False
    return one.keys() == other.keys()


def _pictures(path: Path, name: str, grouped: Grouping) -> Source:
    found = images.find(path)
    relative = [file.relative_to(path) for file in found]
    paired = _paired_by_ending(relative)
    if paired:
        noisy, clean, stems = (list(column) for column in zip(*paired, strict=True))
        split = Split(
            clean=[path / one for one in clean],
            damaged=[path / one for one in noisy],
            paths=tuple(one.as_posix() for one in clean),
        )
        return Source(name, in_three(split, stems), about=f"{len(split)} pairs of pictures")
    split, class_names = _labelled(path, relative, None)
    about = f"{len(split)} pictures" + (f" in {len(class_names)} classes" if class_names else "")
    return Source(name, in_three(split, grouped(split.paths)), class_names, about=about)


def _labelled(
    path: Path, relative: Sequence[Path], class_names: Sequence[str] | None
) -> tuple[Split, tuple[str, ...]]:
    """Files as a split, labelled by their first folder where all of them lie in one."""
    names: tuple[str, ...] = ()
    labels = None
    if all(len(file.parts) > 1 for file in relative):
        given = [file.parts[0] for file in relative]
        names = tuple(class_names if class_names is not None else sorted(set(given)))
        place = {name: index for index, name in enumerate(names)}
        labels = np.array([place[label] for label in given], np.int64)
    files = [path / file for file in relative]
    return Split(files, labels=labels, paths=tuple(file.as_posix() for file in relative)), names


def _split_folders(parts: dict[str, Path], name: str, grouped: Grouping) -> Source:
    sides = {part: _sides(_folders(place)) for part, place in parts.items()}
    # Clean and damaged things may also be two classes; those do not match name by name.
    paired = {part: both for part, both in sides.items() if both and _pairable(*both)}
    if 0 < len(paired) < len(parts):
        lacking = ", ".join(sorted(parts.keys() - paired.keys()))
        raise DataError(
            f"'{name}' has noisy and clean folders in {', '.join(sorted(paired))} and none in "
            f"{lacking}; give every part both"
        )
    if len(paired) == len(parts):
        splits = {part: pairs(*both).whole() for part, both in paired.items()}
        if VALIDATION not in splits:
            splits |= _validated(splits[TRAIN], grouped(splits[TRAIN].paths))
        return Source(name, splits, about=f"pairs of pictures: {counted(splits)}")
    relative = {
        part: [file.relative_to(place) for file in images.find(place)]
        for part, place in parts.items()
    }
    everything = [file for files in relative.values() for file in files]
    classes = None
    if all(len(file.parts) > 1 for file in everything):
        # A class may be absent from a split: defects are only in the test.
        classes = sorted({file.parts[0] for file in everything})
    splits = {}
    for part, files in relative.items():
        splits[part], _ = _labelled(parts[part], files, classes)
        if classes is None:
            splits[part] = Split(splits[part].clean, paths=splits[part].paths)
    if VALIDATION not in splits:
        splits |= _validated(splits[TRAIN], grouped(splits[TRAIN].paths))
    return Source(name, splits, tuple(classes or ()), about=counted(splits))


def _validated(train: Split, keys: Sequence[str]) -> dict[str, Split]:
    """Train and validation where a data set brings its own test: a tenth by hash is held out."""
    three = in_three(train, keys)
    if len(train) < 3:
        return {TRAIN: three[TRAIN], VALIDATION: three[VALIDATION]}
    held = set(three[VALIDATION].paths)
    kept = [index for index, path in enumerate(train.paths) if path not in held]
    return {TRAIN: train.take(kept), VALIDATION: three[VALIDATION]}


def _paired_by_ending(files: Sequence[Path]) -> list[tuple[Path, Path, str]]:
    """Damaged, clean and common stem of each pair, where every file of a folder is in one."""
    for damaged_end, clean_end in _PAIR_ENDINGS:
        stems = {file.with_suffix("").as_posix(): file for file in files}
        clean = {stem.removesuffix(clean_end) for stem in stems if stem.endswith(clean_end)}
        damaged = {stem.removesuffix(damaged_end) for stem in stems if stem.endswith(damaged_end)}
        if clean and clean == damaged and 2 * len(clean) == len(stems) == len(files):
            return [(stems[s + damaged_end], stems[s + clean_end], s) for s in sorted(clean)]
    return []


def pairs(noisy: Path, clean: Path, name: str | None = None) -> Source:
    """Pairs from two folders, matched by relative path without suffix.

    Where all names of a side begin alike, and differently from the other's, what follows is
    matched: ``input_007.tif`` and ``target_007.tif``.

    Raises:
        DataError: A file without a partner, or two that would share one.
    """
    sides = _matched(_by_stem(noisy), _by_stem(clean))
    lonely = [
        str(file)
        for one, other in (sides, sides[::-1])
        for stem, file in one.items()
        if stem not in other
    ]
    if lonely:
        more = f" and {len(lonely) - 3} more" if len(lonely) > 3 else ""
        raise DataError(
            f"no partner of the same name for {', '.join(lonely[:3])}{more}; pairs need the same "
            f"names in {noisy} and {clean}, suffixes aside"
        )
    stems = list(sides[1])
    split = Split(
        clean=[sides[1][stem] for stem in stems],
        damaged=[sides[0][stem] for stem in stems],
        paths=tuple(sides[1][stem].relative_to(clean).as_posix() for stem in stems),
    )
    label = name or f"{noisy.name}:{clean.name}"
    return Source(label, in_three(split, stems), about=f"{len(split)} pairs of pictures")


def _matched(*sides: dict[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    noisy, clean = sides
    if noisy.keys() != clean.keys():
        begins = [_begin(list(side)) for side in sides]
        bare = [
            {stem.removeprefix(begin): file for stem, file in side.items()}
            for side, begin in zip(sides, begins, strict=True)
        ]
        if bare[0].keys() == bare[1].keys():
            return bare[0], bare[1]
    return noisy, clean


def _begin(stems: list[str]) -> str:
    """What all names begin with, up to a separator: never into a number."""
    common = os.path.commonprefix(stems)  # noqa: RUF071 - characters are what is meant
    return common[: max(common.rfind(mark) for mark in "_-. ") + 1]


def _by_stem(path: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in images.find(path):
        stem = file.relative_to(path).with_suffix("").as_posix()
        if stem in found:
            raise DataError(
                f"{found[stem]} and {file} differ only in their suffix, so their partners cannot "
                "be told apart; rename or remove one"
            )
        found[stem] = file
    return found
