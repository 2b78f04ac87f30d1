"""Small codecs whose files keep the contract, made by hand: for tests that need no shipped one.

The latents are the lowest frequencies of blocks of 16x16, after a slight blur that makes the
encoder see further than a block; finer steps make the higher qualities.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 (after the skip)

QUALITIES, HIDDEN, WAVES = 3, 3, 6
STEPS = np.array([3.0, 8.0, 24.0], np.float32)


def basis() -> np.ndarray:
    """The first waves of an orthonormal cosine transform of 16x16, (waves, 16, 16)."""
    at = (np.arange(16) + 0.5) * math.pi / 16
    lines = [np.cos(k * at) * math.sqrt((1 if k == 0 else 2) / 16) for k in range(3)]
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]
    return np.stack([np.outer(lines[i], lines[j]) for i, j in pairs]).astype(np.float32)


def graph(nodes: list[Any], given: str, made: dict[str, int], initial: dict[str, Any]) -> bytes:
    """The bytes of a graph of an image or latents, and a quality."""
    ports = [
        helper.make_tensor_value_info(given, TensorProto.FLOAT, [1, None, "height", "width"]),
        helper.make_tensor_value_info("quality", TensorProto.INT64, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, None, None])
        for name, channels in made.items()
    ]
    weights = [numpy_helper.from_array(np.asarray(v), name) for name, v in initial.items()]
    whole = helper.make_graph(nodes, "codec", ports, outputs, weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def frequencies(pmf: np.ndarray) -> np.ndarray:
    """Whole numbers of at least 1 that sum to 2**16, nearly in proportion."""
    found = 1 + np.floor(pmf / pmf.sum() * (2**16 - len(pmf))).astype(np.int64)
    found[np.argmax(found)] += 2**16 - found.sum()
    return found


def bell(sigma: float) -> tuple[np.ndarray, int]:
    """A normal distribution over whole numbers and the rest, and its first number."""
    reach = math.ceil(3.5 * sigma)
    edges = (np.arange(-reach, reach + 2) - 0.5) / sigma / math.sqrt(2)
    steps = np.array([math.erf(edge) for edge in edges])
    return frequencies(np.append(np.diff(steps) / 2, 1e-6)), -reach


def rows(made: list[tuple[np.ndarray, int]], shape: tuple[int, ...], name: str) -> dict[str, Any]:
    """The three arrays of a table."""
    wide = max(len(row) for row, _ in made)
    padded = np.stack([np.pad(row, (0, wide - len(row))) for row, _ in made])
    return {
        f"{name}_freq": padded.reshape(*shape, wide).astype(np.uint16),
        f"{name}_offset": np.array([start for _, start in made], np.int32).reshape(shape),
        f"{name}_size": np.array([len(row) for row, _ in made], np.int32).reshape(shape),
    }


def arrays(
    *, hyper: bool = True, channels: int = 3, name: str = "tiny", seed: int = 0, **card: Any
) -> dict[str, np.ndarray]:
    """All arrays of a codec."""
    chance = np.random.default_rng(seed)
    latents = WAVES * channels
    waves = np.zeros((latents, channels, 16, 16), np.float32)
    for channel in range(channels):
        waves[channel * WAVES : (channel + 1) * WAVES, channel] = basis()
    blur = np.full((channels, 1, 3, 3), 0.01, np.float32)
    blur[:, :, 1, 1] = 0.92
    gains = np.repeat(STEPS[:, None], latents, axis=1)[:, :, None, None]
    look = chance.normal(0, 0.3, (HIDDEN, latents, 6, 6)).astype(np.float32)
    encoder = [
        helper.make_node("Conv", ["image", "blur"], ["soft"], pads=[1] * 4, group=channels),
        helper.make_node("Conv", ["soft", "waves"], ["plain"], strides=[16, 16]),
        helper.make_node("Gather", ["gains", "quality"], ["gain"]),
        helper.make_node("Mul", ["plain", "gain"], ["y"]),
    ]
    weights: dict[str, Any] = {"blur": blur, "waves": waves, "gains": gains}
    made = {"y": latents}
    if hyper:
        encoder.append(helper.make_node("Conv", ["plain", "look"], ["z"], strides=[4, 4],
                                        pads=[1] * 4))  # fmt: skip
        weights["look"], made["z"] = look, HIDDEN
    decoder = [
        helper.make_node("Gather", ["gains", "quality"], ["gain"]),
        helper.make_node("Div", ["y", "gain"], ["plain"]),
        helper.make_node("ConvTranspose", ["plain", "waves"], ["hard"], strides=[16, 16]),
        helper.make_node("Conv", ["hard", "blur"], ["image"], pads=[1] * 4, group=channels),
    ]
    parts = {"blur": blur, "waves": waves, "gains": gains}
    told = {
        "name": name,
        "model": "hyperprior" if hyper else "factorized",
        "version": 1,
        "qualities": QUALITIES,
        "latents": latents,
        "hyper_latents": HIDDEN if hyper else 0,
        "multiple_of": 64 if hyper else 16,
        "encoder_halo": 64 if hyper else 16,
        "decoder_halo": 64 if hyper else 16,
        "image_channels": channels,
    }
    found: dict[str, np.ndarray] = {
        "card": np.frombuffer(json.dumps(told | card).encode(), np.uint8),
        "encoder": np.frombuffer(graph(encoder, "image", made, weights), np.uint8),
        "decoder": np.frombuffer(graph(decoder, "y", {"image": channels}, parts), np.uint8),
    }
    coded = HIDDEN if hyper else latents
    widths = [2.0 if hyper else 1.5 * step for step in STEPS for _ in range(coded)]
    found |= rows([bell(width) for width in widths], (QUALITIES, coded), "z")
    if hyper:
        scales = np.exp(np.linspace(math.log(0.11), math.log(256), 64))
        found |= rows([bell(float(scale)) for scale in scales], (64,), "y")
        found |= prior(chance, latents)
    return found


FEATURES, STAGES = 4, (2, 4)
"""Channels that all stages see, and the latents of each colour that each tells."""


def prior(chance: np.random.Generator, latents: int) -> dict[str, np.ndarray]:
    """Two layers of chance and two stages, which give scales of all sizes."""
    shares = [latents * share // sum(STAGES) for share in STAGES]
    found: dict[str, np.ndarray] = {
        "z_scale": chance.integers(200, 300, (QUALITIES, HIDDEN)).astype(np.int32),
        "y_out": chance.integers(20, 60, (QUALITIES, latents)).astype(np.int32),
        "y_back": chance.integers(2000, 40000, (QUALITIES, latents)).astype(np.int32),
    }
    sides = {"prior_0": (HIDDEN, 16, 2), "prior_1": (4, 4 * FEATURES, 2)}
    told = 0
    for number, share in enumerate(shares):
        sides[f"stage_{number}_first"] = (FEATURES + told, 5, 1)
        sides[f"stage_{number}_last"] = (5, 2 * share, 1)
        told += share
    for name, (inside, outside, shuffle) in sides.items():
        weight = chance.integers(-3000, 3000, (outside, inside, 3, 3))
        bias = chance.integers(-(2**20), 2**20, (QUALITIES, outside))
        if name.endswith("last"):
            weight //= 4
            bias[:, outside // 2 :] += 20 << 20
        found[f"{name}_weight"] = weight.astype(np.int32)
        found[f"{name}_bias"] = bias.astype(np.int64)
        found[f"{name}_shuffle"] = np.array(shuffle, np.int32)
    return found


def save(path: Path, **options: Any) -> Path:
    """A codec's file; options as `arrays` takes them."""
    with open(path, "wb") as file:
        np.savez(file, **arrays(**options))
    return path


def edges(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A smooth picture with an edge, uint8 (H, W, C)."""
    y, x = np.mgrid[0:height, 0:width] / 40.0
    planes = [np.sin(x + k + seed) * np.cos(y - k) + (x + y > 2) * 0.5 for k in range(channels)]
    return np.clip(127 + 80 * np.stack(planes, axis=-1), 0, 255).round().astype(np.uint8)
