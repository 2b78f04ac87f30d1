"""Find what is not as it should be, having seen good pictures only: fit, and score a folder.

A run over a thousand pictures survives bad ones: they are named at the end, and the others done.
Read next: `defect_report` judges a detector where the answers are known.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid import images
from pellucid.errors import (
    CheckpointError,
    DataError,
    ImageError,
    OptionError,
    PellucidError,
    making,
)
from pellucid.restore.walk import STREAM, identity, in_folder, reason
from pellucid.uses.defect_folders import blocks, good_pictures
from pellucid.uses.false_alarms import check_rate, threshold
from pellucid.uses.heat_maps import overlay

LEAST = 5
"""Good pictures to fit on."""

FOLDS = 4
STEPS = 600
ROOM = 2**32
"""Bytes of views that are held in memory; of more pictures, evenly spaced ones are taken."""

CHUNK = 16
COLUMNS = ("path", "score", "threshold", "anomalous")

Progress = Callable[[str, int, int], None]
"""Told what is done, how many of it are done, and how many there are."""


@dataclass(frozen=True)
class Fitted:
    """What `fit` made.

    Attributes:
        model: The file.
        pictures: How many good pictures it was fitted on.
        threshold: Above which score a picture is called anomalous.
        held_out: Scores of the good pictures, each by a detector that had not seen its block.
        failed: Why the others were left out, a line each.
    """

    model: Path
    pictures: int
    threshold: float
    held_out: tuple[float, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """A picture's score.

    Attributes:
        path: Relative to the folder.
        score: Higher is stranger; None where it could not be read.
        anomalous: The score is above the threshold.
        error: Why there is no score, or no heat map, in a line.
    """

    path: str
    score: float | None = None
    anomalous: bool = False
    error: str | None = None


def fit(
    good: str | Path,
    out: str | Path,
    *,
    method: str = "features",
    size: int | None = None,
    code: int | None = None,
    error: str = "l2",
    steps: int = STEPS,
    false_alarms: float = 0.05,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Fitted:
    """Learn what good pictures look like, and write the detector to one file.

    The threshold comes from good pictures that were left out: they are shared out into four blocks
    of neighbours (`defect_folders.blocks`), each is scored by a detector fitted on the other three,
    and the limit that a share `false_alarms` of good pictures is above is found from those scores
    (`false_alarms.threshold`). The detector that is kept is fitted on all of them.

    Args:
        good: A folder of good pictures; or one with ``train/good``.
        out: The `.safetensors` file to write.
        method: 'features', 'gaussian', 'whole' or 'pixels' (`learn.detector.Detector`).
        size: Side of a square of as many pixels as the middle picture is looked at with.
        code: Channels of the autoencoder's code.
        error: For 'pixels': 'l2', 'ssim' or 'gradient'.
        steps: Of training, five times.
        false_alarms: Share of good pictures that may be called anomalous.
        seed: Decides all that is drawn by chance.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: Called as the work goes on.

    Raises:
        DataError: Fewer than five pictures can be read.
        PellucidError: An option, the folder or the place of the output is at fault.
    """
    check_rate(false_alarms)
    if steps < 1:
        raise OptionError(f"steps is {steps}; training takes at least 1")
    with making():
        from pellucid.learn import detector_files
        from pellucid.learn.detector import Detector, learn
        from pellucid.learn.detector import score as score_of
    told = progress or (lambda what, done, total: None)
    found = good_pictures(good)
    if str(out) == STREAM:
        raise OptionError("a detector is not written to standard output; give -o a file")
    _apart(out, found)
    looked = _looked_at(found, told)
    paths = list(looked.shapes)
    if len(paths) < LEAST:
        raise DataError(
            f"{good}: {len(paths)} good pictures can be read, and at least {LEAST} are needed "
            f"(a hundred are better){'; ' + looked.failed[0] if looked.failed else ''}"
        )
    detector = Detector(
        method=method,
        size=size,
        code=code,
        error=error,
        levels=looked.levels,
        image_channels=looked.channels,
    ).to_device(device)
    detector.fit_to(list(looked.shapes.values()))
    wanted = sum(detector.view_bytes(*shape) for shape in looked.shapes.values())
    paths = paths[:: max(1, math.ceil(wanted / ROOM))]
    views: list[Any] = []
    for start in range(0, len(paths), CHUNK):
        views += detector.view([pixels(path) for path in paths[start : start + CHUNK]])
        told("pictures seen", len(views), len(paths))
    held_out = [0.0] * len(paths)
    for fold, block in enumerate(blocks(paths, FOLDS)):
        left_out = set(block)
        trial = detector.new_reconstruction().to(detector.device)
        rest = [view for i, view in enumerate(views) if i not in left_out]
        learn(trial, rest, steps=steps, seed=seed)
        for i in block:
            held_out[i] = score_of(trial.strangeness(views[i]).cpu().numpy())
        told("fits", fold + 1, FOLDS + 1)
    learn(detector.reconstruction, views, steps=steps, seed=seed)
    told("fits", FOLDS + 1, FOLDS + 1)
    limit = float(f"{threshold(held_out, false_alarms):.6g}")
    model = detector_files.save(
        detector,
        out,
        threshold=limit,
        false_alarms=false_alarms,
        held_out=[round(value, 4) for value in held_out],
        steps=steps,
        seed=seed,
        pictures=len(paths),
    )
    return Fitted(model, len(paths), limit, tuple(held_out), looked.failed)


def score(
    model: str | Path,
    folder: str | Path,
    out: str | Path,
    *,
    heatmaps: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Scored]:
    """Score every picture of a folder, and write ``path,score,threshold,anomalous``.

    Args:
        model: What `fit` wrote.
        folder: Pictures; searched through.
        out: The CSV file, or "-" for standard output. A picture that cannot be read has no line in
            it.
        heatmaps: Folder for a PNG of each picture with what is strange on it, under the same name
            (``.png`` is added to other suffixes); None for none.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: Called after each picture.

    Returns:
        One for each picture, in order of their paths.

    Raises:
        PellucidError: The model, the folder or the place of the output is at fault.
    """
    with making():
        from pellucid.learn import detector_files
    detector = detector_files.load(model, device=device)
    limit = float(detector.metadata["threshold"])
    top = Path(folder)
    if heatmaps is None:
        paths, maps = images.find(top), {}
    else:
        paths = [Path(path) for path in in_folder(top, Path(heatmaps), images.find)]
        maps = _maps(paths, top, Path(heatmaps))
    _apart(out, [model, *paths])
    _over_scores(out)
    results: list[Scored] = []
    for path in paths:
        name = path.relative_to(top).as_posix()
        try:
            picture = pixels(path)
        except PellucidError as error:
            results.append(Scored(name, error=str(error)))
        else:
            value, places = detector.judge(picture)
            if not np.isfinite(value):
                raise CheckpointError(f"{model} gives scores that are no numbers; it is damaged")
            value, error_of_map = float(f"{value:.6g}"), None
            if path in maps:
                shown = overlay(picture, places, limit, detector.options["levels"])
                error_of_map = _written(maps[path], shown)
            results.append(Scored(name, value, value > limit, error_of_map))
        if progress is not None:
            progress("pictures", len(results), len(paths))
    _write_csv(out, results, limit)
    return results


def _maps(paths: Sequence[Path], top: Path, folder: Path) -> dict[Path, Path]:
    """The place of each picture's heat map, which is no other's and no picture itself."""
    taken = {identity(str(path)) for path in paths}
    maps: dict[Path, Path] = {}
    for path in paths:
        name = path.relative_to(top).as_posix()
        maps[path] = folder / (name if path.suffix == ".png" else f"{name}.png")
        real = identity(str(maps[path]))
        if real in taken:
            raise OptionError(
                f"{maps[path]} is one of the pictures, or two of them would be drawn there; give "
                "--heatmaps another folder, or rename one"
            )
        taken.add(real)
    return maps


def _written(target: Path, shown: NDArray[np.uint8]) -> str | None:
    """Write a heat map; why it could not be, in a line."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        images.write(target, shown)
    except (PellucidError, OSError) as error:
        return f"{target}: no heat map of it ({reason(error, str(target))})"
    return None


