"""A trained codec as one file that works without torch: networks, tables and whole-number prior.

The networks are ONNX graphs. All that decides which bits stand for which value is whole numbers,
so that every machine reads what any other wrote. An `.npz` without pickles holds it all:

- `card`: JSON as uint8, what the codec is and where it came from;
- `encoder`, `decoder`: ONNX as uint8. `image` (1, C, H, W) and `quality` (1,), from 0, give `y`
  and, of a hyperprior, `z`, with their gains and not rounded; `y` and `quality` give `image`;
- `z_freq`, `z_offset`, `z_size`: rows of `frequencies` for each quality and channel of what has a
  density of its own, `z` or, of a factorised codec, `y`;
- of a hyperprior only: `y_freq`, `y_offset`, `y_size`, rows of the Gaussians; of every layer its
  weight, bias and shuffle, in steps of 2**-12 and 2**-20, `prior_L_weight` and so on, then
  `stage_S_first_weight` and `stage_S_last_weight`; `z_scale`, of the first layer's input, and
  `y_out`, of the stages' means, in steps of 2**-8; `y_back`, of what later stages see, of 2**-16.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid import __version__
from pellucid.errors import CheckpointError, OptionError
from pellucid.images.files import atomic
from pellucid.learn import checkpoints
from pellucid.learn.export import OPSET, TOLERANCE, halve, need_exporter, quiet, without_notes
from pellucid.learn.frequencies import Rows, gaussian_rows, logistic_rows
from pellucid.learn.models import Restorer
from pellucid.learn.models.codec import Codec
from pellucid.learn.models.hyperprior import FINE_GRAIN, GRAIN, HyperpriorCodec
from pellucid.learn.rounding import session

SUFFIX = ".codec.npz"
WEIGHT_GRAIN = 2.0**12
"""Steps of one in the prior's weights; its biases have those of weights and activations."""

_LARGEST_SUM = 2**53
"""Whole numbers below are exact in float64, where the prior's sums are done."""


@dataclass(frozen=True)
class Written:
    """What `write` made.

    Attributes:
        path: The file.
        size_bytes: Its size.
        difference: Largest difference of the graphs to torch, relative where values exceed one.
    """

    path: Path
    size_bytes: int
    difference: float

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, differs from torch by at most "
            f"{self.difference:.1e}"
        )


class _Encoder(nn.Module):
    """From an image to the code with its gain, and the code's own code."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, image: Tensor, quality: Tensor) -> tuple[Tensor, ...]:
        latents = self.codec.latents_of(image)
        y = self.codec.gains(latents, quality)
        if isinstance(self.codec, HyperpriorCodec):
            return y, self.codec.hyper_of(latents, quality)
        return (y,)


class _Decoder(nn.Module):
    """From a rounded code to an image."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, y: Tensor, quality: Tensor) -> Tensor:
        return self.codec.image_of(y, quality)


