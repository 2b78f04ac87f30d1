"""Promises of restore/codec_arrays.py: nothing in a codec's file is trusted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import small_codecs as codecs
from pellucid.errors import CheckpointError
from pellucid.restore.codec_arrays import read

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def sound() -> Arrays:
    return codecs.arrays(channels=1)


def saved(path: Path, arrays: Arrays) -> Path:
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


@pytest.mark.parametrize("hyper", [True, False])
def test_a_sound_file_opens(tmp_path, hyper: bool) -> None:
    found = read(codecs.save(tmp_path / "a.codec.npz", hyper=hyper))
    assert (found.prior is not None) == (found.y_rows is not None) == hyper
    assert len(found.z_rows) == found.card["qualities"] == 3
    assert found.encoder != found.decoder


def test_the_fingerprint_is_of_what_counts(tmp_path, sound) -> None:
    def fingerprint(arrays: Arrays) -> bytes:
        return read(saved(tmp_path / "x.codec.npz", arrays)).fingerprint

    first = fingerprint(sound)
    card = json.loads(sound["card"].tobytes()) | {"scores": {"psnr": 30}}
    told = sound | {"card": np.frombuffer(json.dumps(card).encode(), np.uint8)}
    assert fingerprint(told) == first
    assert fingerprint(dict(reversed(sound.items()))) == first
    for name in ("encoder", "prior_0_weight", "stage_1_last_bias", "z_scale", "y_back"):
        other = sound[name].copy()
        other.flat[-1] ^= 1
        try:
            assert fingerprint(sound | {name: other}) != first, name
        except CheckpointError:
            pytest.fail(f"a changed {name} is no hostile one")


def carded(**changes: object) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        card = json.loads(arrays["card"].tobytes()) | changes
        return arrays | {"card": np.frombuffer(json.dumps(card).encode(), np.uint8)}

    return change


def put(name: str, value: object, *place: int) -> Callable[[Arrays], Arrays]:
    """One entry of an array replaced, or all of it without a place."""

    def change(arrays: Arrays) -> Arrays:
        array = arrays[name].copy() if place else np.asarray(value)
        if place:
            array[place] = value
        return arrays | {name: array}

    return change


def without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


def typed(name: str, dtype: type) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: arrays[name].astype(dtype)}


HOSTILE = {
    "no card": (without("card"), "no card"),
    "card no object": (put("card", np.frombuffer(b"[1]", np.uint8)), "no JSON object"),
    "card no text": (put("card", np.frombuffer(b"\xff{", np.uint8)), "no codec that can be read"),
    "deep card": (put("card", np.frombuffer(b"[" * 10**5, np.uint8)), "no codec|no JSON"),
    "kind": (carded(model="autoregressive"), "factorized can be run"),
    "kind no text": (carded(model=["hyperprior"]), "can be run"),
    "name": (carded(name="../up"), "is called"),
    "qualities": (carded(qualities=0), "qualities is 0"),
    "many qualities": (carded(qualities=10**9), "qualities is"),
    "truth": (carded(latents=True), "latents is True"),
    "float": (carded(latents=6.0), "latents is 6.0"),
    "grid": (carded(multiple_of=16), "multiple_of is 16"),
    "halo": (carded(encoder_halo=10), "no multiple of 64"),
    "far halo": (carded(decoder_halo=64 * 10**6), "decoder_halo is"),
    "two channels": (carded(image_channels=2), "image_channels is 2"),
    "missing": (without("y_size"), "'y_size' is missing"),
    "no prior": (without("prior_0_weight"), "prior_0_bias' does not belong|is missing"),
    "surplus": (put("extra", [1]), "'extra' does not belong"),
    "float graph": (typed("encoder", np.float32), "'encoder' is float32"),
    "empty graph": (put("decoder", np.zeros(0, np.uint8)), "bytes are needed"),
    "wide frequencies": (typed("z_freq", np.int64), "uint16"),
    "shape": (put("z_freq", np.ones((3, 2, 4), np.uint16)), "is needed"),
    "sum": (put("z_freq", 7, 0, 0, 0), "sum to 65536"),
    "nothing used": (put("y_size", 0, 3), "no distributions"),
    "one used": (put("y_size", 1, 3), "no distributions"),
    "size beyond": (put("y_size", 10**6, 3), "no distributions"),
    "negative size": (put("z_size", -1, 0, 0), "no distributions"),
    "used and 0": (put("y_freq", 0, 63, 5), "no distributions"),
    "far offset": (put("y_offset", 2**30, 0), "no distributions"),
    "weight shape": (put("prior_1_weight", np.ones((16, 3, 3, 3), np.int32)), "prior_1_weight"),
    "weight float": (typed("prior_0_weight", np.float32), "prior_0_weight"),
    "bias type": (typed("prior_0_bias", np.int32), "int64"),
    "large bias": (put("prior_0_bias", 2**60, 0, 0), "exact below"),
    "smallest bias": (put("prior_0_bias", -(2**63), 0, 0), "exact below"),
    "large scale": (put("z_scale", -(2**31), 0, 0), "exact below"),
    "shuffle": (put("prior_0_shuffle", np.array(3, np.int32)), "cannot be spread"),
    "shuffled away": (put("prior_0_shuffle", np.array(1, np.int32)), "prior_1_weight"),
    "too small": (put("prior_1_shuffle", np.array(1, np.int32)), "ends at 2 times"),
    "spread stage": (put("stage_0_last_shuffle", np.array(2, np.int32)), "cannot be spread"),
    "no stage": (
        lambda a: {k: v for k, v in a.items() if not k.startswith("stage_1")},
        "tell 2 latents; 6",
    ),
    "half a stage": (without("stage_1_last_bias"), "'stage_1_last_bias' is missing"),
    "odd stage": (
        lambda a: (
            a
            | {
                "stage_1_last_weight": a["stage_1_last_weight"][1:],
                "stage_1_last_bias": a["stage_1_last_bias"][:, 1:],
            }
        ),
        "not pairs",
    ),
    "stage that knows too much": (
        put("stage_1_first_weight", np.ones((5, 9, 3, 3), np.int32)),
        "stage_1_first_weight",
    ),
    "large stage": (put("stage_1_last_bias", 2**60, 0, 0), "exact below"),
    "few means": (put("y_out", np.ones((3, 5), np.int32)), "'y_out'"),
    "float back": (typed("y_back", np.float64), "'y_back'"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path, sound, case: str) -> None:
    change, says = HOSTILE[case]
    path = saved(tmp_path / "bad.codec.npz", change(sound))
    with pytest.raises(CheckpointError, match=says) as refused:
        read(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_no_pickle_is_opened(tmp_path, sound) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return pytest.fail, ("the pickle was opened",)

    path = saved(tmp_path / "bad.codec.npz", sound | {"y_size": np.array([Trap()], object)})
    with pytest.raises(CheckpointError, match="pickled objects, which are never loaded"):
        read(path)


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, sound) -> None:
    path = saved(tmp_path / "bad.codec.npz", sound)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as members:
        members.writestr("bomb.npy", bytes(80 * 2**20))
    with pytest.raises(CheckpointError, match="as bombs do"):
        read(path)


@pytest.mark.parametrize("shape", [(2**62,), (2**40, 2**40), (-1,), (10**9,)])
def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path, sound, shape) -> None:
    path = saved(tmp_path / "bad.codec.npz", without("z_size")(sound))
    with zipfile.ZipFile(path, "a") as members, members.open("z_size.npy", "w") as file:
        told = {"descr": "<i4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, told)
        file.write(bytes(36))
    with pytest.raises(CheckpointError, match=r"z_size|no codec"):
        read(path)


def test_every_cut_file_is_refused(tmp_path, sound) -> None:
    whole = saved(tmp_path / "whole.codec.npz", sound).read_bytes()
    path = tmp_path / "cut.codec.npz"
    for length in [0, 3, *range(100, len(whole), len(whole) // 40)]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read(path)


def test_altered_bytes_never_crash(tmp_path, sound) -> None:
    whole = saved(tmp_path / "whole.codec.npz", sound).read_bytes()
    chance, path = np.random.default_rng(0), tmp_path / "altered.codec.npz"
    for _ in range(60):
        altered = bytearray(whole)
        for place in chance.integers(0, len(whole), 3):
            altered[place] = chance.integers(256)
        path.write_bytes(altered)
        try:
            read(path)
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017 (a sound file is no failure either)