def _apart(out: str | Path, inputs: Sequence[str | Path]) -> None:
    """Refuse to write over what is read, or a table or a detector over any picture."""
    if identity(str(out)) in {identity(str(path)) for path in inputs}:
        raise OptionError(f"{out} is one of the inputs and is not written over; give -o another")
    if Path(out).suffix.lower() in images.SUFFIXES:
        raise OptionError(f"{out} is the name of a picture, and none is written there")


def _over_scores(out: str | Path) -> None:
    """Refuse to write a table over a file that is none, such as a letter."""
    if not Path(out).is_file():
        return
    with open(out, "rb") as file:
        head = file.read(256)
    if head and not head.startswith(",".join(COLUMNS).encode()):
        raise OptionError(f"{out} holds something that is no scores; give -o another name")


def pixels(path: str | Path) -> NDArray[np.float32]:
    """A picture upright, float32 (H, W, 1 or 3): integers from 0 to 1, floats as they are.

    Transparency is left aside.

    Raises:
        ImageError: It cannot be read, has several pages or frames, or holds NaN or infinity.
    """
    picture = _only(path)
    if not picture.finite:
        raise ImageError(f"{path}: some pixels are NaN or infinite, which have no score")
    return picture.pixels


def _only(path: str | Path) -> images.Picture:
    """The picture of a file, upright; others beside it would be passed over in silence."""
    picture = images.read(path)
    if picture.page[1] > 1 or picture.animated:
        many = "is an animation" if picture.animated else f"has {picture.page[1]} pages"
        raise ImageError(f"{path}: it {many}, and one picture a file is judged; save each alone")
    return picture.upright()


