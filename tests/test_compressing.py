"""Promises of cli/compressing.py: compress and decompress as commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("constriction")

import small_codecs as codecs
from commands import Command, process, samples
from pellucid import images
from pellucid.restore import zoo


@pytest.fixture
def command(monkeypatch, capsys) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> Path:
    return codecs.save(tmp_path_factory.mktemp("codec") / "tiny.codec.npz")


@pytest.fixture
def picture(tmp_path) -> Path:
    images.write(tmp_path / "a.png", codecs.edges(60, 80))
    return tmp_path / "a.png"


def test_there_and_back(command, codec, picture, tmp_path) -> None:
    small, back = tmp_path / "a.plc", tmp_path / "b.png"
    said = command.done("compress", picture, "-o", small, "--quality", 3, "-m", codec)
    size = small.stat().st_size
    assert f"80x60, {size:,} bytes, {8 * size / 4800:.3f} bits a pixel, quality 3" in said
    assert "80x60" in command.done("decompress", small, "-o", back, "-m", codec)
    assert samples(back).shape == (60, 80, 3)
    assert "1 there already" in command.done("decompress", small, "-o", back, "-m", codec)


def test_the_box_is_used_without_a_name(command, codec, picture, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "box")
    command.refused("compress", picture, "-o", tmp_path / "a.plc", says="none in the box")
    (tmp_path / "box").mkdir()
    codecs.save(tmp_path / "box" / "photo-codec.codec.npz", name="photo-codec")
    command.done("compress", picture, "-o", tmp_path / "a.plc")
    command.done("decompress", tmp_path / "a.plc", "-o", tmp_path / "b.png")
    assert "photo-codec" in command.done("models")


def test_bits_are_limited_and_told(command, codec, picture, tmp_path) -> None:
    out, told = tmp_path / "a.plc", tmp_path / "told.json"
    given = ("compress", picture, "-o", out, "-m", codec)
    command.done(*given, "--max-bpp", 8, "--json", told)
    (entry,) = json.loads(told.read_text())["files"]
    assert entry["bpp"] <= 8
    assert entry["bytes"] == out.stat().st_size
    assert entry["error"] is None
    refused = command(*given, "--max-bpp", 0.01, "--overwrite")
    assert refused.code == 2
    assert "a.png: at most 0.01 bits a pixel cannot be kept" in refused.err
    assert out.stat().st_size == entry["bytes"]
    command.refused(*given, "--max-bpp", 1, "--quality", 1, says="give one")


def test_deep_pictures_are_refused_or_reduced(command, codec, tmp_path) -> None:
    deep = codecs.edges(20, 20).astype("uint16") * 257
    images.write(tmp_path / "deep.png", deep)
    given = ("compress", tmp_path / "deep.png", "-o", tmp_path / "a.plc", "-m", codec)
    said = command(*given)
    assert said.code == 2
    assert "deep.png: 16-bit samples" in said.err
    assert not (tmp_path / "a.plc").exists()
    command.done(*given, "--reduce")


def test_a_damaged_file_is_told_and_the_others_are_done(command, codec, picture, tmp_path) -> None:
    command.done("compress", picture, "-o", tmp_path / "a.plc", "-m", codec)
    whole = (tmp_path / "a.plc").read_bytes()
    (tmp_path / "cut.plc").write_bytes(whole[:-9])
    (tmp_path / "longer.plc").write_bytes(whole + b"!")
    files = [tmp_path / f"{name}.plc" for name in ("cut", "a", "longer")]
    said = command("decompress", *files, "-o", tmp_path / "back", "-m", codec)
    assert said.code == 2
    assert "cut.plc: the file is cut off" in said.err
    assert "longer.plc: 1 bytes follow" in said.err
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["a.png"]


def test_streams(codec, picture) -> None:
    small = process("compress", "-", "-o", "-", "-m", codec, input=picture.read_bytes())
    assert small.returncode == 0, small.stderr
    assert small.stdout.startswith(b"\x89PLC")
    back = process("decompress", "-", "-o", "-", "-m", codec, input=small.stdout)
    assert back.returncode == 0, back.stderr
    assert samples(back.stdout).shape == (60, 80, 3)


@pytest.mark.parametrize("verb", ["compress", "decompress"])
def test_without_constriction_the_extra_is_named_once(verb, codec, picture, tmp_path) -> None:
    words = ["pellucid", verb, str(picture), "-o", str(tmp_path / "o"), "-m", str(codec)]
    code = (
        "import sys; sys.modules['constriction'] = None; "
        f"sys.argv = {words!r}; from pellucid.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "pellucid: this needs constriction, which is not installed; "
        "run: pip install 'pellucid[entropy]'\n"
    )