def write(
    model: Restorer | str | Path,
    path: str | Path,
    *,
    name: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Written:
    """Write a codec as one file for use without torch.

    Its graphs are compared with torch at several sizes and qualities before it gets its name.

    Args:
        model: A 'hyperprior' or 'factorized' model, or what `checkpoints.load` opens. It is not
            changed.
        path: A file that ends in .codec.npz; replaced if it exists.
        name: What the codec is called; the file's name without its suffix where not given.
        metadata: What else the card should say, e.g. ``licence``, ``scores``; the checkpoint's own
            metadata is there already.

    Raises:
        CheckpointError: A graph differs from torch by more than 1e-4, or the prior holds weights
            that whole numbers cannot hold.
        MissingExtraError: onnx and onnxscript are not installed.
        OptionError: The path ends otherwise, or the model is no codec.
    """
    target = Path(path)
    if not target.name.lower().endswith(SUFFIX):
        raise OptionError(f"'{target}' does not end in {SUFFIX}; name it photo{SUFFIX}, say")
    need_exporter()
    network = checkpoints.load(model) if isinstance(model, str | Path) else copy.deepcopy(model)
    if not isinstance(network, Codec):
        raise OptionError(
            f"'{network.kind}' is no codec; train a 'hyperprior' or 'factorized' model "
            "(recipe photo-codec)"
        )
    network = network.cpu().eval().requires_grad_(False)
    name = target.name[: -len(SUFFIX)] if name is None else name
    arrays = {"card": _bytes(json.dumps(_card(network, name, metadata), sort_keys=True).encode())}
    difference = 0.0
    for role, graph, ports, examples in _graphs(network):
        program = _program(graph, ports, examples)
        # Python's max would lose a NaN.
        found = float(torch.tensor([difference, _difference(graph, program, ports, network)]).max())
        if not found <= TOLERANCE:
            raise CheckpointError(
                f"the exported {role} differs from torch by {found:.1e}, more than "
                f"{TOLERANCE:.0e}; {target} was not written; please report this with its options"
            )
        difference = found
        halve(program.graph)
        arrays[role] = _bytes(program.SerializeToString())
    arrays |= _rows("z", logistic_rows(network.density))
    if isinstance(network, HyperpriorCodec):
        arrays |= _rows("y", gaussian_rows()) | _prior(network)
    with atomic(target) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return Written(target, target.stat().st_size, difference)


def _card(network: Codec, name: str, metadata: dict[str, Any] | None) -> dict[str, Any]:
    hyper = isinstance(network, HyperpriorCodec)
    grid = network.multiple_of
    reach_in = network.reach_hyper() if isinstance(network, HyperpriorCodec) else network.reach_in()
    said = {key: value for key, value in network.metadata.items() if value is not None}
    return {
        **checkpoints.describe(network),
        **said,
        **(metadata or {}),
        "name": name,
        "model": network.kind,
        "version": __version__,
        "qualities": network.qualities,
        "lambdas": list(network.lambdas),
        "latents": network.options["latents"],
        "hyper_latents": network.options["hyper_latents"] if hyper else 0,
        "multiple_of": grid,
        "encoder_halo": -(-reach_in.radius // grid) * grid,
        "decoder_halo": -(-network.reach_out().radius // grid) * grid,
        "image_channels": network.image_channels,
    }


def _graphs(network: Codec) -> list[tuple[str, nn.Module, tuple[str, ...], tuple[Tensor, ...]]]:
    """Role, module, names of what goes in and out (with a quality between), and examples."""
    high, wide = 3 * network.multiple_of, 2 * network.multiple_of
    quality = torch.zeros(1, dtype=torch.long)
    image = torch.rand(1, network.image_channels, high, wide)
    y = torch.rand(1, network.options["latents"], 3, 5)
    made = ("y", "z") if isinstance(network, HyperpriorCodec) else ("y",)
    return [
        ("encoder", _Encoder(network), ("image", *made), (image, quality)),
        ("decoder", _Decoder(network), ("y", "image"), (y, quality)),
    ]


def _program(graph: nn.Module, ports: tuple[str, ...], examples: tuple[Tensor, ...]) -> Any:
    """The traced graph as an ONNX model, height and width free."""
    given, *made = ports
    free = torch.export.Dim.DYNAMIC
    with quiet(), torch.inference_mode(False):
        program = torch.onnx.export(
            graph.eval(),
            examples,
            input_names=[given, "quality"],
            output_names=made,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({2: free, 3: free}, None),
            external_data=False,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    without_notes(program.model)
    program.model.graph.name = "codec"
    return program.model_proto


def _difference(graph: nn.Module, program: Any, ports: Sequence[str], network: Codec) -> float:
    """The largest difference to torch, over sizes and the lowest and highest quality."""
    given, *made = ports
    generator = torch.Generator().manual_seed(0)
    runner = session(program)
    differences = []
    for high, wide in ((1, 1), (2, 3), (4, 1)):
        for quality in {0, network.qualities - 1}:
            if given == "image":
                step = network.multiple_of
                shape: tuple[int, ...] = (1, network.image_channels, high * step, wide * step)
                x = torch.rand(shape, generator=generator)
            else:
                shape = (1, network.options["latents"], high, wide)
                x = (8 * torch.randn(shape, generator=generator)).round()
            at = torch.tensor([quality])
            expected = graph(x, at)
            found = runner.run(made, {given: x.numpy(), "quality": at.numpy()})
            expected = expected if isinstance(expected, tuple) else (expected,)
            for one, other in zip(found, expected, strict=True):
                scale = max(1.0, float(other.abs().max()))
                differences.append(float((torch.from_numpy(one) - other).abs().max()) / scale)
    return float(torch.tensor(differences).max())


def _rows(letter: str, rows: Rows) -> dict[str, np.ndarray]:
    return {
        f"{letter}_freq": rows.freq,
        f"{letter}_offset": rows.offset,
        f"{letter}_size": rows.size,
    }


def _prior(network: HyperpriorCodec) -> dict[str, np.ndarray]:
    """The hyper-synthesis in whole numbers.

    Raises:
        CheckpointError: A weight is not finite or too large, or sums could leave float64's range.
    """
    found: dict[str, np.ndarray] = {}
    for name, (weight, bias, shuffle) in network.whole_prior().items():
        whole = _whole(weight, WEIGHT_GRAIN, 31)
        biases = _whole(bias, WEIGHT_GRAIN * GRAIN, 52)
        # The first layer's input is not bounded here but by whoever reads the symbols.
        sums = np.abs(whole.astype(np.float64)).sum((1, 2, 3)) * 2**15 + np.abs(biases)
        if sums.max() >= _LARGEST_SUM:
            raise CheckpointError(
                f"layer {name} of the prior could sum to {sums.max():.1e}, beyond what float64 "
                "adds exactly; train on at a lower learning rate"
            )
        found[f"{name}_weight"] = whole.astype(np.int32)
        found[f"{name}_bias"] = biases
        found[f"{name}_shuffle"] = np.array(shuffle, np.int32)
    out, back = network.latent_scales()
    tables = {
        "z_scale": _whole(network.hyper_scales(), GRAIN, 31),
        "y_out": _whole(out, GRAIN, 31),
        "y_back": _whole(back, FINE_GRAIN, 31),
    }
    return found | {name: table.astype(np.int32) for name, table in tables.items()}


def _whole(values: Tensor, grain: float, bits: int) -> np.ndarray:
    """Values in steps of one over `grain`, which fit in so many bits beside the sign."""
    exact = values.detach().double().numpy()
    steps = np.rint(exact * grain)
    if not (np.abs(steps) < 2**bits).all():  # also where it is not a number
        raise CheckpointError(
            f"the prior holds a weight of {np.abs(exact).max():.1e}, which whole numbers of "
            f"{bits} bits in steps of 1/{grain:.0f} cannot hold; train on at a lower learning rate"
        )
    return steps.astype(np.int64)


def _bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)
