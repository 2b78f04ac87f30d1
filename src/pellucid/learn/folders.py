"""A user's own pictures: image folders, pairs of folders, arrays in ``.npz``, MNIST-like files.

Each function looks at names only and gives a `Source`; nothing is decoded before its splits are
known. Read next: ``datasets``, which calls them.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pellucid import images
from pellucid.errors import DataError
from pellucid.learn.published import cifar_folder, idx_pair, read_cifar
from pellucid.learn.sources import (
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    Split,
    counted,
    hold_out,
    in_three,
)

_SPLIT_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "val", "valid"),
    TEST: ("test", "testing"),
}
# Real pictures pack to a tenth at best; zeros pack to a thousandth.
_RATIO, _HARMLESS = 200, 1 << 30
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
        return _split_npz(files, name)
    sides = _sides([entry for entry in entries.values() if entry.is_dir()])
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
    for part, names in _SPLIT_NAMES.items():
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
    clean = [place for place in inside if place.name.lower().startswith("clean")]
    noisy = [place for place in inside if place.name.lower().startswith(_DAMAGED_NAMES)]
    if len(clean) == 1 and len(noisy) == 1:
        return noisy[0], clean[0]
    names = {place.name: place for place in inside}
    cleaned = [name for name in names if f"{name}_cleaned" in names]
    if len(cleaned) == 1 and len(inside) == 2:
        return names[cleaned[0]], names[f"{cleaned[0]}_cleaned"]
    return None


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


def npz(path: Path, name: str | None = None) -> Source:
    """The data set in an ``.npz``: ``images`` (and ``labels``), or ``train_images`` and so on.

    Pictures are (N, H, W) or (N, H, W, C), uint8, bool, uint16, or floats in [0, 1]; ``damaged``
    beside ``images`` makes pairs, ``class_names`` names the labels.

    Raises:
        DataError: Not an ``.npz``, a pickle inside, nothing called images, or shapes that differ.
    """
    content = _loaded(path)
    names = tuple(map(str, content["class_names"])) if "class_names" in content else ()
    label = name or path.stem
    if "images" in content:
        split = _array_split(path, content, "")
        return Source(label, in_three(split), names, about=f"{len(split)} pictures")
    splits = {}
    for part, prefixes in _SPLIT_NAMES.items():
        for prefix in prefixes:
            if f"{prefix}_images" in content:
                splits[part] = _array_split(path, content, f"{prefix}_")
    if TRAIN not in splits or TEST not in splits:
        raise DataError(
            f"{path} holds {', '.join(sorted(content)) or 'nothing'}; it needs 'images', or "
            "'train_images' and 'test_images'"
        )
    if VALIDATION not in splits:
        splits |= hold_out(splits[TRAIN], max(1, len(splits[TRAIN]) // 10))
    return Source(label, splits, names, about=counted(splits))


def _split_npz(parts: dict[str, Path], name: str) -> Source:
    """Files of one split each, as ``train_2000.npz`` and ``test_1000.npz``."""
    splits: dict[str, Split] = {}
    names: tuple[str, ...] = ()
    for part, path in parts.items():
        content = _loaded(path)
        splits[part] = _array_split(path, content, "")
        names = tuple(map(str, content.get("class_names", names)))
    if VALIDATION not in splits:
        splits |= hold_out(splits[TRAIN], max(1, len(splits[TRAIN]) // 10))
    return Source(name, splits, names, about=counted(splits))


def _loaded(path: Path) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz")
        with zipfile.ZipFile(path) as members:
            unpacked = sum(member.file_size for member in members.infolist())
        if unpacked > max(_HARMLESS, _RATIO * path.stat().st_size):
            raise ValueError(f"it would unpack to {unpacked / 1e9:.0f} GB, as bombs do")
        # Without pickles: loading one would run whatever its author wished.
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        pickled = "allow_pickle" in str(error)
        why = "it holds pickled objects, which are never loaded" if pickled else error
        raise DataError(
            f"{path} cannot be read: {why}; save it with np.savez(images=...)"
        ) from error


def _array_split(path: Path, content: dict[str, np.ndarray], prefix: str) -> Split:
    clean = _pixels(path, content, f"{prefix}images")
    damaged = None
    if f"{prefix}damaged" in content:
        damaged = _pixels(path, content, f"{prefix}damaged")
        if damaged.shape != clean.shape:
            raise DataError(
                f"{path}: 'damaged' is {damaged.shape} but 'images' {clean.shape}; "
                "both must agree pixel for pixel"
            )
    labels = content.get(f"{prefix}labels")
    if labels is not None:
        labels = labels.reshape(len(labels), -1)
        if len(labels) != len(clean) or labels.shape[1] != 1 or labels.dtype.kind not in "uib":
            raise DataError(
                f"{path}: '{prefix}labels' is {labels.dtype} {labels.shape}; it must hold one "
                f"whole number for each of the {len(clean)} pictures"
            )
        labels = labels[:, 0].astype(np.int64)
    return Split(clean, damaged, labels)


def _pixels(path: Path, content: dict[str, np.ndarray], key: str) -> np.ndarray:
    """Pictures (N, H, W, C), uint8 or float32 in [0, 1]."""
    if key not in content:
        raise DataError(f"{path} holds {', '.join(sorted(content))}; it needs '{key}'")
    array = content[key]
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise DataError(
            f"{path}: '{key}' is {content[key].shape}; it must be (N, height, width), or "
            "(N, height, width, channels) with 1 or 3 channels and at least one picture"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return array.astype(np.float32) / np.float32(65535)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        # Written so that NaN fails it.
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"{path}: '{key}' has values from {low:g} to {high:g}; floats must lie in [0, 1]: "
                "scale them or save uint8"
            )
        return array.astype(np.float32)
    raise DataError(f"{path}: '{key}' is {array.dtype}; save uint8, uint16, bool or floats")


def idx(path: Path, name: str | None = None) -> Source:
    """MNIST's four files; the last twelfth of ``train`` (5,000 of 60,000) is for validation."""
    train, test = (Split(*_plain(idx_pair(path, prefix))) for prefix in ("train", "t10k"))
    splits = {**hold_out(train, max(1, len(train) // 12)), TEST: test}
    return Source(name or path.name, splits, about=counted(splits))


def cifar(path: Path, name: str | None = None) -> Source:
    """CIFAR-10's six binary files; the last 5,000 training pictures are for validation."""
    place = cifar_folder(path)
    if place is None:
        raise DataError(f"{path} lacks CIFAR-10's binary files, data_batch_1.bin and so on")
    batches = [read_cifar(place / f"data_batch_{number}.bin") for number in range(1, 6)]
    train = Split(
        np.concatenate([pictures for pictures, _ in batches]),
        labels=np.concatenate([labels for _, labels in batches]),
    )
    test = Split(*_plain(read_cifar(place / "test_batch.bin")))
    splits = {**hold_out(train, max(1, len(train) // 10)), TEST: test}
    return Source(name or path.name, splits, about=counted(splits))


def _plain(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, None, np.ndarray]:
    return pair[0], None, pair[1]
