"""Clean and damaged versions of pictures, saved side by side, as `pellucid damage` does.

``OUT/clean/NAME`` and ``OUT/damaged/NAME`` are what `datasets.load` reads back as pairs. Each
file's noise depends on the seed and on its name only, never on the order or on what else is there.
``OUT/damage.txt`` says what was done, so that pairs of two kinds do not meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from pellucid import images
from pellucid.errors import DataError, OptionError, PellucidError
from pellucid.images import Picture
from pellucid.images.files import Disk
from pellucid.learn.damage import Damage, parse
from pellucid.learn.datasets import load
from pellucid.learn.sources import usable

NOTE = "damage.txt"

# Depth of what is read decides the depth of what is written.
_SUFFIXES = {"uint8": ".png", "uint16": ".png", "float32": ".tif"}


@dataclass(frozen=True)
class Pair:
    """What became of one input.

    Attributes:
        input: The file, or the data set and the number in it.
        clean: Where its clean version lies, or None after an error.
        damaged: Where its damaged version lies, or None after an error.
        damage: What was done to it, with the strengths that were drawn; of the first page.
        skipped: Both were there already.
        error: Why it failed, or None.
        untried: The disk had been full or read-only before its turn came.
    """

    input: str
    clean: Path | None = None
    damaged: Path | None = None
    damage: str = ""
    skipped: bool = False
    error: str | None = None
    untried: bool = False


@dataclass(frozen=True)
class _Job:
    """An input, the name of its outputs without suffix, and how to get its pages."""

    input: str
    stem: str
    file: Path | None
    pages: Callable[[], list[Picture]]


def save_pairs(
    inputs: Sequence[str | Path] | str | Path,
    out: str | Path,
    damage: str | Damage,
    *,
    seed: int = 0,
    split: str = "test",
    overwrite: bool = False,
    progress: Callable[[Pair], None] | None = None,
) -> list[Pair]:
    """Save clean and damaged versions of pictures, damaged ones clipped to [0, 1].

    8 bits become 8-bit PNG, 16 bits 16-bit PNG, floats and files of several pages TIFF. Alpha,
    ICC profile, EXIF and resolution are kept on both sides.

    Args:
        inputs: Files, folders (their tree is kept) or names of data sets.
        out: The folder for ``clean`` and ``damaged``.
        damage: What to do, as `damage.parse` reads it.
        seed: Another seed gives other noise.
        split: Which pictures of a data set: ``train``, ``validation``, ``test`` or ``all``.
        overwrite: Write again what is there already.
        progress: Called with each result as it comes.

    Returns:
        One result for each input; a bad file among many is one with `error`.

    Raises:
        PellucidError: An input does not exist, the damage is malformed, or `out` holds pairs that
            were made otherwise.
    """
    made, out = parse(damage), Path(out)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    jobs = [job for one in given for job in _jobs(one, out, split)]
    note = f"{made}, seed {seed}\n"
    if not overwrite:
        _check_note(out, note)
    results, taken, noted, disk = [], dict[str, str](), False, Disk()
    for job in jobs:
        if disk.full:
            results.append(Pair(job.input, error=disk.untried(job.input), untried=True))
            continue
        try:
            first = taken.setdefault(job.stem.lower(), job.input)
            if first != job.input:
                raise DataError(
                    f"{job.input} and {first} would both be saved as {job.stem}; rename one"
                )
            result = _saved(job, out, made, seed, overwrite)
            if not (result.skipped or noted):
                (out / NOTE).write_text(note, encoding="utf-8")
                noted = True
        except OSError as error:
            disk.met(error)
            result = Pair(job.input, error=f"{out / NOTE}: {error.strerror or error}")
        except PellucidError as error:
            disk.met(error)
            result = Pair(job.input, error=str(error))
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def _jobs(given: str | Path, out: Path, split: str) -> Iterator[_Job]:
    path = Path(given).expanduser()
    if str(given) and path.is_dir():
        inside = out.resolve()
        if path.resolve() == inside:
            raise OptionError(f"{out} is the folder of the pictures; give -o another folder")
        for file in images.find(path):
            # Results of an earlier run, where OUT lies in the input folder.
            if not file.resolve().is_relative_to(inside):
                yield _file_job(file, file.relative_to(path))
    elif path.is_file():
        yield _file_job(path, Path(path.name))
    else:
        yield from _data_jobs(str(given), split)


def _file_job(file: Path, relative: Path) -> _Job:
    stem = relative.with_suffix("").as_posix()
    return _Job(str(file), stem, file, lambda: list(images.pages(file)))


def _data_jobs(name: str, split: str) -> Iterator[_Job]:
    pictures = load(name).split(split)
    whole = pictures.pixels.dtype == torch.uint8

    def page(index: int) -> list[Picture]:
        pixels = pictures.image(index)[0].permute(1, 2, 0).numpy()
        samples = np.rint(pixels * (255 if whole else 65535))
        return [Picture(np.ascontiguousarray(samples.astype(np.uint8 if whole else np.uint16)))]

    digits = len(str(len(pictures) - 1))
    for index in range(len(pictures)):
        stem = f"{index:0{digits}d}"
        if pictures.paths:
            file, mark, number = pictures.paths[index].partition("#")
            stem = Path(file).with_suffix("").as_posix() + (f"_{number}" if mark else "")
        yield _Job(f"{name}[{index}]", stem, None, partial(page, index))


def _saved(job: _Job, out: Path, damage: Damage, seed: int, overwrite: bool) -> Pair:
    sides = [out / side / job.stem for side in ("clean", "damaged")]
    done = [_existing(side) for side in sides]
    if None not in done and not overwrite:
        return Pair(job.input, done[0], done[1], skipped=True)
    pages = job.pages()
    suffix = ".tif" if len(pages) > 1 else _SUFFIXES[pages[0].samples.dtype.name]
    clean, spoiled = (side.parent / f"{side.name}{suffix}" for side in sides)
    if job.file is not None and job.file.resolve() in (clean.resolve(), spoiled.resolve()):
        raise DataError(f"{job.file} would be overwritten by its own copy; give another folder")
    generator = torch.Generator().manual_seed(_seed(seed, job.stem))
    damaged, described = [], []
    for picture in pages:
        result, drawn = _damaged(picture, damage, generator, job.input)
        damaged.append(result)
        described.append(drawn)
    for target, pictures in ((clean, pages), (spoiled, damaged)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot make the folder {target.parent}: {error.strerror or error}; "
                "give another one with -o"
            ) from error
        images.write(target, pictures if len(pictures) > 1 else pictures[0])
    return Pair(job.input, clean, spoiled, described[0])


def _check_note(out: Path, note: str) -> None:
    """Refuse a folder whose pairs were made in another way."""
    try:
        found = (out / NOTE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if found != note:
        raise DataError(
            f"{out} holds pairs made with {found.strip()[:200]}, and these would be made with "
            f"{note.strip()}; give another folder, or --overwrite"
        )


def _existing(stem: Path) -> Path | None:
    for suffix in (".png", ".tif"):
        path = stem.parent / f"{stem.name}{suffix}"
        if path.is_file():
            return path
    return None


def _seed(seed: int, stem: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{stem}".encode()).digest()[:7], "big")


def _damaged(
    picture: Picture, damage: Damage, generator: torch.Generator, name: str
) -> tuple[Picture, str]:
    """The picture after the damage, clipped; and the damage with the strengths that were drawn."""
    usable(picture, name)
    x = torch.from_numpy(np.array(picture.pixels)).permute(2, 0, 1)[None]
    strengths = damage.draw(1, generator)
    y = damage.apply(x, strengths, generator).clamp(0, 1)
    result = picture.with_pixels(y[0].permute(1, 2, 0).contiguous().numpy())
    return replace(result, storage={}), str(damage.drawn(strengths[0]))
