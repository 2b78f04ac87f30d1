"""Promises of uses/packing.py: many files, some bad, and begun again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("constriction")

import small_codecs as codecs
from commands import tree
from pellucid import images
from pellucid.errors import OptionError
from pellucid.uses.packing import compress_files, decompress_files, report


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> Path:
    return codecs.save(tmp_path_factory.mktemp("codec") / "tiny.codec.npz")


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    images.write(place / "a.png", codecs.edges(30, 40))
    images.write(place / "deep" / "b.png", codecs.edges(50, 20, 1))
    (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return place


def test_a_folder_there_and_back(codec, folder, tmp_path) -> None:
    small, back = tmp_path / "small", tmp_path / "back"
    results = compress_files([folder], small, model=codec, quality=3)
    assert tree(small) == ["a.plc", "deep/b.plc"]
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "broken.png" in str(results[1].error)
    assert not list(tmp_path.rglob("*.part"))
    first = results[0]
    assert first.bytes == (small / "a.plc").stat().st_size
    assert (first.width, first.height, first.quality) == (40, 30, 3)
    assert first.bpp == 8 * first.bytes / 1200
    made = decompress_files([small], back, model=codec)
    assert tree(back) == ["a.png", "deep/b.png"]
    assert not any(result.error for result in made)
    assert [result.bytes for result in made] == [results[0].bytes, results[2].bytes]
    assert images.read(back / "deep" / "b.png").samples.shape == (50, 20, 1)
    told = report(results, "tiny")
    assert set(told["files"][0]) >= {"input", "output", "bytes", "bpp", "seconds", "error"}


def test_what_is_there_is_kept_unless_told_otherwise(codec, folder, tmp_path) -> None:
    out = tmp_path / "a.plc"
    compress_files([folder / "a.png"], out, model=codec, quality=1)
    before = out.read_bytes()
    (again,) = compress_files([folder / "a.png"], out, model=codec, quality=3)
    assert again.skipped
    assert out.read_bytes() == before
    compress_files([folder / "a.png"], out, model=codec, quality=3, overwrite=True)
    assert out.read_bytes() != before


def test_two_inputs_never_share_an_output(codec, folder, tmp_path) -> None:
    images.write(folder / "a.bmp", codecs.edges(9, 9))
    results = compress_files([folder / "a.png", folder / "a.bmp"], tmp_path / "o", model=codec)
    assert [bool(result.error) for result in results] == [False, True]
    assert "is made of" in str(results[1].error)


def test_a_name_that_promises_something_else_is_refused(codec, folder, tmp_path) -> None:
    with pytest.raises(OptionError, match=r"a compressed picture is a \.plc file"):
        compress_files([folder / "a.png"], tmp_path / "a.jpg", model=codec)
    with pytest.raises(OptionError, match="no input is given"):
        compress_files([], tmp_path, model=codec)
    with pytest.raises(OptionError, match="quality 9 is not possible"):
        compress_files([folder], tmp_path, model=codec, quality=9)


def test_a_name_that_promises_one_file_is_no_folder(codec, folder, tmp_path) -> None:
    with pytest.raises(OptionError, match="outputs need a folder"):
        compress_files([folder], tmp_path / "one.plc", model=codec)


def test_what_is_not_kept_or_grows_is_told(codec, tmp_path) -> None:
    black = np.where(np.indices((32, 48)).sum(0) % 9 < 4, 0, 255).astype(np.uint8)[..., None]
    images.write(tmp_path / "page.png", images.Picture(black, bits=1))
    images.write(tmp_path / "a.jpg", images.Picture(black, xmp=b"<x:xmpmeta/>"))
    (page,) = compress_files([tmp_path / "page.png"], tmp_path / "p.plc", model=codec)
    assert "black and white comes back in greys" in page.warnings[0]
    assert "larger than what it was made of" in page.warnings[1]
    (photo,) = compress_files([tmp_path / "a.jpg"], tmp_path / "a.plc", model=codec)
    assert "its XMP is left out" in photo.warnings[0]


def test_a_folder_without_such_files_is_told(codec, folder, tmp_path) -> None:
    (result,) = decompress_files([folder], tmp_path / "out", model=codec)
    assert "no .plc files in this folder" in str(result.error)


def test_the_suffix_names_the_format(codec, folder, tmp_path) -> None:
    compress_files([folder / "a.png"], tmp_path / "a.plc", model=codec)
    (result,) = decompress_files([tmp_path / "a.plc"], tmp_path / "a.tif", model=codec)
    assert result.error is None
    assert images.read(tmp_path / "a.tif").kind == "tiff"
    assert images.read(tmp_path / "a.tif").samples.dtype == np.uint8


def test_an_output_is_no_input(codec, folder) -> None:
    place = folder / "a.plc"
    compress_files([folder / "a.png"], place, model=codec)
    (result,) = compress_files([place], place, model=codec, overwrite=True)
    assert "is one of the inputs" in str(result.error)