@dataclass(frozen=True)
class _Looked:
    """What a first look at good pictures tells."""

    shapes: dict[Path, tuple[int, int]]
    levels: tuple[float, float]
    channels: int
    failed: tuple[str, ...]


def _looked_at(paths: Sequence[Path], told: Progress) -> _Looked:
    """Sizes, what is black and white, and grey or colour.

    Eight bits span from black to white by themselves. Sixteen are often twelve, and floats are of
    any unit: for those all but a thousandth of the darkest and brightest picture count.
    """
    shapes: dict[Path, tuple[int, int]] = {}
    failed: list[str] = []
    lows, highs, eight, channels = [], [], True, 1
    for path in paths:
        try:
            picture = _only(path)
            values = pixels(path) if picture.samples.dtype != np.uint8 else picture.samples
        except PellucidError as error:
            failed.append(str(error))
            continue
        shapes[path] = (picture.height, picture.width)
        channels = max(channels, picture.channels)
        scale = 1.0
        if picture.samples.dtype == np.uint8:
            scale = 255.0
        else:
            eight = False
        low, high = np.quantile(values, (0.001, 0.999)) / scale
        lows.append(float(low))
        highs.append(float(high))
        told("pictures read", len(shapes), len(paths))
    levels = (0.0, 1.0)
    if not eight:
        levels = (min(lows), max(highs))
        if not levels[1] > levels[0]:
            levels = (levels[0], levels[0] + 1.0)
    return _Looked(shapes, levels, channels, tuple(failed))


def _write_csv(out: str | Path, results: Sequence[Scored], limit: float) -> None:
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(COLUMNS)
    for row in _rows(results, limit):
        # A carriage return alone is not quoted by itself, and readers end the line there.
        (quoted if "\r" in row[0] else plain).writerow(row)
    if str(out) == STREAM:
        sys.stdout.buffer.write(text.getvalue().encode("utf-8", "surrogateescape"))
        return
    with images.atomic(out) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _rows(results: Sequence[Scored], limit: float) -> Iterator[tuple[str, str, str, str]]:
    for one in results:
        if one.score is not None:
            yield one.path, f"{one.score:.6g}", f"{limit:.6g}", str(one.anomalous).lower()
