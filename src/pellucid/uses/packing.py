"""Many pictures made small, and back: what `compress` and `decompress` do on the command line.

As `pellucid.restore.files` does for clean pictures: each output is whole or absent, what is there
is kept, and one bad file does not stop the others.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pellucid import __version__
from pellucid.errors import ImageError, OptionError
from pellucid.images import Picture, atomic, write
from pellucid.images.files import Disk, gathered
from pellucid.restore import zoo
from pellucid.restore.codec import Codec
from pellucid.restore.walk import STREAM, Job, plan, reason
from pellucid.uses import compress
from pellucid.uses.entropy import require
from pellucid.uses.plc import MAGIC, SUFFIX, unpack


@dataclass(frozen=True)
class Made:
    """What became of one file.

    Args:
        input: The file, or "-".
        output: The file, or "-"; None where nothing was to be written.
        bytes: Size of the ``.plc`` file; None where there is none.
        bpp: Its bits for each pixel.
        quality: What it was coded with, from 1.
        width: Of the picture in pixels.
        height: Likewise.
        seconds: Reading, coding and writing.
        error: Why there is no output, in one line.
        skipped: The output was there already.
        untried: The disk had been full or read-only before its turn came.
        warnings: What the user should know.
    """

    input: str
    output: str | None
    bytes: int | None = None
    bpp: float | None = None
    quality: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    error: str | None = None
    skipped: bool = False
    untried: bool = False
    warnings: tuple[str, ...] = ()


Progress = Callable[[Made, int, int], None]


def compress_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    quality: int | None = None,
    max_bpp: float | None = None,
    model: str | Path = zoo.CODEC,
    reduce: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Made]:
    """Compress files and folders of pictures.

    Args:
        inputs: Files, folders (searched through), or "-" for standard input.
        out: A ``.plc`` file for one input, a folder otherwise; or "-" for standard output.
        quality: As `compress.compress` takes it, and so the next three.
        max_bpp: Most bits for each pixel.
        model: A codec in the box, or a file.
        reduce: Round deeper samples to 8 bits.
        overwrite: Do again what is there already.
        progress: Called after each file with its result, how many are done, and of how many.

    Raises:
        PellucidError: An option or the codec is at fault, and so every file would fail.
    """
    require()
    compress.check_options(quality, max_bpp)
    codec = Codec.open(model)
    if quality is not None:
        codec.tables(quality)  # says which are possible, before any file is read
    work = _planned(inputs, out, suffix=SUFFIX, check=_is_plc)
    if Path(out).is_file():  # or --overwrite would put it over a picture
        _is_plc(out)

    def do(job: Job) -> Made:
        source: str | bytes = job.source
        if job.source == STREAM:
            source = gathered(sys.stdin.buffer, "standard input").getvalue()
        picture = compress.picture_in(source)
        made = compress.compressed(picture, codec, quality=quality, max_bpp=max_bpp, reduce=reduce)
        _write(job, lambda file: file.write(made.data))
        told = Made(job.source, job.target, len(made.data), made.bpp, made.quality)
        notes = _lost(picture, job.source, len(made.data))
        return replace(told, width=picture.width, height=picture.height, warnings=notes)

    return _all(work, do, overwrite, progress)


def _lost(picture: Picture, source: str, size: int) -> tuple[str, ...]:
    """What a ``.plc`` of this picture does not keep, and whether it is worth having."""
    notes = []
    for what, there in (("XMP", picture.xmp), ("IPTC", picture.iptc)):
        if there:
            notes.append(f"its {what} is left out: a {SUFFIX} holds EXIF, ICC and resolution")
    if picture.bits == 1:
        notes.append("black and white comes back in greys; PNG or TIFF keep it, and are smaller")
    if source != STREAM and size > Path(source).stat().st_size:
        notes.append(f"the {SUFFIX} is larger than what it was made of; keep that")
    return tuple(notes)


def decompress_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Made]:
    """Make pictures of ``.plc`` files again.

    Args:
        inputs: Files, folders (searched through), or "-" for standard input.
        out: A picture file for one input, whose suffix names its format, a folder of PNG otherwise;
            or "-" for a PNG on standard output.
        model: The codec that they were made with, where it is not in the box.
        overwrite: Do again what is there already.
        progress: As `compress_files` takes it.

    Raises:
        PellucidError: An option or the codec is at fault, and so every file would fail.
    """
    require()
    given = None if model is None else Codec.open(model)
    known: dict[str, Codec] = {}
    work = _planned(inputs, out, suffix=".png", finds=find_plc)

    def do(job: Job) -> Made:
        source: str | bytes = job.source
        if job.source == STREAM:
            head = sys.stdin.buffer.read(len(MAGIC))
            source = head + sys.stdin.buffer.read() if head == MAGIC else head
        name = "standard input" if job.source == STREAM else job.source
        data = compress.content(source)
        packed = unpack(data, name)
        # One that is open already is asked, too, whether its weights are the right ones.
        codec = compress.fitting(packed, given or known.get(packed.model), name)
        known.setdefault(packed.model, codec)
        picture = compress.unpacked(packed, codec, name)
        if Path(str(job.target)).suffix:
            _ready(job)
            write(str(job.target), picture)
        else:
            _write(job, lambda file: write(file, picture, kind="png"))
        bpp = 8 * len(data) / (packed.width * packed.height)
        told = Made(job.source, job.target, len(data), bpp, packed.quality)
        return replace(told, width=packed.width, height=packed.height)

    return _all(work, do, overwrite, progress)


def report(results: Iterable[Made], model: str) -> dict[str, Any]:
    """The answer of ``--json``, ready for `json.dump`."""
    files = []
    for result in results:
        told = asdict(result)
        told["bpp"] = None if result.bpp is None else round(result.bpp, 6)
        files.append(told | {"seconds": round(result.seconds, 4)})
    return {"model": model, "version": __version__, "files": files}


def find_plc(folder: str | Path) -> list[Path]:
    """The ``.plc`` files in a folder and below it, sorted; hidden ones are left out."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [name for name in names if not name.startswith(".")]
        found += [Path(place, name) for name in visible if name.lower().endswith(SUFFIX)]
    if not found:
        raise ImageError(f"{folder}: no {SUFFIX} files in this folder")
    return sorted(found)


