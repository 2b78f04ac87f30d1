"""Data sets that are arrays already: ``.npz``, MNIST's files, CIFAR-10's files.

Read next: ``folders``, which tells them from folders of pictures.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pellucid.errors import DataError
from pellucid.learn.published import cifar_folder, idx_pair, read_cifar
from pellucid.learn.sources import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    Split,
    a_tenth,
    counted,
    hold_out,
    in_three,
)

# Real pictures pack to a tenth at best; zeros pack to a thousandth.
_MANY = 2**20
"""Classes that no data set has."""

_RATIO, _HARMLESS = 200, 1 << 30


# What the members of an archive raise that are cut off, altered, encrypted or packed oddly.
_UNREADABLE = (
    *(ValueError, OSError, EOFError, MemoryError, RuntimeError, KeyError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def npz(path: Path, name: str | None = None) -> Source:
    """The data set in an ``.npz``: ``images`` (and ``labels``), or ``train_images`` and so on.

    Pictures are (N, H, W) or (N, H, W, C), uint8, bool, uint16, or floats in [0, 1]; ``damaged``
    beside ``images`` makes pairs, ``class_names`` names the labels.

    Raises:
        DataError: Not an ``.npz``, a pickle inside, nothing called images, or shapes that differ.
    """
    content = _loaded(path)
    names = (
        tuple(map(str, np.atleast_1d(content["class_names"]))) if "class_names" in content else ()
    )
    label = name or path.stem
    if "images" in content:
        split = _array_split(path, content, "")
        _check_names(path, names, split)
        return Source(label, in_three(split), names, about=f"{len(split)} pictures")
    splits = {}
    for part, prefixes in SPLIT_NAMES.items():
        for prefix in prefixes:
            if f"{prefix}_images" in content:
                splits[part] = _array_split(path, content, f"{prefix}_")
    if TRAIN not in splits or TEST not in splits:
        raise DataError(
            f"{path} holds {', '.join(sorted(content)) or 'nothing'}; it needs 'images', or "
            "'train_images' and 'test_images'"
        )
    _check_names(path, names, *splits.values())
    if VALIDATION not in splits:
        splits |= a_tenth(splits[TRAIN])
    return Source(label, splits, names, about=counted(splits))


def split_npz(parts: dict[str, Path], name: str) -> Source:
    """Files of one split each, as ``train_2000.npz`` and ``test_1000.npz``."""
    splits: dict[str, Split] = {}
    names: tuple[str, ...] = ()
    for part, path in parts.items():
        content = _loaded(path)
        splits[part] = _array_split(path, content, "")
        names = tuple(map(str, np.atleast_1d(content.get("class_names", names))))
    for part, split in splits.items():
        _check_names(parts[part], names, split)
    if VALIDATION not in splits:
        splits |= a_tenth(splits[TRAIN])
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
            found = {key: archive[key] for key in archive.files}
        odd = [key for key, value in found.items() if not isinstance(value, np.ndarray)]
        if odd:
            raise ValueError(f"'{odd[0]}' in it is no array")
        return found
    except _UNREADABLE as error:
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
        labels = labels.reshape(*labels.shape[:1], -1) if labels.size else labels
        if labels.shape != (len(clean), 1) or labels.dtype.kind not in "uib":
            raise DataError(
                f"{path}: '{prefix}labels' is {labels.dtype} {labels.shape}; it must hold one "
                f"whole number for each of the {len(clean)} pictures"
            )
        if labels.dtype.kind != "b" and (labels.min() < 0 or labels.max() >= 2**63):
            raise DataError(f"{path}: '{prefix}labels' must count the classes from 0")
        labels = labels[:, 0].astype(np.int64)
    return Split(clean, damaged, labels)


def _check_names(path: Path, names: tuple[str, ...], *splits: Split) -> None:
    largest = max((int(s.labels.max(initial=0)) for s in splits if s.labels is not None), default=0)
    if names and largest >= len(names):
        raise DataError(
            f"{path}: labels go up to {largest} but 'class_names' has {len(names)}; give a name "
            "for each class, counted from 0"
        )
    if largest >= _MANY:
        raise DataError(f"{path}: labels go up to {largest}; number the classes from 0")


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
