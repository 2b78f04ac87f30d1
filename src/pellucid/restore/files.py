"""Many files made clean: what `pellucid denoise` does, without the command line.

A run over thousands of scans must survive a bad one, a full disk, Ctrl-C and being started again.
So every output is written whole or not at all, what is there already is not done twice, and what
went wrong is told at the end, file by file. Which files there are, `walk` says.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import ImageError, OptionError
from pellucid.images import KINDS, SUFFIXES, Picture, pages, write
from pellucid.images.files import Disk, atomic, gathered, opened
from pellucid.images.kinds import kind_of
from pellucid.restore import zoo
from pellucid.restore.binarize import binarize
from pellucid.restore.denoise import check_tile, restore_picture, strength_of
from pellucid.restore.ink import ink_lost, is_page
from pellucid.restore.noise import difference, estimate_sigma
from pellucid.restore.residual import SUSPICIOUS, structure
from pellucid.restore.residual import residual as residual_of
from pellucid.restore.results import FileResult, Progress, Stopped
from pellucid.restore.runtime import Runner, available_threads
from pellucid.restore.twins import Twins, is_grey, open_twins
from pellucid.restore.unfinished import Unfinished, made_by, state
from pellucid.restore.walk import STREAM, Job, identity, plan, reason

MUCH = 0.05
"""Share of a page's ink whose loss to black and white is told."""


