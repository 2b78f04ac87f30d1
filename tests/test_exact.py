"""Promises of restore/exact.py: the prior is whole numbers, the same however it is computed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import small_codecs as codecs
from pellucid.errors import CheckpointError
from pellucid.restore import codec_arrays, exact
from pellucid.restore.exact import LARGEST, Layer, Prior


def made(arrays: dict[str, np.ndarray]) -> Prior:
    layers = tuple(
        Layer(
            arrays[f"prior_{n}_weight"].astype(float),
            arrays[f"prior_{n}_bias"].astype(float),
            int(arrays[f"prior_{n}_shuffle"]),
        )
        for n in range(3)
    )
    return Prior(arrays["z_scale"].astype(float), layers)


def by_hand(
    arrays: dict[str, np.ndarray], z: np.ndarray, quality: int
) -> tuple[np.ndarray, np.ndarray]:
    """The contract again in Python's own whole numbers, pixel by pixel."""
    a = [[[int(v) * int(s) for v in line] for line in plane]
         for plane, s in zip(z, arrays["z_scale"][quality], strict=True)]  # fmt: skip
    for n in range(3):
        weight, bias = arrays[f"prior_{n}_weight"].tolist(), arrays[f"prior_{n}_bias"].tolist()
        r, high, wide = int(arrays[f"prior_{n}_shuffle"]), len(a[0]), len(a[0][0])
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
                    out[o][y][x] = total if n == 2 else min(abs(total), 2**15 - 1)
        a = [[[out[c * r * r + (y % r) * r + x % r][y // r][x // r] for x in range(wide * r)]
              for y in range(high * r)] for c in range(len(out) // r**2)]  # fmt: skip
    whole = np.array(a)
    mean, scale = np.split(whole, 2)
    return np.clip(mean, -(2**22), 2**22), np.clip((scale + 128) // 256, 0, 63)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return codecs.arrays()


def symbols(shape: tuple[int, ...], seed: int = 0, most: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.int32)


@pytest.mark.parametrize("quality", range(3))
@pytest.mark.parametrize("most", [3, 9000])
def test_it_is_the_contract_in_whole_numbers(arrays, quality: int, most: int) -> None:
    z = symbols((3, 2, 3), seed=quality, most=most)
    mean, scale = made(arrays)(z, quality)
    expected = by_hand(arrays, z, quality)
    assert np.array_equal(mean, expected[0])
    assert np.array_equal(scale, expected[1])
    assert (mean.dtype, scale.dtype) == (np.int32, np.uint8)


def test_torch_in_double_precision_finds_the_same(arrays) -> None:
    torch = pytest.importorskip("torch")
    z = symbols((3, 7, 5))
    a = torch.from_numpy(z * arrays["z_scale"][1][:, None, None]).double()[None]
    for n in range(3):
        weight, bias = (torch.from_numpy(arrays[f"prior_{n}_{k}"]) for k in ("weight", "bias"))
        a = torch.nn.functional.conv2d(a, weight.double(), bias[1].double(), padding=1)
        a = torch.floor((a + 2**11) / 2**12)
        a = a if n == 2 else a.abs().clamp(max=LARGEST)
        r = int(arrays[f"prior_{n}_shuffle"])
        a = torch.nn.functional.pixel_shuffle(a, r) if r > 1 else a
    mean, scale = a[0].numpy().reshape(2, -1, 28, 20)
    found = made(arrays)(z, 1)
    assert np.array_equal(found[0], np.clip(mean, -(2**22), 2**22))
    assert np.array_equal(found[1], np.clip(np.floor((scale + 128) / 256), 0, 63))
    assert len(np.unique(found[1])) > 5


def test_bands_change_nothing(arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    z = symbols((3, 9, 4))
    whole = made(arrays)(z, 0)
    monkeypatch.setattr(exact, "_BAND", 1)
    for one, other in zip(whole, made(arrays)(z, 0), strict=True):
        assert np.array_equal(one, other)


def test_threads_change_nothing(tmp_path) -> None:
    path = codecs.save(tmp_path / "tiny.codec.npz")
    code = (
        "import sys, zlib, numpy as np\n"
        "from pellucid.restore.codec_arrays import read\n"
        f"prior = read(__import__('pathlib').Path({str(path)!r})).prior\n"
        "z = np.random.default_rng(0).integers(-9, 9, (3, 40, 30)).astype(np.int32)\n"
        "print(zlib.crc32(b''.join(a.tobytes() for a in prior(z, 2))))"
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
        Prior(scale, tuple(layers))


def test_a_file_gives_the_same_prior(arrays, tmp_path) -> None:
    prior = codec_arrays.read(codecs.save(tmp_path / "tiny.codec.npz")).prior
    assert prior is not None
    z = symbols((3, 2, 2))
    for one, other in zip(prior(z, 0), made(arrays)(z, 0), strict=True):
        assert np.array_equal(one, other)
