"""Downloads: resumed, checked, whole or absent. A small local server plays all the mirrors."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import DataError
from pellucid.learn.downloads import cache_folder, fetch

CONTENT = np.random.default_rng(0).bytes(3_000_000)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """/good resumes; /plain ignores Range; /cut breaks off once; /stub always; /wrong lies."""

    def do_GET(self) -> None:
        server = self.server
        server.seen.append((self.path, self.headers.get("Range")))
        if self.path in ("/missing", "/broken"):
            self.send_error(404 if self.path == "/missing" else 503)
            return
        body = bytes(len(CONTENT)) if self.path == "/wrong" else CONTENT
        begun = 0
        if self.headers.get("Range") and self.path != "/plain":
            begun = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if begun >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begun}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - begun))
        self.end_headers()
        first = self.path == "/cut" and len(server.seen) == 1
        end = 1_200_000 if first or self.path == "/stub" else len(body)
        self.wfile.write(body[begun:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_in_a_folder_that_is_made(mirror, tmp_path: Path) -> None:
    path = fetch(f"{mirror.url}/good", tmp_path / "a" / "b" / "file.bin", digest=DIGEST)
    assert path.read_bytes() == CONTENT
    assert everything_in(path.parent) == ["file.bin"]


def test_what_is_there_is_not_fetched_again(mirror, tmp_path: Path) -> None:
    for _ in range(2):
        fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST, size=len(CONTENT))
    assert len(mirror.seen) == 1


def test_a_file_of_another_length_is_fetched_anew(mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"cut short")
    fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST, size=len(CONTENT))
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_md5_is_understood(mirror, tmp_path: Path) -> None:
    digest = "md5:" + hashlib.md5(CONTENT).hexdigest().upper()
    assert fetch(f"{mirror.url}/good", tmp_path / "file", digest=digest).exists()


def test_a_killed_download_goes_on_where_it_stopped(mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1_000_000])
    fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST)
    assert mirror.seen == [("/good", "bytes=1000000-")]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_again(mirror, tmp_path: Path) -> None:
    fetch(f"{mirror.url}/cut", tmp_path / "file.bin", digest=DIGEST)
    assert mirror.seen == [("/cut", None), ("/cut", "bytes=1200000-")]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_over(mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1_000_000])
    fetch(f"{mirror.url}/plain", tmp_path / "file.bin", digest=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_already_the_whole_is_taken(mirror, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("stale", [bytes(1000), bytes(len(CONTENT) + 5)])
def test_a_part_of_something_else_is_thrown_away(mirror, tmp_path: Path, stale: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(stale)
    fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("first", ["/missing", "/broken", "/wrong", "/stub"])
def test_the_next_mirror_is_tried(mirror, tmp_path: Path, first: str) -> None:
    urls = [mirror.url + first, f"{mirror.url}/good"]
    assert fetch(urls, tmp_path / "file.bin", digest=DIGEST).read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing_behind(mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its sha256 is not the published one") as caught:
        fetch(f"{mirror.url}/wrong", tmp_path / "file.bin", digest=DIGEST)
    assert "\n" not in str(caught.value)
    assert everything_in(tmp_path) == []


def test_a_file_that_goes_on_past_its_size_is_refused(mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the published one"):
        fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST, size=1000)
    assert everything_in(tmp_path) == []


def test_what_arrived_is_kept_for_the_next_run(mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of 3000000 bytes.*run again"):
        fetch(f"{mirror.url}/stub", tmp_path / "file.bin", digest=DIGEST)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:1_200_000]


def test_no_mirror_names_each_reason_and_the_way_round(tmp_path: Path, mirror) -> None:
    urls = [f"{mirror.url}/missing", "http://127.0.0.1:9/nothing"]
    with pytest.raises(DataError) as caught:
        fetch(urls, tmp_path / "mnist" / "file.bin", digest=DIGEST)
    for part in ("/missing: HTTP 404", "/nothing: ", "'mnist/'", "$PELLUCID_DATA"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_named(mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot store .*\$PELLUCID_CACHE"):
        fetch(f"{mirror.url}/good", tmp_path / "file" / "x.bin", digest=DIGEST)
    assert mirror.seen == []


def test_two_at_once_both_get_the_file(mirror, tmp_path: Path) -> None:
    results: list[bytes] = []

    def run() -> None:
        path = fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST)
        results.append(path.read_bytes())

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 3
    assert len(mirror.seen) == 1


def test_progress_goes_to_stderr(mirror, tmp_path: Path, capsys) -> None:
    fetch(f"{mirror.url}/good", tmp_path / "file.bin", digest=DIGEST)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "downloading file.bin (3.0 MB)\n"


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("PELLUCID_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "pellucid"
