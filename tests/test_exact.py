"""Promises of restore/exact.py: the prior is whole numbers, the same however it is computed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import small_codecs as codecs
from pellucid.errors import CheckpointError
from pellucid.restore import codec_arrays, exact
from pellucid.restore.exact import LARGEST, Layer, Prior, Stage

NAMES = ("prior_0", "prior_1", "stage_0_first", "stage_0_last", "stage_1_first", "stage_1_last")


def made(arrays: dict[str, np.ndarray]) -> Prior:
    layers = [
        Layer(
            arrays[f"{name}_weight"].astype(float),
            arrays[f"{name}_bias"].astype(float),
            int(arrays[f"{name}_shuffle"]),
        )
        for name in NAMES
    ]
    return Prior(
        arrays["z_scale"].astype(float),
        tuple(layers[:2]),
        (Stage(*layers[2:4]), Stage(*layers[4:])),
        arrays["y_out"].astype(np.int64),
        arrays["y_back"].astype(np.int64),
    )


def layer_by_hand(
    arrays: dict[str, np.ndarray], name: str, a: list, quality: int, *, signed: bool = False
) -> list:
    """One layer in Python's own whole numbers, pixel by pixel."""
    weight, bias = arrays[f"{name}_weight"].tolist(), arrays[f"{name}_bias"].tolist()
    r, high, wide = int(arrays[f"{name}_shuffle"]), len(a[0]), len(a[0][0])
    out = [[[0] * wide for _ in range(high)] for _ in weight]
    for o, kernel in enumerate(weight):
        for y in range(high):
            for x in range(wide):
                total = bias[quality][o]
                for c, plane in enumerate(kernel):
                    for i in range(3):
                        for j in range(3):
                            v, u = y + i - 1, x + j - 1
                            if 0 <= v < high and 0 <= u < wide:
                                total += plane[i][j] * a[c][v][u]
                total = (total + 2**11) // 2**12
                out[o][y][x] = total if signed else min(abs(total), 2**15 - 1)
    return [[[out[c * r * r + (y % r) * r + x % r][y // r][x // r] for x in range(wide * r)]
             for y in range(high * r)] for c in range(len(out) // r**2)]  # fmt: skip


def held(value: int, most: int) -> int:
    return max(-most, min(most, value))


def by_hand(
    arrays: dict[str, np.ndarray], z: np.ndarray, y: np.ndarray, quality: int
) -> tuple[np.ndarray, np.ndarray]:
    """The contract again: means and scales of all latents, given their symbols."""
    a = [[[int(v) * int(s) for v in line] for line in plane]
         for plane, s in zip(z, arrays["z_scale"][quality], strict=True)]  # fmt: skip
    for name in NAMES[:2]:
        a = layer_by_hand(arrays, name, a, quality)
    means: list = []
    scales: list = []
    for stage in range(2):
        known = layer_by_hand(arrays, f"stage_{stage}_first", a, quality)
        told = layer_by_hand(arrays, f"stage_{stage}_last", known, quality, signed=True)
        for plane in told[: len(told) // 2]:
            number = len(means)
            out, back = (int(arrays[f"y_{k}"][quality, number]) for k in ("out", "back"))
            mean = [
                [held((held(v, 2**22) * out + 128) // 256, 2**22) for v in line] for line in plane
            ]
            means.append(mean)
            a.append([
                [
                    held(((int(s) * 256 + m) * back + 2**15) // 2**16, 2**15 - 1)
                    for s, m in zip(*lines, strict=True)
                ]
                for lines in zip(y[number], mean, strict=True)
            ])  # fmt: skip
        for plane in told[len(told) // 2 :]:
            scales.append([[(held(v, 2**22) + 128) // 256 for v in line] for line in plane])
    return np.array(means), np.clip(np.array(scales), 0, 63)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return codecs.arrays()


def symbols(shape: tuple[int, ...], seed: int = 0, most: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.int32)


def given(y: np.ndarray) -> exact.SymbolsOf:
    return lambda part, *_: y[part]


@pytest.mark.parametrize("quality", range(3))
@pytest.mark.parametrize("most", [3, 9000])
def test_it_is_the_contract_in_whole_numbers(arrays, quality: int, most: int) -> None:
    z = symbols((3, 2, 3), seed=quality, most=most)
    y = symbols((18, 8, 12), seed=9, most=most**2)
    found, mean, scale = made(arrays).walk(z, (8, 12), quality, given(y))
    expected = by_hand(arrays, z, y, quality)
    assert np.array_equal(found, y)
    assert np.array_equal(mean, expected[0])
    assert np.array_equal(scale, expected[1])
    assert (found.dtype, mean.dtype, scale.dtype) == (np.int32, np.int32, np.uint8)


def test_torch_in_double_precision_finds_the_same(arrays) -> None:
    torch = pytest.importorskip("torch")
    z, y = symbols((3, 7, 5)), symbols((18, 28, 20), seed=1)
    found = made(arrays).walk(z, (28, 20), 1, given(y))

    def layer(name: str, a, *, signed: bool = False):
        weight, bias = (torch.from_numpy(arrays[f"{name}_{k}"]) for k in ("weight", "bias"))
        a = torch.nn.functional.conv2d(a, weight.double(), bias[1].double(), padding=1)
        a = torch.floor((a + 2**11) / 2**12)
        a = a if signed else a.abs().clamp(max=LARGEST)
        r = int(arrays[f"{name}_shuffle"])
        return torch.nn.functional.pixel_shuffle(a, r) if r > 1 else a

    a = torch.from_numpy(z * arrays["z_scale"][1][:, None, None]).double()[None]
    a = layer("prior_1", layer("prior_0", a))
    start = 0
    for stage, count in enumerate((6, 12)):
        told = layer(f"stage_{stage}_last", layer(f"stage_{stage}_first", a), signed=True)
        part = slice(start, start + count)
        mean, scale = told[0].numpy().reshape(2, count, 28, 20)
        out, back = (arrays[f"y_{k}"][1, part, None, None].astype(float) for k in ("out", "back"))
        mean = np.floor((mean * out + 128) / 256)
        assert np.array_equal(found[1][part], mean)
        assert np.array_equal(found[2][part], np.clip(np.floor((scale + 128) / 256), 0, 63))
        known = np.floor(((256.0 * y[part] + mean) * back + 2**15) / 2**16)
        a = torch.cat((a, torch.from_numpy(known).clamp(-LARGEST, LARGEST)[None]), 1)
        start += count
    assert len(np.unique(found[2])) > 5


def test_a_stage_is_asked_only_once_those_before_are_known(arrays) -> None:
    asked = []

    def told(part: slice, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked.append((part, mean.copy(), rows.copy()))
        return symbols(mean.shape, seed=len(asked))

    prior = made(arrays)
    _, mean, rows = prior.walk(symbols((3, 2, 2)), (8, 8), 0, told)
    assert [part for part, *_ in asked] == prior.parts == [slice(0, 6), slice(6, 18)]
    for part, means, scales in asked:
        assert np.array_equal(mean[part], means)
        assert np.array_equal(rows[part], scales)
    other = prior.walk(symbols((3, 2, 2)), (8, 8), 0, lambda part, *_: symbols((18, 8, 8))[part])
    assert np.array_equal(other[1][:6], mean[:6])
    assert not np.array_equal(other[1][6:], mean[6:])


def test_bands_change_nothing(arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = symbols((3, 9, 4)), given(symbols((18, 33, 16)))
    whole = made(arrays).walk(z, (33, 16), 0, y)
    monkeypatch.setattr(exact, "_BAND", 1)
    for one, other in zip(whole, made(arrays).walk(z, (33, 16), 0, y), strict=True):
        assert np.array_equal(one, other)


def test_threads_change_nothing(tmp_path) -> None:
    path = codecs.save(tmp_path / "tiny.codec.npz")
    code = (
        "import sys, zlib, numpy as np\n"
        "from pellucid.restore.codec_arrays import read\n"
        f"prior = read(__import__('pathlib').Path({str(path)!r})).prior\n"
        "z = np.random.default_rng(0).integers(-9, 9, (3, 40, 30)).astype(np.int32)\n"
        "y = np.random.default_rng(1).integers(-9, 9, (18, 160, 120)).astype(np.int32)\n"
        "found = prior.walk(z, (160, 120), 2, lambda part, *_: y[part])\n"
        "print(zlib.crc32(b''.join(a.tobytes() for a in found)))"
    )
    said = set()
    for threads in ("1", "4"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("scale", 2.0**40), ("bias", 2.0**53), ("weight", 2.0**39)]
)
def test_weights_that_could_lose_a_digit_are_refused(arrays, name: str, value: float) -> None:
    prior = made(arrays)
    layers, scale = list(prior.layers), prior.scale.copy()
    weight, bias = layers[1].weight.copy(), layers[1].bias.copy()
    {"scale": scale, "bias": bias, "weight": weight}[name].flat[0] = value
    layers[1] = Layer(weight, bias, layers[1].shuffle)
    with pytest.raises(CheckpointError, match=r"exact below 2\*\*53"):
        replace(prior, scale=scale, layers=tuple(layers))


def test_a_file_gives_the_same_prior(arrays, tmp_path) -> None:
    prior = codec_arrays.read(codecs.save(tmp_path / "tiny.codec.npz")).prior
    assert prior is not None
    z, y = symbols((3, 2, 2)), given(symbols((18, 8, 7)))
    for one, other in zip(
        prior.walk(z, (8, 7), 0, y), made(arrays).walk(z, (8, 7), 0, y), strict=True
    ):
        assert np.array_equal(one, other)
