"""A written file is whole or absent, and every trouble with a place is told in a line."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pellucid import images
from pellucid.errors import ImageError
from pellucid.images.files import atomic, decoding, find, opened

FLAT = np.zeros((3, 3), np.uint8)
FREE = [name for name, kind in images.KINDS.items() if kind.free]


def interrupted(path: Path, error: type[BaseException]) -> None:
    with atomic(path) as file:
        file.write(b"half")
        raise error


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["unnamed", "named"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With files that have no name until they are whole, where there are such, and without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name are Linux's")
def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pellucid.images import atomic\n"
        "with atomic(sys.argv[1]) as file:\n"
        "    file.write(bytes(10**6)); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.bin")]
    assert subprocess.run(command, check=False).returncode != 0
    assert left(tmp_path) == []


@pytest.mark.usefixtures("system")
def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            interrupted(path, error)
    assert path.read_bytes() == b"old"
    assert left(tmp_path) == ["a.bin"]


@pytest.mark.usefixtures("system")
def test_a_new_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    (tmp_path / "plain").write_bytes(b"")
    mode = (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").unlink()
    with atomic(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == mode
    assert left(tmp_path) == ["a.bin"]


@pytest.mark.usefixtures("system")
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    images.write(path, FLAT)
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match="no space left"):
        images.write(path, FLAT + 1)
    assert path.read_bytes() == before
    assert left(tmp_path) == ["a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kind", FREE)
def test_a_full_disk_is_named_for_every_format(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (300, 300)).astype(np.uint8)
    with pytest.raises(ImageError, match="no space left"):
        images.write("/dev/full", noise, kind=kind)


def test_a_size_limit_is_told_in_a_line(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy as np; from pellucid import images;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)\n"
        f"for kind in {FREE}:\n"
        "    try: images.write(sys.argv[1] + '/a', noise, kind=kind)\n"
        "    except images.ImageError as error: print(kind, error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    lines = run.stdout.splitlines()
    assert len(lines) == len(FREE), run.stdout + run.stderr
    assert all("too large for this disk" in line for line in lines), lines
    assert left(tmp_path) == []


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"the folder .*gone does not exist; create it"):
        images.write(tmp_path / "gone" / "a.png", FLAT)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ImageError, match="this is a folder"):
        images.write(tmp_path / "b.png", FLAT)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="does not exist"):
        images.write(tmp_path / "file" / "a.png", FLAT)
    with pytest.raises(ImageError, match="name is too long"):
        images.write(tmp_path / ("a" * 300 + ".png"), FLAT)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may do anything")
def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", FLAT)
    (tmp_path / "a.png").chmod(0o000)
    with pytest.raises(ImageError, match="no permission"):
        images.read(tmp_path / "a.png")
    with pytest.raises(ImageError, match="no permission"):
        images.write(tmp_path / "a.png", FLAT)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ImageError, match="no permission"):
            images.write(tmp_path / "b.png", FLAT)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO])
def test_errors_of_the_disk_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ImageError, match=r"a\.png: cannot be written") as caught:
        images.write(tmp_path / "a.png", FLAT)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", FLAT)
    (tmp_path / "a.png").chmod(0o640)
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    images.write(tmp_path / "link.png", FLAT + 9)
    assert (tmp_path / "link.png").is_symlink()
    assert images.read(tmp_path / "a.png").samples.max() == 9
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_that_the_user_wants(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", FLAT)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_a_device_is_written_directly() -> None:
    images.write("/dev/null", FLAT, kind="png")
    assert not Path("/dev/null").is_file()


def test_many_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"

    def work(value: int) -> None:
        for _ in range(5):
            images.write(path, np.full((40, 40), value, np.uint8))

    threads = [threading.Thread(target=work, args=(value,)) for value in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(np.unique(images.read(path).samples)) == 1
    assert left(tmp_path) == ["a.png"]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_killed_run_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images.write(path, FLAT)
    code = (
        "import os, sys; from pellucid.images import atomic\n"
        "with atomic(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert images.read(path).samples.max() == 0
    assert find(tmp_path) == [path]  # what was left behind is not taken for a picture


def test_find_gives_pictures_below_sorted_without_hidden_ones(tmp_path: Path) -> None:
    for name in ["b/2.PNG", "b/1.jpg", "a.tif", "notes.txt", ".hidden.png", ".git/x.png", "c.webp"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in find(tmp_path)]
    assert names == ["a.tif", "b/1.jpg", "b/2.PNG", "c.webp"]


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(ImageError, match="no pictures in this folder; looked for"):
        find(tmp_path)
    with pytest.raises(ImageError, match="no such folder"):
        find(tmp_path / "gone")
    with pytest.raises(ImageError, match="a file, not a folder"):
        find(tmp_path / "a.txt")


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        images.read(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="this is a folder"):
        images.read(tmp_path)
    with pytest.raises(ImageError, match="not a possible file name"):
        images.read("a\0b.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(ImageError, match="the file is empty"):
        images.read(tmp_path / "empty.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(ImageError, match="circle"):
        images.read(tmp_path / "loop.png")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_an_endless_device_is_refused_at_once() -> None:
    with pytest.raises(ImageError, match="not a picture"):
        images.read("/dev/zero")


def test_a_pipe_is_read(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", FLAT)
    data = (tmp_path / "a.png").read_bytes()
    out, into = os.pipe()
    with os.fdopen(into, "wb") as file:
        file.write(data)
    with os.fdopen(out, "rb") as pipe, opened(pipe) as (stream, _):
        assert stream.read() == data


def test_a_decoder_that_panics_is_told_of_and_ctrl_c_passes() -> None:
    # What decoders written in Rust raise; the real class cannot be imported.
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(ImageError, match="index out of bounds: the len"), decoding("a.dcm"):
        raise panic("index out of bounds:\nthe len is 2880")
    with pytest.raises(KeyboardInterrupt), decoding("a.dcm"):
        raise KeyboardInterrupt