def denoise_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | Runner | Twins | None = None,
    strength: float | str = 1.0,
    device: str = "auto",
    jobs: int = 1,
    threads: int | None = None,
    tile: int | None = None,
    ensemble: bool = False,
    residual: str | Path | None = None,
    overwrite: bool = False,
    force: bool = False,
    binarize: bool = False,
    progress: Progress | None = None,
) -> list[FileResult]:
    """Restore files and folders of pictures.

    Args:
        inputs: Files, folders (searched through), or "-" for standard input.
        out: A file for one input, a folder otherwise, which keeps the inputs' tree; or "-" for
            standard output. A new name without any suffix is taken for a folder.
        model: A shipped model's name, a model file or run folder, or a runner. Of shipped models
            that are a pair, each picture takes the one that fits it, grey or colour. None takes
            what `zoo.default` says for each picture.
        strength: 0 gives the pictures back, 1 is all that the model does; or 'low', 'medium',
            'high' (`denoise.STRENGTHS`).
        device: 'auto', 'cpu', 'cuda', 'mps' or 'openvino'.
        jobs: Pictures in work at a time; each takes its memory.
        threads: Processor threads of the network; shared out among the jobs unless given.
        tile: Side in pixels of the windows that large pictures are cut into.
        ensemble: Take the mean over the eight mirrored and turned views of each picture.
        residual: Where to write what was removed: a file for one input (TIFF: signed floats; other
            formats: middle grey is nothing), a folder of TIFF otherwise. Pages get files of their
            own.
        overwrite: Do again what is there already.
        force: Take what a model for pages made even where print seems to be lost; such pages are
            otherwise left as they were (`pellucid.restore.ink`).
        binarize: Make every restored picture black and white, one bit a pixel.
        progress: Called after each file with the result of its last page, the number of files done
            and the number of all.

    Returns:
        One result a picture in the order of the inputs; one a page for multi-page files.

    Raises:
        PellucidError: An option or the model is at fault, and so every file would fail.
        Stopped: Ctrl-C; it holds the results so far.
    """
    share_taken = strength_of(strength)
    check_tile(tile)
    if jobs < 1:
        raise OptionError(f"jobs is {jobs}; at least 1 picture must be in work")
    if not inputs:
        raise OptionError("no input is given; give files, folders or - for standard input")
    work = plan(inputs, out)
    if residual is not None:
        files = (file for job in work for file in (job.source, job.target) if file is not None)
        taken = {identity(file) for file in files}
        work = [_with_residual(job, str(residual), str(out), taken) for job in work]
    share = threads or max(1, available_threads() // min(jobs, len(work)))

    def opened(name: str | Path | Runner | Twins) -> Twins:
        return open_twins(name, device=device, threads=share, ensemble=ensemble)

    runner = opened(model or zoo.DEFAULT)
    other = {} if model else {zoo.MEDICAL: cache(lambda: opened(zoo.MEDICAL))}
    how_made = made_by(model, share_taken, tile, force, binarize, ensemble, device)
    how = _How(runner, other, share_taken, tile, force, binarize, how_made)

    disk = Disk()

    def do(job: Job) -> list[FileResult]:
        return _do(job, how, overwrite, disk)

    results: list[list[FileResult]] = [[] for _ in work]
    try:
        for done, (index, found) in enumerate(_each(do, work, jobs), start=1):
            results[index] = found
            if progress is not None:
                progress(found[-1], done, len(work))
    except KeyboardInterrupt as stop:
        raise Stopped([result for found in results for result in found]) from stop
    return [result for found in results for result in found]


def _with_residual(job: Job, place: str, out: str, taken: set[str]) -> Job:
    """The job, with the file for what it removes, which is none of those taken."""
    if job.target is None:
        return job
    if job.makes_folders:
        if not Path(place).is_dir() and Path(place).suffix.lower() in SUFFIXES:
            raise OptionError(
                f"{place} is the name of a picture, and what was removed of several needs a "
                "folder; give --residual one"
            )
        inside = Path(job.target).relative_to(out)
        file = str(Path(place) / f"{inside}.tif")
        if identity(file) in taken:
            raise OptionError(f"{file} is an input or an output; give --residual another folder")
        return replace(job, residual=file)
    if Path(place).is_dir():
        raise OptionError(f"{place}: this is a folder; give a file name inside it")
    kind = kind_of(place)
    if not KINDS[kind].free:
        raise OptionError(f"{place}: what was removed is written as TIFF or PNG; give such a file")
    if identity(place) in taken:
        raise OptionError(f"{place} is the input or the output; give --residual another place")
    return replace(job, residual=place)


def _each(
    do: Callable[[Job], list[FileResult]], work: Sequence[Job], jobs: int
) -> Iterator[tuple[int, list[FileResult]]]:
    """Results as they come, a bounded number in flight, nothing new started after Ctrl-C."""
    if jobs == 1 or len(work) == 1:
        for index, job in enumerate(work):
            yield index, do(job)
        return
    waiting = iter(enumerate(work))
    flying: dict[Future[list[FileResult]], int] = {}
    with ThreadPoolExecutor(jobs, thread_name_prefix="denoise") as pool:
        try:
            for index, job in islice(waiting, 2 * jobs):
                flying[pool.submit(do, job)] = index
            while flying:
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    yield flying.pop(future), future.result()
                    for index, job in islice(waiting, 1):
                        flying[pool.submit(do, job)] = index
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            for future, index in flying.items():
                if not future.cancelled():
                    yield index, future.result()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _How:
    """What is the same for every file of a run; see `denoise_files`.

    Attributes:
        others: What else to open, by name, for pictures whose default it is (`zoo.default`).
        made_by: All of it that decides how a page comes out, as JSON can hold it; None where the
            model is no file.
    """

    runner: Twins
    others: Mapping[str, Callable[[], Twins]]
    strength: float
    tile: int | None
    force: bool
    binarize: bool
    made_by: list[Any] | None

    def suited(self, picture: Picture) -> Runner:
        """The network for a picture: of the model that was named, or of its kind."""
        other = self.others.get(zoo.default(picture.kind, picture.channels))
        twins = self.runner if other is None else other()
        return twins.suited(1 if is_grey(picture.samples) else 3)

    def restored(
        self, picture: Picture, notes: list[str]
    ) -> tuple[Picture, float | None, str | None]:
        """A picture made clean, unless it is to be left; the share of ink that went; by whom."""
        page = _numbered(picture)
        why = picture.untouched
        if page and picture.samples.dtype.kind == "f" and not np.isfinite(picture.samples).any():
            why = "all samples are NaN or infinite"
        if why:
            notes.append(f"{page}{why}; it stays as it is")
            return picture, None, None
        runner = self.suited(picture)
        name = runner.name if self.strength > 0 else None
        clean = restore_picture(picture, runner, self.strength, tile=self.tile, warn=notes.append)
        if not runner.metadata.get("ink"):
            return self.finished(clean, notes), None, name
        if not is_page(clean.samples):
            notes.append(
                f"{page}this does not look like print on paper, which '{runner.name}' is for; for "
                "photographs leave --model out"
            )
        ink = ink_lost(picture.samples, clean.samples)
        if self.binarize and not ink.lost:
            # What is left in grey may be too pale to become black.
            clean = self.finished(clean, notes)
            ink = ink_lost(picture.samples, clean.samples)
        if not ink.lost or self.force:
            if self.binarize and ink.removed >= MUCH:
                notes.append(
                    f"{page}{ink.removed:.0%} of the ink is too pale to become black; leave "
                    "--binarize out to keep it grey"
                )
            return self.finished(clean, notes), ink.removed, name
        top, left, height, width = ink.lost[0]
        places = f"{len(ink.lost)} places, the largest " if len(ink.lost) > 1 else ""
        notes.append(
            f"{page}print may be lost ({places}{width}x{height} pixels at {left},{top}), so it "
            "stays as it was; --force takes what the model made"
        )
        return picture, 0.0, name

    def finished(self, clean: Picture, notes: list[str]) -> Picture:
        """The picture as it is written: black and white where that was asked for."""
        if not self.binarize or clean.bits == 1:
            return clean
        if clean.samples.dtype.kind == "f":
            note = f"{_numbered(clean)}floats, which are of any unit, are not made black and white"
            notes += [note] if note not in notes else []
            return clean
        if clean.alpha is not None:
            notes.append(f"{_numbered(clean)}black and white has no transparency: it is left out")
        icc = clean.icc if clean.channels == 1 else None
        return replace(clean, samples=binarize(clean.samples), bits=1, alpha=None, icc=icc)


def _numbered(picture: Picture) -> str:
    """How a note on one of several pages begins."""
    return f"page {picture.page[0] + 1}: " if picture.page[1] > 1 else ""


def _do(job: Job, how: _How, overwrite: bool, disk: Disk) -> list[FileResult]:
    """One file; whatever is wrong with it becomes its result."""
    result = FileResult(job.source, job.target, error=job.error)
    if job.error is not None:
        return [result]
    if disk.full:
        return [replace(result, error=disk.untried(job.source), untried=True)]
    assert job.target is not None
    is_file = job.target != STREAM and Path(job.target).is_file()
    if is_file and not overwrite and (job.source == STREAM or Path(job.source).exists()):
        note = "the output is there already and was kept; --overwrite does it again"
        return [replace(result, warnings=(note,), skipped=True)]
    began = time.perf_counter()
    try:
        return _restored(job, how)
    except Exception as error:  # a mistake of ours that one file shows must not stop thousands
        disk.met(error)
        why = reason(error, job.source)
    return [replace(result, seconds=time.perf_counter() - began, error=why)]


def _removed(
    before: Picture, after: Picture, job: Job, notes: list[str], *, page: bool
) -> float | None:
    """Write what was removed of a picture; how much structure there is in it."""
    assert job.residual is not None
    place = Path(job.residual)
    if before.page[1] > 1:
        place = place.with_stem(f"{place.stem}-{before.page[0]:04d}")
        if identity(str(place)) in {identity(job.source), identity(str(job.target))}:
            raise OptionError(f"{place} is the input or the output; give --residual another place")
    if job.makes_folders:
        place.parent.mkdir(parents=True, exist_ok=True)
    write(place, residual_of(before, after, signed=kind_of(place) == "tiff"))
    left = after.samples
    if page and left.shape == before.samples.shape:
        # Faded print that gets darker follows its own edges; what could be lost is ink.
        left = np.maximum(left, before.samples)
    found = structure(before.samples, left)
    if found is not None and found >= SUSPICIOUS:
        notes.append(
            f"what was removed follows the edges ({found:.2f} of 1): detail may have gone with the "
            "noise; look at the residual, or give a lower --strength"
        )
    return found


def _page(picture: Picture, job: Job, how: _How) -> tuple[Picture, FileResult]:
    """One page restored, and what is to be told of it; one that cannot be stays as it is.

    Raises:
        ImageError: It is the only one of its file.
    """
    try:
        if picture.error:
            raise ImageError(picture.error)
        return _clean_page(picture, job, how)
    except ImageError as error:
        number, of = picture.page
        if of == 1:
            raise
        why = str(error) if picture.error else f"{job.source}, page {number + 1}: {error}"
        return picture, FileResult(job.source, job.target, error=f"{why}; the page stays as it is")


def _clean_page(picture: Picture, job: Job, how: _How) -> tuple[Picture, FileResult]:
    notes: list[str] = []
    if picture.animated:
        notes.append("of this animation only the first frame is read; save its frames as pictures")
    sigma = estimate_sigma(picture.samples)
    clean, ink, model = how.restored(picture, notes)
    kept = clean is picture and how.strength > 0
    removed = difference(picture.samples, clean.samples)
    clean = clean if removed or clean.bits != picture.bits else picture
    megapixels = picture.height * picture.width / 1e6
    follows = None
    if job.residual is not None:
        follows = _removed(picture, clean, job, notes, page=ink is not None)
    told = FileResult(job.source, job.target, sigma, removed, 0.0, megapixels, tuple(notes))
    floats = picture.samples.dtype.kind == "f"
    return clean, replace(told, floats=floats, structure=follows, ink=ink, kept=kept, model=model)


def _unfinished(job: Job, how: _How) -> Unfinished | None:
    """Where finished pages wait; None for streams, and for models that are no files."""
    if how.made_by is None or STREAM in (job.source, job.target):
        return None
    if not Path(job.source).exists():  # which reading it will tell
        return None
    assert job.target is not None
    made_of = {"source": state(job.source), "residual": job.residual, "made_by": how.made_by}
    return Unfinished.beside(Path(job.target), made_of)


def _copy(source: bytes | Path, target: str) -> None:
    """Write the bytes of the input as they are."""
    with opened(source) as (file, _):
        if target == STREAM:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        with atomic(target) as copy:
            shutil.copyfileobj(file, copy)


def _restored(job: Job, how: _How) -> list[FileResult]:
    """One file read, restored and written page by page."""
    assert job.target is not None
    source: bytes | Path = Path(job.source)
    if job.source == STREAM:
        source = gathered(sys.stdin.buffer, "standard input").getvalue()
    results: list[FileResult] = []
    began = time.perf_counter()
    waiting = _unfinished(job, how)
    # In a PDF a page that cannot be read can stay; other files are written anew.
    stays_pdf = Path(job.target).suffix.lower() in KINDS["pdf"].suffixes

    untouched = signed = False

    def restored() -> Iterator[Picture]:
        nonlocal untouched, signed
        found = 0
        for picture in pages(source, lenient=stays_pdf):
            store = waiting if picture.page[1] > 1 else None
            kept = store.find(picture) if store else None
            if kept is not None:
                found += 1
                clean, told = kept
                # The same file may have been called otherwise then.
                told |= {"input": job.source, "output": job.target}
                results.append(FileResult(**told | {"warnings": tuple(told["warnings"])}))
            else:
                clean, result = _page(picture, job, how)
                untouched = clean is picture
                if job.makes_folders:
                    Path(str(job.target)).parent.mkdir(parents=True, exist_ok=True)
                if store is not None and result.error is None:
                    store.keep(picture, clean, asdict(result))
                if found:
                    note = f"{found} pages were done by a run that was stopped, and were kept"
                    result, found = replace(result, warnings=(note, *result.warnings)), 0
                results.append(result)
            sheet = picture.storage.get("pdf")
            signed = signed or (sheet is not None and sheet.source.signed and clean is not picture)
            del picture  # or a large one would stay in memory while the other is written
            yield clean

    try:
        found = restored()
        first = next(found)
        kind = first.kind if job.keeps_kind else None
        # To compress it once more would change what is to stay.
        as_it_came = (
            untouched
            and first.lossy
            and first.page[1] == 1
            and not first.animated
            and first.kind == (kind or kind_of(job.target))
        )
        whole = chain([first], found)
        del first
        if as_it_came:
            _copy(source, job.target)
        elif job.target == STREAM:
            write(sys.stdout.buffer, whole, kind=kind)
            sys.stdout.buffer.flush()
        else:
            write(Path(job.target), whole, kind=kind)
    except Exception as error:
        # On a full disk the finished pages wait for the next run; for a damaged file there is none.
        full = getattr(error.__cause__ or error, "errno", None) is not None
        if waiting is not None and not full:
            waiting.clear()
        raise
    if waiting is not None:
        waiting.clear()
    if how.binarize and job.target != STREAM:
        stored = KINDS[kind_of(job.target)]
        if 1 not in stored.bits and any(not result.floats for result in results):
            note = f"{stored.title} has no pictures of one bit: this one is black and white in 8"
            results[0] = replace(results[0], warnings=(*results[0].warnings, note))
    if signed and stays_pdf:
        note = "the document was signed; its signature does not hold for what was changed"
        results[0] = replace(results[0], warnings=(*results[0].warnings, note))
    # Pages are not written one at a time by every format, so they share the time by their size.
    seconds = time.perf_counter() - began
    total = sum(result.megapixels or 0.0 for result in results)
    return [
        replace(result, seconds=seconds * (result.megapixels or 0.0) / total) for result in results
    ]
