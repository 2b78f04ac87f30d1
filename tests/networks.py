"""Small ONNX networks whose answers are known, for the tests of the light half."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 (after the skip)

FREE = ("batch", None, "height", "width")


def save(
    path: Path,
    nodes: list[Any],
    initial: dict[str, np.ndarray] | None = None,
    *,
    channels: int = 1,
    shape: tuple[Any, ...] | None = None,
    card: dict[str, Any] | None = None,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a graph from "image" to "restored"."""
    sides = shape or ("batch", channels, "height", "width")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", kind, sides)],
        [helper.make_tensor_value_info("restored", kind, [None] * len(sides))],
        [numpy_helper.from_array(value, name) for name, value in (initial or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if card is not None:
        helper.set_model_props(model, {"pellucid": json.dumps(card)})
    onnx.save(model, str(path))
    return path


def box(
    path: Path,
    *,
    channels: int = 1,
    radius: int = 2,
    depth: int = 1,
    card: dict[str, Any] | None = None,
) -> Path:
    """A mean over squares of `2 * radius + 1`, `depth` times, every channel by itself."""
    side = 2 * radius + 1
    weight = np.full((channels, 1, side, side), 1 / side**2, np.float32)
    nodes, given = [], "image"
    for i in range(depth):
        out = "restored" if i == depth - 1 else f"x{i}"
        pads = [radius] * 4
        nodes.append(helper.make_node("Conv", [given, "w"], [out], pads=pads, group=channels))
        given = out
    told = {"image_channels": channels, "multiple_of": 1, "halo": radius * depth, "model": "box"}
    return save(path, nodes, {"w": weight}, channels=channels, card=told | (card or {}))


def pointwise(path: Path, operator: str, value: float, *, channels: int = 1, **more: Any) -> Path:
    """`image` with one operation on every pixel, e.g. ``pointwise(path, "Mul", 0.5)``."""
    node = helper.make_node(operator, ["image", "value"], ["restored"])
    card = {"image_channels": channels, "multiple_of": 1, "halo": 0, "model": "pointwise"}
    more.setdefault("card", card)
    return save(path, [node], {"value": np.float32(value)}, channels=channels, **more)
