"""Find picture files, open them, and write one so that it is whole or absent.

Nothing here decodes. Read next: ``picture`` (what a file becomes), ``standard`` and ``tiff`` (how).
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pellucid.errors import ImageError, PellucidError
from pellucid.images.kinds import HEAD_BYTES, KINDS, SUFFIXES, identify, sniff

DAMAGED = "the file is damaged or cut off; get it again"


def find(folder: str | Path) -> list[Path]:
    """The pictures in a folder and below it, by suffix, sorted; hidden ones are left out.

    DICOM files often have no suffix, or a number (a UID): those are known by their first bytes.

    Raises:
        ImageError: The folder does not exist or holds no picture.
    """
    top = Path(folder)
    if not top.is_dir():
        what = "is a file, not a folder" if top.exists() else "no such folder"
        raise ImageError(f"{top}: {what}; give a folder of pictures")

    def refuse(error: OSError) -> None:
        raise ImageError(f"{error.filename}: {_reason(error)}") from error

    found: list[Path] = []
    for place, folders, names in os.walk(top, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".")
            and (Path(name).suffix.lower() in SUFFIXES or _is_dicom(Path(place, name)))
        ]
    if not found:
        wanted = ", ".join(kind.suffixes[0] for kind in KINDS.values())
        raise ImageError(f"{top}: no pictures in this folder; looked for {wanted}")
    return sorted(found)


def _is_dicom(path: Path) -> bool:
    """Whether a file whose name does not say what it is is DICOM."""
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    try:
        with open(path, "rb") as file:
            return sniff(file.read(HEAD_BYTES)) == "dicom"
    except OSError:
        return False


@contextmanager
def opened(source: str | Path | bytes | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """A seekable stream over the source, and the name to call it by."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source), "the given bytes"
        return
    if not isinstance(source, (str, Path)):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else "the given stream"
        with _read_told(name):
            yield (source if _seekable(source) else gathered(source, name)), name
        return
    name = str(source)
    try:
        file = open(source, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        # A path makes one stroke of two.
        if name.partition(":/")[0] in ("http", "https", "ftp", "file"):
            raise ImageError(f"{name}: nothing is fetched here; download it first") from error
        raise ImageError(f"{name}: {_reason(error)}") from error
    except ValueError as error:  # a NUL in the path
        raise ImageError(f"{name!r}: not a possible file name") from error
    with file, _read_told(name):
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield file, name
        else:
            yield gathered(file, name), name


@contextmanager
def decoding(
    name: str,
    *,
    look: Callable[[str], None] = lambda text: None,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Tell in a line what a decoder raises on a hostile file, which is anyone's guess.

    Args:
        name: The file.
        look: Is shown what was said, and may raise what helps more.
        passing: What is left as it is.
    """
    untouched: tuple[type[Exception], ...] = (PellucidError, *passing)
    try:
        yield
    except untouched:
        raise
    except MemoryError as error:
        raise ImageError(f"{name}: not enough memory for this picture; free some") from error
    except BaseException as error:
        # A decoder written in Rust panics with what is no Exception; Ctrl-C is none either.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        look(text)
        raise ImageError(f"{name}: {DAMAGED} ({text[:120]})") from error


def size_of(stream: BinaryIO) -> int:
    """Bytes in a seekable stream; its position is kept."""
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end


@contextmanager
def _read_told(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {_reason(error)}") from error


def _seekable(stream: BinaryIO) -> bool:
    try:
        return stream.seekable()
    except (AttributeError, ValueError):
        return False


def gathered(stream: BinaryIO, name: str) -> io.BytesIO:
    """All of a pipe in memory; the head is judged first, so that /dev/zero is refused at once."""
    head = stream.read(HEAD_BYTES)
    identify(head, name)
    return io.BytesIO(head + stream.read())


@contextmanager
def atomic(path: str | Path) -> Iterator[BinaryIO]:
    """A new binary file (readable too) that takes its place at the end, whole, or not at all.

    It is written beside its place and renamed, so a killed run leaves the old file or the new one;
    and nothing else, where the system has files without a name (Linux). A link is followed; a
    device (/dev/null) is written directly.

    Raises:
        ImageError: No such folder, no permission, no space left.
    """
    with _told(path):
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise ImageError(f"{path}: this is a folder; give a file name inside it")
        if target.exists() and not target.is_file():
            with open(target, "r+b", buffering=0) as device:
                yield device
            return
        if not target.parent.is_dir():
            raise ImageError(f"{path}: the folder {target.parent} does not exist; create it first")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "read-only")
        temporary = target.parent / f".{_short(target.name)}.{secrets.token_hex(4)}.part"
        try:
            unnamed = _unnamed(target.parent)
            with unnamed or open(temporary, "x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if unnamed:
                    _name(file, temporary)
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _short(name: str) -> str:
    """So much of a name that something can be added: systems count bytes."""
    return os.fsdecode(os.fsencode(name)[:100]).encode(errors="ignore").decode(errors="ignore")


def _unnamed(folder: Path) -> BinaryIO | None:
    """A new file in this folder that has no name yet; None where there are no such files."""
    try:
        number = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except (AttributeError, OSError):  # another system, or a disk that cannot
        return None
    try:
        return open(f"{_OPEN_FILES}/{number}", "r+b")
    except OSError:
        return None
    finally:
        os.close(number)


def _name(file: BinaryIO, path: Path) -> None:
    """Give an unnamed file its name."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # With a folder's number, or Python would link the link.
        os.link(f"{_OPEN_FILES}/{file.fileno()}", path.name, dst_dir_fd=folder)
    finally:
        os.close(folder)


_OPEN_FILES = "/proc/self/fd"


@contextmanager
def _told(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {_reason(error)}") from error


class Disk:
    """Whether the disk can still be written: once it cannot, the files to come are not tried."""

    full = False

    def met(self, error: BaseException | None) -> None:
        """Take note of an error, and of those that led to it."""
        while error is not None:
            self.full = self.full or getattr(error, "errno", None) in _FULL
            error = error.__cause__

    def untried(self, source: str) -> str:
        """What is told of a file that was not tried."""
        return f"{source}: not tried, because no more could be written"


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


_REASONS = {
    errno.ENOENT: "no such file",
    errno.EACCES: "no permission; change that of the file or its folder, or choose another place",
    errno.EPERM: "no permission; change that of the file or its folder, or choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENOSPC: "no space left on the disk; free some or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EISDIR: "this is a folder; give the files in it",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "the links go round in a circle",
    errno.EFBIG: "the file would be too large for this disk",
}


def _reason(error: OSError) -> str:
    if error.errno is None:
        return str(error) or type(error).__name__
    return _REASONS.get(error.errno, os.strerror(error.errno))
