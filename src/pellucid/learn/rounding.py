"""An exported network with most of its convolutions in 8 bits: the graph side of `quantise`.

ONNX Runtime's quantiser writes the graph; what it rounds, and over which ranges, is decided here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid import __version__
from pellucid.errors import CheckpointError

_FIRST, _LAST = 1, 3
"""Convolutions kept in float at either end; the last three are a residual block and the output."""

_SAMPLES = 2**13
"""Values of each activation looked at, of every crop."""


class Rounding:
    """An exported network, and which of its convolutions are to be rounded."""

    def __init__(self, path: Path) -> None:
        import onnx

        self.model = onnx.load(str(path))
        nodes = self.model.graph.node
        for index, node in enumerate(nodes):
            node.name = f"{node.op_type}_{index}"
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in nodes:
            for name in node.input:
                self.readers[name].append(node)
        convolutions = [node for node in nodes if node.op_type == "Conv"]
        self._convolutions = convolutions
        self.inner = convolutions[_FIRST:-_LAST]
        if not self.inner:
            raise CheckpointError(
                f"this model has {len(convolutions)} convolutions, and int8 keeps the first and "
                f"the last {_LAST} in float; export it without --int8"
            )

    @property
    def in_float(self) -> list[str]:
        """The weights of the convolutions that are not rounded."""
        return [node.input[1] for node in self._convolutions if node not in self.inner]

    def leave(self, node: Any) -> None:
        """Let a convolution stay in float."""
        self.inner = [other for other in self.inner if other is not node]

    def felt(self, ranges: dict[str, tuple[float, float]], images: Tensor) -> list[Any]:
        """`inner`, those first whose rounding alone is felt most for the arithmetic in them.

        Args:
            ranges: From `ranges`.
            images: (B, C, H, W), damaged as little as a loss should be seen at.
        """
        names = [node.output[0] for node in self.inner]
        *made, exact = self.session(names).run([*names, "restored"], {"image": images.numpy()})
        weights = {one.name: int(np.prod(one.dims)) for one in self.model.graph.initializer}
        found = []
        whole = self.inner
        for node, features in zip(whole, made, strict=True):
            self.inner = [node]
            (rounded,) = session(self.quantised(ranges)).run(
                ["restored"], {"image": images.numpy()}
            )
            arithmetic = weights[node.input[1]] * np.prod(features.shape[2:])
            found.append((float(np.square(rounded - exact).mean()) / arithmetic, node))
        self.inner = whole
        return [node for _, node in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def session(self, outputs: Sequence[str] = ()) -> Any:
        """The float network, giving also those of its activations."""
        import onnx

        asked = type(self.model)()
        asked.CopyFrom(self.model)
        asked.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in outputs
        )
        return session(asked)

    def ranges(self, images: Tensor, chance: np.random.Generator) -> dict[str, tuple[float, float]]:
        """Lowest and highest value to represent of every activation that will be rounded."""
        # A convolution before a ReLU gives what the ReLU leaves: rounding does the clipping.
        after = {node.output[0]: self._rectified(node) for node in self.inner}
        inputs = (node.input[0] for node in self.inner)
        names = list(dict.fromkeys([*inputs, *after.values()]))
        float_network = self.session(names)
        seen: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for image in images:
            answers = float_network.run(names, {"image": image[None].numpy()})
            for name, values in zip(names, answers, strict=True):
                some = chance.integers(0, values.size, _SAMPLES)
                seen[name].append(values.reshape(-1)[some])
        found = {name: best_range(torch.from_numpy(np.concatenate(seen[name]))) for name in names}
        return found | {name: found[later] for name, later in after.items()}

    def _rectified(self, node: Any) -> str:
        """What a convolution gives, after the ReLU where nothing else reads it before."""
        readers = self.readers[node.output[0]]
        alone = len(readers) == 1 and readers[0].op_type == "Relu"
        return str((readers[0] if alone else node).output[0])

    def quantised(self, ranges: dict[str, tuple[float, float]]) -> Any:
        """The network with `inner` in int8, as an ONNX model."""
        from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
        from onnxruntime.quantization.calibrate import TensorsData

        model, copies = self._parted()
        limits = {
            copies.get(name, name): (np.float32(low), np.float32(high))
            for name, (low, high) in ranges.items()
        }
        wanted = [node.name for node in self.inner]
        wanted += [
            self.readers[node.output[0]][0].name
            for node in self.inner
            if self._rectified(node) != node.output[0]
        ]
        quantiser = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
            nodes_to_quantize=wanted,
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv", "Relu"],
            extra_options={},
        )
        made = quantiser.quantize_model()
        # It leaves its nodes at the end; the standard wants each after what it reads.
        quantiser.model.topological_sort()
        _join(made.graph, copies)
        return made

    def _parted(self) -> tuple[Any, dict[str, str]]:
        """The network with a copy of every float activation for the convolutions that round it.

        The quantiser rounds an activation for all its readers, and the sums should read it whole.
        """
        import onnx

        model = type(self.model)()
        model.CopyFrom(self.model)
        inner = {node.name for node in self.inner}
        rounded = {self._rectified(node) for node in self.inner}
        copies: dict[str, str] = {}
        nodes = []
        for node in model.graph.node:
            if node.name in inner and node.input[0] not in rounded:
                source = node.input[0]
                if source not in copies:
                    copies[source] = f"{source}_rounded"
                    nodes.append(onnx.helper.make_node("Identity", [source], [copies[source]]))
                node.input[0] = copies[source]
            nodes.append(node)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return model, copies

    def content(self, made: Any, more: dict[str, Any]) -> bytes:
        """The file's content: the float model's card and more, nothing of how it was made."""
        (card,) = (json.loads(p.value) for p in self.model.metadata_props if p.key == "pellucid")
        del made.metadata_props[:]
        text = json.dumps({**card, **more}, sort_keys=True)
        made.metadata_props.add(key="pellucid", value=text)
        made.producer_name, made.producer_version = "pellucid", __version__
        del made.graph.value_info[:]
        return bytes(made.SerializeToString(deterministic=True))


def best_range(values: Tensor, *, steps: int = 40) -> tuple[float, float]:
    """The range, zero in it, over which 8 bits stand for the values with least squared error.

    Rare peaks are cut off where finer steps for all the rest are worth more.

    Example:
        >>> best_range(torch.linspace(-0.5, 1, 1000))
        (-0.5, 1.0)
    """
    lowest, highest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if lowest == highest:
        return 0.0, 1.0
    found, least = (lowest, highest), float("inf")
    for share in np.linspace(1, 0.25, steps).tolist():
        cut = share * max(-lowest, highest)
        low, high = max(lowest, -cut), min(highest, cut)
        scale = (high - low) / 255
        rounded = torch.fake_quantize_per_tensor_affine(values, scale, round(-low / scale), 0, 255)
        error = float((rounded - values).square().mean())
        if error < least:
            found, least = (low, high), error
    return found


def _join(graph: Any, copies: dict[str, str]) -> None:
    """Take the copies of `Rounding._parted` out again."""
    sources = {copy: source for source, copy in copies.items()}
    nodes = [node for node in graph.node if not set(node.output) & set(sources)]
    for node in nodes:
        for index, name in enumerate(node.input):
            node.input[index] = sources.get(name, name)
    del graph.node[:]
    graph.node.extend(nodes)


def session(model: Any) -> Any:
    """An ONNX model, ready to run on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
