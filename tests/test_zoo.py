"""Promises of restore/zoo.py: names to files, and cards read without opening a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from networks import box, pointwise
from pellucid.errors import CheckpointError, OptionError
from pellucid.restore import zoo


def safetensors(path: Path, card: dict | None) -> Path:
    header = {} if card is None else {"__metadata__": {"pellucid": json.dumps(card)}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_names_are_those_of_the_files(shelf):
    assert zoo.names() == []
    box(shelf / "photo.onnx")
    safetensors(shelf / "photo.safetensors", {})
    safetensors(shelf / "gaussian-gray.safetensors", {})
    (shelf / "photo.md").write_text("a card")
    assert zoo.names() == ["gaussian-gray", "photo"]


def test_onnx_is_preferred_unless_asked(shelf):
    box(shelf / "photo.onnx")
    safetensors(shelf / "photo.safetensors", {})
    assert zoo.resolve("photo").name == "photo.onnx"
    assert zoo.resolve("photo", prefer=".safetensors").name == "photo.safetensors"


def test_an_unknown_name_offers_the_nearest(shelf):
    box(shelf / "photo.onnx")
    with pytest.raises(OptionError, match="did you mean 'photo'"):
        zoo.resolve("foto")


def test_an_empty_box_says_so(shelf):
    with pytest.raises(CheckpointError, match="no models in the box yet"):
        zoo.resolve("photo")


def test_paths_and_run_folders_are_found(shelf, tmp_path):
    path = box(tmp_path / "mine.onnx")
    assert zoo.resolve(path) == path
    assert zoo.resolve(str(path)) == path
    inside = safetensors(tmp_path / "model.safetensors", {})
    assert zoo.resolve(tmp_path) == inside
    with pytest.raises(CheckpointError, match=r"without model\.safetensors"):
        zoo.resolve(shelf)
    with pytest.raises(CheckpointError, match="no model file"):
        zoo.resolve("gone/model.onnx")
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(CheckpointError, match=r"\.onnx and \.safetensors"):
        zoo.resolve(tmp_path / "notes.txt")


def test_a_shipped_name_wins_over_a_folder_of_that_name(shelf, tmp_path, monkeypatch):
    box(shelf / "photo.onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").mkdir()
    assert zoo.resolve("photo") == shelf / "photo.onnx"


def test_cards_are_read_from_both_formats(tmp_path):
    card = {"model": "conv", "scores": {"psnr": 31.4}, "note": "größer"}
    assert zoo.card(safetensors(tmp_path / "a.safetensors", card)) == card
    assert zoo.card(pointwise(tmp_path / "a.onnx", "Mul", 1.0, card=card)) == card
    assert zoo.card(safetensors(tmp_path / "b.safetensors", None)) == {}
    assert zoo.card(pointwise(tmp_path / "b.onnx", "Mul", 1.0, card=None)) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"\xff" * 100,
        b"PK\x03\x04 a zip",
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (6).to_bytes(8, "little") + b'{"a":1',
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
)
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_hostile_files_are_refused_in_one_line(tmp_path, content, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        zoo.card(path)
    assert "\n" not in str(error.value)


def test_every_truncation_is_a_clear_error_or_a_shorter_card(tmp_path):
    whole = box(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            zoo.card(path)
        except CheckpointError:
            continue
        assert length > len(whole) // 2


def test_shipped_models_have_cards_that_say_what_they_are():
    for name in zoo.names():
        card = zoo.card(name)
        assert card["model"]
        assert card["licence"]


def test_a_codec_is_found_by_its_name_and_is_no_model_that_restores(shelf, tmp_path):
    assert zoo.codecs() == []
    (shelf / "photo-codec.codec.npz").write_bytes(b"")
    safetensors(shelf / "photo-codec.safetensors", {})
    box(shelf / "photo.onnx")
    assert zoo.codecs() == ["photo-codec"]
    assert zoo.names() == ["photo"]
    assert zoo.resolve_codec("photo-codec") == shelf / "photo-codec.codec.npz"
    (tmp_path / "mine.codec.npz").write_bytes(b"")
    assert zoo.resolve_codec(str(tmp_path / "mine.codec.npz")) == tmp_path / "mine.codec.npz"
    with pytest.raises(OptionError, match="did you mean 'photo-codec'"):
        zoo.resolve_codec("photo-codek")
    with pytest.raises(CheckpointError, match="is a codec and restores nothing"):
        zoo.resolve(tmp_path / "mine.codec.npz")
    with pytest.raises(CheckpointError, match=r"is a folder; give a \.codec\.npz file"):
        zoo.resolve_codec(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        zoo.resolve_codec("nothing.codec.npz")
    with pytest.raises(CheckpointError, match="is no codec"):
        zoo.resolve_codec(shelf / "photo.onnx")
