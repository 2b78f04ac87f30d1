"""The same networks through OpenVINO: an optional engine that may compute in bfloat16.

    pip install 'pellucid[openvino]'
    pellucid denoise photo.jpg -o clean.jpg --device openvino

Many processors with avx512_bf16 or AMX run a network in bfloat16 in half the time that ONNX Runtime
takes in float32; others have the instructions and are twice as slow with them, so both are timed
and the quicker is taken. The numbers of bfloat16 have 8 bits, so the answer is not the same: this
engine must be asked for by name.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import CheckpointError, optional
from pellucid.restore.exported import ExportedRunner, Images, check_ports, first_line

_ELEMENT_TYPES = {"f32": "float"}


class OpenVinoRunner(ExportedRunner):
    """A network in ONNX, run by OpenVINO on the processor.

    Args:
        path: The .onnx file.
        threads: Processor threads of one call.
        precision: 'bf16' or 'f32'; the quicker here unless given.
    """

    def __init__(self, path: Path, *, threads: int, precision: str | None = None) -> None:
        core = _core()
        try:
            self._network = core.read_model(str(path))
            inputs = [(_shape(port), _type(port)) for port in self._network.inputs]
            outputs = [_type(port) for port in self._network.outputs]
        except Exception as error:  # OpenVINO raises plain RuntimeErrors
            raise _unopened(path, error) from error
        check_ports(path, inputs, outputs)
        super().__init__(path, inputs[0][0], "openvino")
        # A pinned thread would share its core with that of another picture in work.
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": precision or _quicker(),
        }
        try:
            self._idle = [self._request()]
        except Exception as error:  # as above
            raise _unopened(path, error) from error

    def compute(self, images: Images) -> Images:
        """The network's own answer to contiguous images (B, C, H, W) that fit it."""
        # A request does one thing at a time, so pictures in work side by side have their own.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._request()
        try:
            restored: Images = request.infer([images])[0]
        finally:
            self._idle.append(request)
        return restored

    def _request(self) -> Any:
        return _core().compile_model(self._network, "CPU", self._options).create_infer_request()


@cache
def _core() -> Any:
    return optional("openvino", "openvino").Core()


@cache
def _quicker() -> str:
    """The precision in which a convolution takes clearly less time here; OpenVINO goes by name."""
    if "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "f32"
    return "bf16" if 1.2 * _seconds("bf16") < _seconds("f32") else "f32"


def _seconds(precision: str) -> float:
    """The shortest of several convolutions on one thread, 115 MFLOP each."""
    make = optional("openvino.opset13", "openvino")
    images = np.ones((8, 32, 28, 28), np.float32)
    given = make.parameter(images.shape, np.float32)
    kernel = make.constant(np.ones((32, 32, 3, 3), np.float32))
    edge = [1, 1]
    network = optional("openvino", "openvino").Model(
        [make.convolution(given, kernel, edge, edge, edge, edge)], [given]
    )
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = _core().compile_model(network, "CPU", options).create_infer_request()
    taken = []
    for _ in range(8):
        started = time.perf_counter()
        request.infer([images])
        taken.append(time.perf_counter() - started)
    return min(taken)


def _shape(port: Any) -> list[Any]:
    sides = port.get_partial_shape()
    return ["?" if side.is_dynamic else side.get_length() for side in sides]


def _type(port: Any) -> str:
    name = str(port.get_element_type().to_string())
    return _ELEMENT_TYPES.get(name, name)


def _unopened(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"OpenVINO cannot open {path}: {first_line(error)}")
