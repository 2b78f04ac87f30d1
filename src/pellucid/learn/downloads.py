"""Files from the network: resumed, checked by their hash, and whole or absent.

Nothing here decides to download: `datasets` does, when a user names a data set that is published
on the network and no copy of it lies at hand. Bytes gather in ``NAME.part`` beside the target and
the file takes its name only when its hash is right, so a killed download goes on where it stopped
and what has the name is whole.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pellucid.errors import DataError

_CHUNK = 1 << 20
_TRIES = 3
# What the network may throw while a file is on its way.
_LOST = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)


def cache_folder() -> Path:
    """Where downloads are kept: ``$PELLUCID_CACHE``, else ``~/.cache/pellucid``."""
    given = os.environ.get("PELLUCID_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "pellucid"


def fetch(
    urls: str | Sequence[str],
    path: str | Path,
    *,
    digest: str,
    size: int | None = None,
    timeout: float = 30.0,
) -> Path:
    """The file at `path`, downloaded unless it is there already.

    Args:
        urls: Where it lies; mirrors are tried in turn.
        path: Where to keep it; its folder is made.
        digest: ``sha256:...`` or ``md5:...`` of its content.
        size: Its length in bytes, when known; a file at `path` of another length is fetched anew.
        timeout: Seconds without an answer after which a mirror is given up.

    Returns:
        `path`.

    Raises:
        DataError: No mirror delivered the file, its hash is wrong, or it cannot be stored.
    """
    path = Path(path)
    if _whole(path, size):
        return path
    mirrors = (urls,) if isinstance(urls, str) else tuple(urls)
    part = path.with_name(path.name + ".part")
    reasons = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            # Another process may have fetched it while this one waited.
            if _whole(path, size):
                return path
            for url in mirrors:
                reason = _from_mirror(url, part, digest, size, timeout)
                if reason is None:
                    os.replace(part, path)
                    return path
                reasons.append(f"{url}: {reason}")
    except OSError as error:
        raise DataError(
            f"cannot store {path}: {error.strerror or error}; free some space there or set "
            "$PELLUCID_CACHE to a folder that can be written"
        ) from error
    raise DataError(
        f"cannot download {path.name} ({'; '.join(reasons)}); run again to go on where it stopped, "
        f"or put the file into '{path.parent.name}/' under a folder named by $PELLUCID_DATA"
    )


def _whole(path: Path, size: int | None) -> bool:
    return path.is_file() and size in (None, path.stat().st_size)


def _from_mirror(url: str, part: Path, digest: str, size: int | None, timeout: float) -> str | None:
    """Bring `part` to its end from one mirror; None when its hash is right, else what is wrong."""
    reason, failures = "no answer", 0
    while failures < _TRIES:
        begun = _length(part)
        failures += 1
        try:
            _transfer(url, part, begun, size, timeout)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code == 416 and not _matches(part, digest):
                # Longer than the file on the server: the rest of something else.
                part.unlink()
                continue
            if error.code != 416:
                if error.code < 500:
                    return reason
                continue
        except _LOST as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
            if _length(part) > begun:
                # A line that breaks often still gets there.
                failures = 0
            continue
        if _matches(part, digest):
            return None
        part.unlink()
        reason = f"its {digest.partition(':')[0]} is not the published one"
        if not begun:
            return reason
        # The first part may have come from elsewhere: once more, from the start.
    return reason


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _transfer(url: str, part: Path, begun: int, size: int | None, timeout: float) -> None:
    """Append what is missing to `part`; raises one of `_LOST` when the connection breaks."""
    request = urllib.request.Request(url, headers={"User-Agent": "pellucid"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        place = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
        resumed = answer.status == 206 and place is not None and int(place[1]) == begun
        done = begun if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else size
        with part.open("ab" if resumed else "wb") as target, _progress(part, total) as show:
            for chunk in iter(lambda: answer.read(_CHUNK), b""):
                target.write(chunk)
                done += len(chunk)
                show(done)
                if size is not None and done > size:
                    # No need to take in the rest of something that cannot be right.
                    return
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _matches(path: Path, digest: str) -> bool:
    algorithm, _, expected = digest.partition(":")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest() == expected.lower()


class _Progress:
    """One line on stderr: a figure that moves on a terminal, the start and the end elsewhere."""

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total, self.shown = name, total, -1
        self.moving = sys.stderr.isatty()
        if not self.moving:
            print(f"downloading {name}{self._of()}", file=sys.stderr, flush=True)

    def _of(self) -> str:
        return f" ({self.total / 1e6:.1f} MB)" if self.total else ""

    def __call__(self, done: int) -> None:
        share = int(100 * done / self.total) if self.total else done // _CHUNK
        if self.moving and share != self.shown:
            self.shown = share
            figure = f"{share} %" if self.total else f"{share} MB"
            print(f"\rdownloading {self.name}{self._of()} {figure}", end="", file=sys.stderr)

    def end(self) -> None:
        if self.moving:
            print(file=sys.stderr)


@contextmanager
def _progress(part: Path, total: int | None) -> Iterator[_Progress]:
    shown = _Progress(part.stem, total)
    try:
        yield shown
    finally:
        shown.end()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from the same parts; the system lets go when a process dies."""
    # Windows cannot lock a folder, but refuses a second writer of the part by itself.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
