"""Which files a command works on, and where each output goes.

Files, folders and standard input on one side, a file, a folder or standard output on the other; a
folder keeps the tree of the inputs, and no input is written over. Read next: `files`, which does
the work for clean pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pellucid.errors import ImageError, OptionError, PellucidError
from pellucid.images import SUFFIXES, find
from pellucid.images.kinds import kind_of

STREAM = "-"
"""Standard input or output."""


@dataclass(frozen=True)
class Job:
    """One file to do.

    Args:
        source: The file, or "-".
        target: The file to write, or "-"; None where there is nothing to write.
        keeps_kind: Written in the format that was read, whatever the suffix says.
        makes_folders: The folders on the way to the target are ours to make.
        error: Says at once why it cannot be done.
        residual: Where to write what was removed; None for nowhere.
    """

    source: str
    target: str | None
    keeps_kind: bool = False
    makes_folders: bool = False
    error: str | None = None
    residual: str | None = None


def plan(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    suffix: str | None = None,
    finds: Callable[[str | Path], list[Path]] = find,
    check: Callable[[str | Path], object] = kind_of,
) -> list[Job]:
    """Every file to do, with the place of its output.

    Args:
        inputs: Files, folders, or "-" for standard input.
        out: A file for one input, a folder otherwise, or "-" for standard output.
        suffix: What the name of an output in a folder ends in; without one, as its input's.
        finds: The files in a folder that are inputs.
        check: Refuses a new output file whose name promises what is not written.

    Raises:
        OptionError: Inputs and output do not fit together.
    """
    given = list({_key(str(one)): str(one) for one in reversed(inputs)}.values())[::-1]
    single = len(given) == 1 and not Path(given[0]).is_dir()
    if str(out) == STREAM:
        if not single:
            raise OptionError(
                "standard output takes one picture, and a folder or several files were given; "
                "give -o a folder"
            )
        return [Job(given[0], STREAM, keeps_kind=True)]
    target = Path(out)
    is_folder = target.is_dir() or str(out).endswith(("/", os.sep))
    if single and not is_folder and (target.suffix or target.exists()):
        if not target.exists():
            check(target)
        job = Job(given[0], str(out), keeps_kind=target.suffix.lower() not in SUFFIXES)
        return [_placed(_guarded(job, {identity(given[0])}))]
    if STREAM in given:
        raise OptionError(
            "standard input has no name for a file in a folder; give it alone, and -o a file or -"
        )
    of_files = SUFFIXES if suffix is None else {*SUFFIXES, suffix}
    if not is_folder and target.suffix.lower() in of_files and not target.exists():
        raise OptionError(
            f"{out} is the name of a picture, and a folder or several files were given, whose "
            f"outputs need a folder; give -o {target.with_suffix('')} (or {out}/ if that is meant)"
        )
    if target.exists() and not target.is_dir():
        raise OptionError(f"{out} is a file, and several outputs need a folder; give -o a folder")
    roots = [Path(one) if Path(one).is_dir() else Path(one).parent for one in given]
    # Without the '..' that a path may hold, or an output could leave the folder.
    base = os.path.commonpath([os.path.abspath(root) for root in roots])
    jobs: dict[str, Job] = {}
    for one in given:
        files: list[str] = [one]
        if Path(one).is_dir():
            try:
                files = in_folder(Path(one), target, finds)
            except PellucidError as error:
                jobs[one] = Job(one, None, error=str(error))
                continue
        for file in files:
            place = target / os.path.relpath(os.path.abspath(file), base)
            place = place if suffix is None else place.with_suffix(suffix)
            job = Job(file, str(place), keeps_kind=True, makes_folders=True)
            jobs.setdefault(_key(file), job)
    sources = {identity(job.source) for job in jobs.values()}
    return _apart([_placed(_guarded(job, sources)) for job in jobs.values()])


def identity(path: str) -> str:
    """The same text for every name of one file."""
    return os.path.normcase(os.path.realpath(path))


def keep_apart(outputs: Iterable[Path | None], data: str | None, model: str) -> None:
    """Refuse to write over what is read, or two outputs into one file.

    Args:
        outputs: None and `STREAM` are no files.
        data: A file, a folder, or two with a colon between them; a name is neither.
        model: A file, a run folder or a name.

    Raises:
        OptionError: It tells the output.
    """
    read = [Path(part) for part in {data, *data.split(":")} if part] if data else []
    files = {identity(str(path)) for path in (Path(model), *read) if path.is_file()}
    folders = [Path(identity(str(path))) for path in read if path.is_dir()]
    for output in outputs:
        if output is None or str(output) == STREAM:
            continue
        real = identity(str(output))
        if real in files:
            raise OptionError(
                f"{output} is one of the inputs, or is asked for twice; give it another name"
            )
        if output.exists() and any(Path(real).is_relative_to(folder) for folder in folders):
            raise OptionError(
                f"{output} is there already, among what is read, and is not written over; give "
                "another place"
            )
        files.add(real)


def _key(path: str) -> str:
    """The same text for every spelling of one name; a link keeps a name of its own."""
    return path if path == STREAM else os.path.normcase(os.path.abspath(path))


def reason(error: BaseException, source: str) -> str:
    """Why one of many files could not be done, in one line."""
    if isinstance(error, PellucidError):
        return str(error) if source in str(error) else f"{source}: {error}"
    if isinstance(error, OSError):
        return f"{error.filename or source}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return f"{source}: there is not enough memory for this picture"
    what = f"{type(error).__name__}: {error}"
    return f"{source}: an internal error, please report it: {what}"


def in_folder(folder: Path, target: Path, finds: Callable[[str | Path], list[Path]]) -> list[str]:
    """The pictures below a folder; outputs of an earlier run, in a folder inside it, are none."""
    found = finds(folder)
    inside, top = Path(os.path.realpath(target)), Path(os.path.realpath(folder))
    if inside != top and inside.is_relative_to(top):
        outputs = cache(lambda place: Path(os.path.realpath(place)).is_relative_to(inside))
        found = [path for path in found if not outputs(path.parent)]
    if not found:
        raise ImageError(f"{folder}: no pictures in this folder but those in {target}")
    return [str(path) for path in found]


def _guarded(job: Job, sources: set[str]) -> Job:
    """Refuse to write over any of the inputs."""
    if job.target is None or identity(job.target) not in sources:
        return job
    why = f"{job.target} is one of the inputs and is not written over; give -o another place"
    return replace(job, error=why)


def _placed(job: Job) -> Job:
    """Refuse a place that nothing could be written to, before the work and not after it."""
    if job.error is not None or job.target is None:
        return job
    folder = Path(job.target).parent
    while job.makes_folders and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    why = None
    if not folder.exists():
        why = f"{job.target}: the folder {folder} does not exist; create it first"
    elif not folder.is_dir():
        why = f"{job.target}: {folder} is a file, not a folder; give -o another place"
    return replace(job, error=why)


def _apart(jobs: list[Job]) -> list[Job]:
    """Refuse to write one output from two inputs, as a.png and a.jpg would with a new suffix."""
    taken: dict[str, str] = {}
    for place, job in enumerate(jobs):
        if job.target is None or job.error is not None:
            continue
        first = taken.setdefault(identity(job.target), job.source)
        if first != job.source:
            why = f"{job.source}: {job.target} is made of {first} already; give it another name"
            jobs[place] = replace(job, error=why)
    return jobs
