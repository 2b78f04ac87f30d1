"""How many operations a second this machine reaches in plain matrix products.

The best that numpy, torch and ONNX Runtime each reach, for float32, bfloat16 and 8-bit integers:
what a network could reach that spends all its time multiplying. A product and its sum are two
operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from pellucid.restore.runtime import available_threads


def rates(size: int = 2048, rounds: int = 7) -> dict[str, dict[str, float]]:
    """Operations a second of square products, by what they are made of and who makes them."""
    found: dict[str, dict[str, float]] = {}
    for products, library, multiply in _contenders(size):
        multiply()
        taken = []
        for _ in range(rounds):
            started = time.perf_counter()
            multiply()
            taken.append(time.perf_counter() - started)
        found.setdefault(products, {})[library] = 2 * size**3 / min(taken)
    return found


def _contenders(size: int) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    chance = np.random.default_rng(0)
    a, b = chance.random((2, size, size), dtype=np.float32)
    yield "float32", "numpy", lambda: a @ b
    if find_spec("torch"):
        import torch

        torch.set_num_threads(available_threads())
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        yield "float32", "torch", lambda: x @ y
        half, other = x.bfloat16(), y.bfloat16()
        yield "bf16", "torch", lambda: half @ other
        small, little = ((t * 99).to(torch.int8) for t in (x, y))
        yield "int8", "torch", lambda: torch._int_mm(small, little)
    if find_spec("onnx"):
        from onnx import TensorProto

        floats = _session("MatMul", TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT, b)
        yield "float32", "onnxruntime", lambda: floats.run(None, {"a": a})
        # Weights are signed and activations are not, as in quantised networks.
        weights = (b * 99).astype(np.int8)
        integers = _session(
            "MatMulInteger", TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, weights
        )
        given = (a * 99).astype(np.uint8)
        yield "int8", "onnxruntime", lambda: integers.run(None, {"a": given})


def _session(operator: str, left: int, right: int, result: int, constant: Any) -> Any:
    """A product with a constant on its right, as weights are: it is packed beforehand."""
    import onnxruntime
    from onnx import helper, numpy_helper

    size = len(constant)
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", left, [size, size])],
        [helper.make_tensor_value_info("c", result, [size, size])],
        [numpy_helper.from_array(constant, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_threads()
    return onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
    )
