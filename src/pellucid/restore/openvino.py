"""The same networks through OpenVINO: an optional engine that computes in bfloat16.

    pip install 'pellucid[openvino]'
    pellucid denoise photo.jpg -o clean.jpg --device openvino

Processors that multiply bfloat16 (avx512_bf16 or AMX) run a network in half the time that ONNX
Runtime takes in float32; on others both are equally quick. The numbers of bfloat16 have 8 bits, so
the answer is not the same: it must be asked for by name.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pellucid.errors import CheckpointError, optional
from pellucid.restore.exported import ExportedRunner, Images, check_ports, first_line

_ELEMENT_TYPES = {"f32": "float"}


class OpenVinoRunner(ExportedRunner):
    """A network in ONNX, run by OpenVINO on the processor.

    Args:
        path: The .onnx file.
        threads: Processor threads of one call.
        precision: 'bf16' or 'f32'; what is fastest here unless given.
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
        }
        if precision is not None:
            self._options["INFERENCE_PRECISION_HINT"] = precision
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


def _shape(port: Any) -> list[Any]:
    sides = port.get_partial_shape()
    return ["?" if side.is_dynamic else side.get_length() for side in sides]


def _type(port: Any) -> str:
    name = str(port.get_element_type().to_string())
    return _ELEMENT_TYPES.get(name, name)


def _unopened(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"OpenVINO cannot open {path}: {first_line(error)}")
