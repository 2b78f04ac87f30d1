"""Trained models as ONNX: one file that runs without torch, here and elsewhere, at any size.

Padding to the network's grid and cropping back are part of the graph, so other programs need to
know nothing. The file carries the checkpoint's card, and is compared with torch before it is given
its name. Read next: `pellucid.restore.runtime`, which runs such files.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid import __version__
from pellucid.errors import CheckpointError, OptionError, optional
from pellucid.images.files import atomic
from pellucid.learn import checkpoints
from pellucid.learn.models import Restorer
from pellucid.learn.models.codec import Codec

OPSET = 20
TOLERANCE = 1e-4
"""Largest difference to torch that an exported model may have, on the [0, 1] scale."""

_SIZES = ((1, 64, 80), (2, 33, 47), (1, 50, 3), (1, 1, 1))
"""Batch, height and width of the comparisons: even, odd, narrower than the padding, a dot."""

_WORTH_IT = 256
"""Fewest values of a weight that is stored in 16 bits."""


@dataclass(frozen=True)
class Exported:
    """What `export` made.

    Args:
        path: The file.
        size_bytes: Its size.
        difference: Largest difference to torch over all sizes compared; None if not compared.
        sizes: The shapes compared, (B, C, H, W).
    """

    path: Path
    size_bytes: int
    difference: float | None
    sizes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        said = f"{self.path}: {self.size_bytes / 1e6:.2f} MB"
        if self.difference is None:
            return said
        sizes = ", ".join("x".join(map(str, size)) for size in self.sizes)
        return f"{said}, differs from torch by at most {self.difference:.1e} at {sizes}"


def export(
    model: Restorer | str | Path, path: str | Path, *, check: bool = True, halves: bool = True
) -> Exported:
    """Write a model as one ONNX file, input "image" and output "restored", (B, C, H, W).

    Batch, height and width are free; a model with a dense code keeps its own height and width.
    The arithmetic is float32.

    Args:
        model: A model, or what `checkpoints.load` opens. It is not changed.
        path: An .onnx file; replaced if it exists.
        check: Compare with torch at several sizes before the file gets its name.
        halves: Store those weights in 16 bits that lose nothing by it: of a model saved with
            ``halves=True`` that is half of the file.

    Raises:
        CheckpointError: The exported network differs from torch by more than 1e-4.
        MissingExtraError: onnx and onnxscript are not installed.
        OptionError: The path does not end in .onnx, or the model is a codec.
    """
    target = Path(path)
    if target.suffix.lower() != ".onnx":
        raise OptionError(f"'{target}' does not end in .onnx; name the export model.onnx, say")
    need_exporter()
    network = checkpoints.load(model) if isinstance(model, str | Path) else copy.deepcopy(model)
    if isinstance(network, Codec):
        # One graph from image to image would round on the way, here and there to another side.
        raise OptionError(
            f"'{network.kind}' is a codec, which is more than one graph; "
            "name the file .codec.npz (pellucid export MODEL -o mine.codec.npz)"
        )
    network = network.cpu().eval().requires_grad_(False)

    program = _program(network)
    _tidy(program.model, network)
    difference, sizes = _difference(network, program) if check else (None, ())
    if difference is not None and not difference <= TOLERANCE:
        raise CheckpointError(
            f"the exported model differs from torch by {difference:.1e}, more than "
            f"{TOLERANCE:.0e}; {target} was not written; please report this with its options"
        )
    made = program.model_proto
    if halves:
        halve(made.graph)
    whole = made.SerializeToString()
    with atomic(target) as file:
        file.write(whole)
    return Exported(target, len(whole), difference, sizes)


def need_exporter() -> None:
    """Refuse where what PyTorch exports with is missing.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    optional("onnx", "onnx")
    optional("onnxscript", "onnx")


def _program(network: Restorer) -> Any:
    """The traced network, its sizes free where the network's are."""
    free = torch.export.Dim.DYNAMIC
    if network.image_size is None:
        # Neither 1 nor a multiple of the grid: the tracer takes such sizes for promises.
        height, width = (2 * network.multiple_of + odd for odd in (5, 7))
        shapes: dict[int, Any] = {0: free, 2: free, 3: free}
    else:
        height, width = network.image_size
        shapes = {0: free}
    example = torch.rand(2, network.image_channels, height, width)
    with quiet(), torch.inference_mode(False):
        return torch.onnx.export(
            network,
            (example,),
            input_names=["image"],
            output_names=["restored"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(shapes,),
            external_data=False,
            optimize=True,
            verbose=False,
        )


def _tidy(model: Any, network: Restorer) -> None:
    """Name the sizes, attach the card, and drop the exporter's notes."""
    import onnx_ir

    sides = ("height", "width") if network.image_size is None else network.image_size
    for port in (*model.graph.inputs, *model.graph.outputs):
        port.shape = onnx_ir.Shape(["batch", network.image_channels, *sides])
    without_notes(model)
    said = checkpoints.describe(network)
    told = {**said, **{key: value for key, value in network.metadata.items() if not said.get(key)}}
    model.metadata_props["pellucid"] = json.dumps(told, sort_keys=True)
    model.graph.name = network.kind or "restorer"


def without_notes(model: Any) -> None:
    """Drop the notes of where each node came from, and say that the model comes from here.

    Those notes hold stack traces with the paths of this machine.
    """
    for holder in (model, model.graph, *model.graph.all_nodes()):
        holder.metadata_props.clear()
        holder.doc_string = None
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.producer_name, model.producer_version = "pellucid", __version__


def halve(graph: Any) -> None:
    """Keep weights as float16 where that is exact, and cast them back as the file is opened.

    Engines fold the cast away: opening and running take as long as before.
    """
    import onnx

    stored, casts = [], []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            short = values.astype(np.float16)
        if values.dtype == np.float32 and values.size >= _WORTH_IT and (short == values).all():
            name = f"{weight.name}_16"
            stored.append(onnx.numpy_helper.from_array(short, name))
            casts.append(
                onnx.helper.make_node("Cast", [name], [weight.name], to=onnx.TensorProto.FLOAT)
            )
        else:
            stored.append(weight)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(stored)
    graph.node.extend(casts + nodes)


def _difference(network: Restorer, program: Any) -> tuple[float, tuple[tuple[int, ...], ...]]:
    """The largest difference between torch and the file's network, and the shapes tried.

    Where values go far beyond 1, as an untrained network's may, it is relative to the largest.
    """
    generator = torch.Generator().manual_seed(0)
    differences = []
    shapes: list[tuple[int, ...]] = []
    for batch, high, wide in _SIZES:
        if network.image_size is not None:
            high, wide = network.image_size
        shape = (batch, network.image_channels, high, wide)
        if shape in shapes:
            continue
        shapes.append(shape)
        images = torch.rand(shape, generator=generator) * 1.2 - 0.1
        if network.fills_holes:  # which changes nothing else
            lost = torch.rand((batch, 1, high, wide), generator=generator) < 0.5
            images = images.masked_fill(lost, torch.nan)
        with torch.no_grad():
            expected: Tensor = network(images)
        (found,) = program(images)
        scale = max(1.0, float(expected.abs().max()))
        differences.append(float((found - expected).abs().max()) / scale)
    # Python's max would lose a NaN.
    return float(torch.tensor(differences).max()), tuple(shapes)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's remarks on operators that nobody asked for off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
