"""Promises of restore/codec.py: any size, whole or in windows, and never other numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import small_codecs as codecs
from pellucid.errors import CheckpointError, ImageError, OptionError
from pellucid.restore import zoo
from pellucid.restore.codec import Codec, Symbols

SIZES = [(1, 1), (1, 70), (65, 1), (16, 16), (64, 64), (100, 131)]


@pytest.fixture(scope="module", params=["hyperprior", "factorized"])
def codec(request, tmp_path_factory) -> Codec:
    path = tmp_path_factory.mktemp("codec") / "tiny.codec.npz"
    return Codec.open(codecs.save(path, hyper=request.param == "hyperprior"))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(one - other).mean()))


@pytest.mark.parametrize("size", SIZES)
def test_any_size_comes_back(codec: Codec, size: tuple[int, int]) -> None:
    image = codecs.edges(*size)
    symbols = codec.encode(image, 3)
    y, z = codec.shapes(*size)
    assert symbols.y.shape == y
    assert (None if symbols.z is None else symbols.z.shape) == z
    back = codec.decode(symbols, size, 3)
    assert (back.shape, back.dtype) == (image.shape, np.float32)
    assert 0 <= back.min() <= back.max() <= 1
    assert psnr(back, image / 255) > 22


def test_what_lies_beyond_the_picture_is_not_coded(codec: Codec) -> None:
    assert codec.shapes(65, 1) == ((18, 5, 1), (3, 2, 1) if codec.hyper else None)
    symbols = codec.encode(codecs.edges(65, 1), 2)
    assert symbols.y.shape == (18, 5, 1)
    assert symbols.mean is None or symbols.mean.shape == (18, 5, 1)


def test_a_higher_quality_is_nearer(codec: Codec) -> None:
    image = codecs.edges(150, 130)
    back = [codec.decode(codec.encode(image, q), (150, 130), q) for q in (1, 2, 3)]
    near = [psnr(one, image / 255) for one in back]
    assert near[0] < near[1] < near[2]


def test_floats_and_bytes_are_one_picture(codec: Codec) -> None:
    image = codecs.edges(70, 90)
    one, other = codec.encode(image, 2), codec.encode(image / np.float32(255), 2)
    assert np.array_equal(one.y, other.y)


def test_windows_and_the_whole_agree(codec: Codec) -> None:
    image = codecs.edges(330, 410)
    whole = codec.encode(image, 3)
    cut = codec._cut(384, 448, "encoder_halo", 256, codec.multiple_of)
    assert len(cut.rows) * len(cut.columns) >= 4
    tiled = codec.encode(image, 3, tile=256)
    # Sums in another order may round a tie the other way, nothing else.
    assert np.abs(whole.y - tiled.y).max() <= 1
    assert (whole.y != tiled.y).mean() < 1e-3
    if whole.z is not None:
        assert np.array_equal(whole.z, tiled.z)


def test_decoding_does_not_depend_on_the_windows(codec: Codec) -> None:
    size = 330, 410
    symbols = codec.encode(codecs.edges(*size), 3)
    whole = codec.decode(symbols, size, 3)
    for tile in (64, 200, 320):
        assert np.abs(codec.decode(symbols, size, 3, tile=tile) - whole).max() < 1e-5


def test_a_large_picture_is_cut_without_being_told(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pellucid.restore import codec as module

    monkeypatch.setattr(module, "WHOLE_PIXELS", 64 * 64)
    monkeypatch.setattr(module, "TILE", 192)
    seen, run = [], Codec._run

    def told(self, network, index, **given):
        seen.extend(array.shape for array in given.values())
        return run(self, network, index, **given)

    monkeypatch.setattr(Codec, "_run", told)
    size = 500, 300
    codec.decode(codec.encode(codecs.edges(*size), 1), size, 1)
    assert len(seen) > 8
    assert max(shape[2] for shape in seen) <= max(192, 4 * codec.card["encoder_halo"])


def test_threads_change_no_symbol(codec: Codec) -> None:
    image = codecs.edges(200, 170)
    others = Codec(codec._contents, "again", threads=2)
    one, other = codec.encode(image, 2), others.encode(image, 2)
    for name in ("y", "z", "mean", "rows"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_the_prior_is_worked_out_again_where_it_is_not_given(codec: Codec) -> None:
    image = codecs.edges(64, 64)
    symbols = codec.encode(image, 2)
    bare = Symbols(symbols.y, symbols.z)
    again = codec.with_prior(bare, 2)
    assert np.array_equal(again.rows, symbols.rows)
    assert np.array_equal(codec.decode(bare, (64, 64), 2), codec.decode(symbols, (64, 64), 2))


def test_what_does_not_fit_is_refused(codec: Codec) -> None:
    image = codecs.edges(64, 64)
    for quality in (0, 4, -1):
        with pytest.raises(OptionError, match=f"quality {quality} is not possible.* to 3"):
            codec.encode(image, quality)
    with pytest.raises(ImageError, match=r"takes \(H, W, 3\)"):
        codec.encode(image[..., :1], 1)
    with pytest.raises(ImageError, match="do not fit a picture"):
        codec.decode(codec.encode(image, 1), (300, 64), 1)
    with pytest.raises(OptionError, match="window of 0"):
        codec.encode(image, 1, tile=0)


def saved(path: Path, **changes: bytes) -> Path:
    arrays = codecs.arrays(channels=1)
    arrays |= {name: np.frombuffer(graph, np.uint8) for name, graph in changes.items()}
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


def test_graphs_that_are_none_or_others_are_refused(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot open .*encoder"):
        Codec.open(saved(tmp_path / "a.npz", encoder=b"nothing of that kind"))
    swapped = codecs.arrays(channels=1)["decoder"].tobytes()
    with pytest.raises(CheckpointError, match=r"'image' .* is needed"):
        Codec.open(saved(tmp_path / "b.npz", encoder=swapped))
    smaller = codecs.arrays(channels=3)["decoder"].tobytes()
    one = Codec.open(saved(tmp_path / "c.npz", decoder=smaller))
    symbols = one.encode(codecs.edges(64, 64, 1), 1)
    with pytest.raises(CheckpointError, match=r"cannot run|made"):
        one.decode(symbols, (64, 64), 1)


def test_an_answer_that_is_no_number_is_refused(codec: Codec) -> None:
    image = np.full((64, 64, 3), np.nan, np.float32)
    with pytest.raises(CheckpointError, match="what is no number"):
        codec.encode(image, 1)


def test_the_box_is_searched_by_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match="none in the box"):
        Codec.open()
    codecs.save(tmp_path / "photo-codec.codec.npz", name="photo-codec")
    assert Codec.open().name == "photo-codec"
    assert Codec.open("photo-codec").fingerprint == Codec.open().fingerprint
    with pytest.raises(OptionError, match="did you mean 'photo-codec'"):
        Codec.open("foto-codec")
    assert json.dumps(Codec.open().card)