def _is_plc(path: str | Path) -> None:
    if Path(path).suffix.lower() != SUFFIX:
        raise OptionError(f"{path}: a compressed picture is a {SUFFIX} file; name it so")


def _planned(inputs: Sequence[str | Path], out: str | Path, **how: Any) -> list[Job]:
    if not inputs:
        raise OptionError("no input is given; give files, folders or - for standard input")
    return plan(inputs, out, **how)


def _ready(job: Job) -> None:
    """Make the folders on the way to the output, where they are ours to make."""
    if job.makes_folders:
        Path(str(job.target)).parent.mkdir(parents=True, exist_ok=True)


def _write(job: Job, fill: Callable[[BinaryIO], object]) -> None:
    """Write an output, whole or not at all."""
    if job.target == STREAM:
        fill(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    _ready(job)
    with atomic(str(job.target)) as file:
        fill(file)


def _all(
    work: Sequence[Job], do: Callable[[Job], Made], overwrite: bool, progress: Progress | None
) -> list[Made]:
    """Every file in turn; whatever is wrong with one becomes its result."""
    results, disk = [], Disk()
    for done, job in enumerate(work, start=1):
        results.append(_one(job, partial(do, job), overwrite, disk))
        if progress is not None:
            progress(results[-1], done, len(work))
    return results


def _one(job: Job, do: Callable[[], Made], overwrite: bool, disk: Disk) -> Made:
    result = Made(job.source, job.target, error=job.error)
    if job.error is not None:
        return result
    if disk.full:
        return replace(result, error=disk.untried(job.source), untried=True)
    if job.target not in (None, STREAM) and Path(str(job.target)).is_file() and not overwrite:
        return replace(result, skipped=True)
    began = time.perf_counter()
    try:
        result = do()
    except Exception as error:  # a mistake of ours that one file shows must not stop thousands
        disk.met(error)
        result = replace(result, error=_named(reason(error, job.source), job.source))
    return replace(result, seconds=time.perf_counter() - began)


def _named(why: str, source: str) -> str:
    """The reason, with the file that it is about."""
    return why if source in why else f"{source}: {why}"
