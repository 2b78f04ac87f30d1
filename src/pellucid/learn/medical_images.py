"""Medical pictures to learn restoring from: slices, X-rays, and photographs made to look like them.

Free medical pictures with next to no noise are few, so those that are found by name under
``$PELLUCID_DATA`` are shown in many contrasts and sizes, and photographs bring the detail that they
lack: half of these are cut to the shape of a body on black, since an empty background is where the
noise of magnetic resonance is least like any other. Read next: `clean_photos`, `datasets`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pellucid import images
from pellucid.errors import DataError
from pellucid.learn.clean_photos import clean_photographs
from pellucid.learn.known import LICENCES
from pellucid.learn.places import find
from pellucid.learn.sources import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Source,
    Split,
    counted,
    in_channels,
    placed,
)

SLICES = "t1w_head"
"""Slices of a magnetic resonance scan, DICOM."""

SMALL = "mednist"
"""Computed tomography, X-rays and magnetic resonance of six regions, 64x64 JPEG."""

CONTRASTS = 32
"""How many times each training slice is drawn anew."""

DOUBLED = 2
"""How much larger the small pictures are made: their JPEG blocks turn soft, as tissue is."""

EVERY = 4
"""Of the small pictures one in so many is taken, or there would be little else."""

HELD = (0.8, 0.9)
"""Where validation and test begin on the scale of a file name's hash, of small pictures."""


def medical_images() -> Source:
    """All that is at hand, grey, 8 bits.

    Of slices in order every fifth is for validation and every fifth for the test, the others are
    drawn `CONTRASTS` times each; of the photographs every second one is cut to a body's shape.

    Raises:
        DataError: There are no slices and no small pictures.
    """
    clean: dict[str, list[np.ndarray]] = {part: [] for part in SPLITS}
    paths: dict[str, list[str]] = {part: [] for part in SPLITS}
    used = [name for name in (SLICES, SMALL) if find(name) is not None]
    if not used:
        raise DataError(
            f"neither {SLICES} nor {SMALL} is at hand; put folders of these names under one that "
            "$PELLUCID_DATA lists, or train on your own: --set data.name=FOLDER"
        )
    for part, path, picture in (*_slices(), *_small()):
        clean[part].append(picture)
        paths[part].append(path)
    terms = [f"{name}: {LICENCES[name]}" for name in used]
    about = ", ".join(used)
    try:
        photographs = clean_photographs()
    except DataError:
        photographs = None
    if photographs is not None:
        terms.append(photographs.licence)
        about += f", {photographs.about.partition(':')[0]}"
        for part, split in photographs.splits.items():
            for index, (path, picture) in enumerate(zip(split.paths, split.clean, strict=True)):
                grey = in_channels(np.asarray(picture)[None], 1)[0]
                clean[part].append(body(grey, path) if index % 2 else grey)
                paths[part].append(path)
    splits = {part: Split(clean[part], paths=tuple(paths[part])) for part in SPLITS if clean[part]}
    return Source(
        "medical_images", splits, licence="; ".join(terms), about=f"{about}: {counted(splits)}"
    )


def body(grey: np.ndarray, key: str) -> np.ndarray:
    """A picture cut to a round, uneven shape on black, darker by a factor.

    Args:
        grey: (H, W, 1) uint8.
        key: Decides on shape and factor; the same gives the same.

    Returns:
        Same shape; black outside, its edge one or two pixels soft.

    Example:
        >>> int(body(np.full((64, 64, 1), 255, np.uint8), "a")[0, 0, 0])
        0
    """
    rng = _chance(key)
    height, width = grey.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    down = (rows - height * rng.uniform(0.4, 0.6)) / height
    right = (columns - width * rng.uniform(0.4, 0.6)) / width
    angle = np.arctan2(down, right)
    radius = rng.uniform(0.3, 0.42)
    for wave in range(2, 7):
        radius = radius + rng.normal(0, 0.05 / wave) * np.cos(wave * angle + rng.uniform(0, 7))
    away = (radius - np.hypot(down, right)) * min(height, width)
    inside = (away / rng.uniform(0.8, 2) + 0.5).clip(0, 1)[..., None]
    cut: np.ndarray = np.rint(grey * inside * rng.uniform(0.35, 1)).astype(np.uint8)
    return cut


def _chance(key: str) -> np.random.Generator:
    return np.random.default_rng(int(placed(key) * 2**32))


def _slices() -> Iterator[tuple[str, str, np.ndarray]]:
    """Part, name and picture of each slice, those to learn from in many contrasts and sizes."""
    place = find(SLICES)
    files = [] if place is None else images.find(place)
    for index, file in enumerate(files):
        measured = np.nan_to_num(images.read(file).samples[..., 0])
        unit = (measured / max(float(np.quantile(measured, 0.999)), 1e-9)).clip(0, 1)
        name = f"{SLICES}/{file.name}"
        part = {2: TEST, 4: VALIDATION}.get(index % 5, TRAIN)
        yield part, name, _eight(unit)
        for number in range(1, CONTRASTS if part == TRAIN else 1):
            path = f"{name}#{number + 1}"
            yield part, path, _eight(_redrawn(unit, _chance(path)))


def _redrawn(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice as another sequence might show it: other greys, black staying black; another size."""
    knots = np.linspace(0, 1, 5)
    greys = np.concatenate([[0], rng.uniform(0.1, 1, 4)])
    greys = np.sort(greys) if rng.random() < 0.6 else greys
    shown = np.interp(unit, knots, greys / greys.max()).astype(np.float32)
    times = rng.uniform(0.7, 1.6)
    width, height = (round(side * times) for side in unit.shape[::-1])
    resized = Image.fromarray(shown).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 1)


def _eight(unit: np.ndarray) -> np.ndarray:
    samples: np.ndarray = np.rint(255 * unit)[..., None].astype(np.uint8)
    return samples


def _small() -> Iterator[tuple[str, str, np.ndarray]]:
    """Part, name and picture of the small ones, from a folder of folders or its train.zip."""
    place = find(SMALL)
    stored = [] if place is None else list(_stored(place))
    for name, packed in stored[::EVERY]:
        with Image.open(io.BytesIO(packed)) as picture:
            grey = picture.convert("L")
        sides = (DOUBLED * grey.width, DOUBLED * grey.height)
        larger = np.asarray(grey.resize(sides, Image.Resampling.BICUBIC))[..., None]
        part = SPLITS[int(np.digitize(placed(name), HELD))]
        yield part, f"{SMALL}/{name}", larger


def _stored(place: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the picture files; of a published test part, none."""
    archive = place / "train.zip"
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            for name in sorted(packed.namelist()):
                if name.lower().endswith((".jpeg", ".jpg", ".png")):
                    yield name, packed.read(name)
        return
    for file in images.find(place):
        name = file.relative_to(place).as_posix()
        if not name.startswith("test/"):
            yield name, file.read_bytes()
