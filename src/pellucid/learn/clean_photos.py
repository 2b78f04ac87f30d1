"""Clean photographs from several published sets at once, to learn restoring from.

A network for photographs should have seen many: the sets below are found by name under
``$PELLUCID_DATA``, as many of them as are there, and what is held out of training is held out by
file name. Nothing of the published test sets is in them. Read next: `datasets`.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from pellucid import images
from pellucid.errors import DataError
from pellucid.learn.known import LICENCES
from pellucid.learn.places import find
from pellucid.learn.sources import SPLITS, Source, Split, counted, decoded, placed

FOLDERS = {"bsds500_train432": 1, "div2k_crops256": 1, "imagenet_samples": 1, "photos_free": 3}
"""Each set, and how many times smaller its pictures are made: very large photographs from a camera
carry its noise and its sharpening, and lose both when pixels are averaged."""

PIECE = 512
"""Larger pictures are cut into pieces of about this side, so that every part is seen as often."""

HELD = (0.94, 0.97)
"""Where validation and test begin on the scale of a file name's hash."""


def clean_photographs() -> Source:
    """All of `FOLDERS` that is at hand, colour, 94 : 3 : 3.

    Raises:
        DataError: None of them is.
    """
    places = {name: place for name in FOLDERS if (place := find(name)) is not None}
    if not places:
        raise DataError(
            f"none of {', '.join(FOLDERS)} is at hand; put folders of these names under one that "
            "$PELLUCID_DATA lists, or train on your own: --set data.name=FOLDER"
        )
    clean: dict[str, list[np.ndarray]] = {part: [] for part in SPLITS}
    paths: dict[str, list[str]] = {part: [] for part in SPLITS}
    for name, place in places.items():
        files = images.find(place)
        keys = [f"{name}/{file.relative_to(place).as_posix()}" for file in files]
        for picture, key in zip(decoded(Split(files, paths=tuple(keys))).clean, keys, strict=True):
            part = SPLITS[int(np.digitize(placed(key), HELD))]
            pieces = _pieces(_smaller(np.asarray(picture), FOLDERS[name]))
            clean[part] += pieces
            paths[part] += [f"{key}#{index + 1}" for index in range(len(pieces))]
    splits = {part: Split(clean[part], paths=tuple(paths[part])) for part in SPLITS if clean[part]}
    licence = "; ".join(f"{name}: {LICENCES[name]}" for name in places)
    about = f"{', '.join(places)}: {counted(splits)}"
    return Source("clean_photographs", splits, licence=licence, about=about)


def _smaller(picture: np.ndarray, times: int) -> np.ndarray:
    if times == 1:
        return picture
    return np.asarray(Image.fromarray(picture.squeeze()).reduce(times)).reshape(
        -(-picture.shape[0] // times), -(-picture.shape[1] // times), picture.shape[2]
    )


def _pieces(picture: np.ndarray) -> list[np.ndarray]:
    """The picture in equal parts; one below three halves of `PIECE` stays whole."""
    down, across = (max(1, round(side / PIECE)) for side in picture.shape[:2])
    return [
        part
        for band in np.array_split(picture, down, axis=0)
        for part in np.array_split(band, across, axis=1)
    ]
