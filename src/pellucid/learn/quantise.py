"""Trained models as int8 ONNX: most convolutions in 8 bits, over twice as fast on a processor.

ONNX Runtime writes the file; the ranges that activations are rounded over are our own. Each is the
one with the least squared error on crops of what the network was trained on. At sigma 5 that lost
0.012 dB; the extremes lost 0.017, 99.99 % of the values 0.029. Sums, the first and the last
convolution and the last residual block stay in float: there rounding is seen at once, and they
cost little. Of the others as many as it takes: faint noise, which leaves pictures of 45 dB, shows
rounding that strong noise hides.
Read next: `rounding`, which does it, and `export`, which makes the float model to start from.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import CheckpointError, DataError, OptionError, PellucidError
from pellucid.images.files import atomic
from pellucid.learn import checkpoints, datasets
from pellucid.learn.damage import Damage, OneOf, Stage, parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.export import export
from pellucid.learn.metrics import psnr
from pellucid.learn.models import Restorer
from pellucid.learn.pictures import Pictures
from pellucid.learn.rounding import Rounding, session

LIMIT = 0.05
"""Largest loss against the float model, in dB on held-out crops, that a file may have."""

CROPS, HELD, FELT, SIDE = 48, 32, 8, 96
"""Crops to calibrate on, crops to compare on, those of them on which convolutions are compared, and
their side at most."""

WHITE = 4
"""Crops that are all white, to calibrate on beside the others: nothing is brighter, and few
photographs show that. Without them a white page came back with a corner 4 of 255 too dark."""

SIGMAS = (2, 5, 15, 25, 50)
"""Noise levels (of 255) to compare at, where a network was trained on a range with them in it."""

_READ = 1024
"""Training pictures read at most, evenly over the whole."""


@dataclass(frozen=True)
class Quantised:
    """What `quantise` made.

    Args:
        path: The file.
        size_bytes: Its size.
        loss_db: For each damage, how much PSNR is lost against the float model.
        data: The pictures that this was measured on.
    """

    path: Path
    size_bytes: int
    loss_db: dict[str, float]
    data: str

    def __str__(self) -> str:
        losses = ", ".join(
            # A recipe of many alternatives would fill the screen; the card has it in full.
            f"{loss:.3f} dB at {'the damage of its recipe' if '|' in damage else damage}"
            for damage, loss in self.loss_db.items()
        )
        return (
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, int8, loses {losses} "
            f"on held-out pictures of '{self.data}'"
        )


def quantise(
    model: Restorer | str | Path,
    path: str | Path,
    *,
    data: str | Path | Dataset | None = None,
    seed: int = 0,
) -> Quantised:
    """Write a model as an ONNX file that computes in int8, for processors.

    Used as any exported model; batch, height and width stay as free as `export` leaves them. The
    same seed gives the same file. Old processors (x86 without VNNI) sum 8-bit products in 16 bits,
    which may overflow; the loss that is said is that of the processor at hand.

    Args:
        model: A model whose card has a recipe, or what `checkpoints.load` opens; not changed.
        path: An .onnx file; replaced if it exists.
        data: Where calibration and comparison get their pictures: a data set or its name. The
            one that the model was trained on unless given.
        seed: Decides crops and damage.

    Raises:
        CheckpointError: Too few convolutions, or a loss above `LIMIT` with half of them in float;
            nothing is written.
        DataError: The model's own data cannot be loaded, or the pictures do not fit.
        MissingExtraError: onnx and onnxscript are not installed.
        OptionError: The path does not end in .onnx; the model has no recipe; no such data.
    """
    network = checkpoints.load(model) if isinstance(model, str | Path) else model
    target = Path(path)
    damage, clip = _recipe(network)
    with tempfile.TemporaryDirectory() as folder:
        # Another suffix is refused under the name that was given.
        draft = Path(folder) / "model.onnx" if target.suffix.lower() == ".onnx" else target
        export(network, draft, halves=False)
        graph = Rounding(draft)
    pictures = _pictures(network, data)
    chance = torch.Generator().manual_seed(seed)
    _, damaged = _crops(network, pictures, "train", CROPS, damage, clip, chance)
    damaged = torch.cat([damaged, torch.ones_like(damaged[:WHITE])])
    ranges = graph.ranges(damaged, np.random.default_rng(seed))
    held = {}
    for one in (damage, *_levels(damage)):
        chance = torch.Generator().manual_seed(seed + 1)
        held[str(one)] = _crops(network, pictures, "validation", HELD, one, clip, chance)
    whole, losses = _rounded(graph, ranges, held)
    worst = max(losses, key=lambda name: (np.isnan(losses[name]), losses[name]))
    # Not `losses[worst] > LIMIT`, which a NaN would pass.
    if not losses[worst] <= LIMIT:
        raise CheckpointError(
            f"with half of its convolutions in int8 this model still loses {losses[worst]:.2f} dB "
            f"at {worst}, more than {LIMIT}; {target} was not written; export it without --int8"
        )
    kept = {"loss_db": losses, "data": pictures.name, "seed": seed, "float": graph.in_float}
    written = graph.content(whole, {"int8": kept})
    with atomic(target) as file:
        file.write(written)
    return Quantised(target, len(written), losses, pictures.name)


def _rounded(
    graph: Rounding,
    ranges: dict[str, tuple[float, float]],
    held: dict[str, tuple[Tensor, Tensor]],
) -> tuple[Any, dict[str, float]]:
    """The network in int8, and its losses; up to half of it is left in float to meet `LIMIT`."""
    exact = graph.session()
    before = {name: _score(exact, damaged, clean) for name, (clean, damaged) in held.items()}
    order: list[Any] = []
    fewest = len(graph.inner) - len(graph.inner) // 2
    while True:
        whole = graph.quantised(ranges)
        rounded = session(whole)
        losses = {
            name: round(before[name] - _score(rounded, damaged, clean), 4)
            for name, (clean, damaged) in held.items()
        }
        if len(graph.inner) == fewest or all(loss <= LIMIT for loss in losses.values()):
            return whole, losses
        worst = max(losses, key=lambda name: losses[name])
        order = order or graph.felt(ranges, held[worst][1][:FELT])
        graph.leave(order.pop(0))


def _recipe(network: Restorer) -> tuple[Damage, bool]:
    """What the network was trained to undo, and whether that was clipped."""
    told = (network.metadata.get("recipe") or {}).get("damage")
    if not told:
        raise OptionError(
            "the model's card has no recipe that says what it undoes, so int8 cannot be "
            "calibrated; train it with 'pellucid train', or export it without --int8"
        )
    return parse(told["with"]), bool(told.get("clip", True))


def _pictures(network: Restorer, given: str | Path | Dataset | None) -> Dataset:
    if isinstance(given, Dataset):
        return given
    told = (network.metadata.get("recipe") or {}).get("data") or {}
    channels, size = network.image_channels, told.get("size")
    if given is not None:
        return datasets.load(given, channels=channels, size=size, limit=_READ)
    name = told.get("name")
    if not name:
        raise OptionError("the model's card names no data; give --data NAME")
    try:
        limit = min(_READ, told.get("limit") or _READ)
        return datasets.load(name, channels=channels, size=size, limit=limit)
    except PellucidError as error:
        raise DataError(
            f"the model was trained on '{name}', which cannot be loaded here; give --data NAME, "
            f"pictures like those ({error})"
        ) from error


def _crops(
    network: Restorer,
    data: Dataset,
    split: str,
    count: int,
    damage: Damage,
    clip: bool,
    chance: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Clean and damaged crops, evenly from all pictures of the split."""
    pictures: Pictures = data.split(split)
    if pictures.channels != network.image_channels:
        raise DataError(
            f"data '{data.name}' has {pictures.channels} channels but the model takes "
            f"{network.image_channels}; give --data with pictures of that kind"
        )
    side = min(SIDE, pictures.smallest)
    size = network.image_size or (side, side)
    if bool((pictures.sizes < torch.tensor(size)).any()):
        raise DataError(
            f"the pictures of '{data.name}' are smaller than {size[0]}x{size[1]}, which is all "
            "that the model takes; give --data with larger ones"
        )
    chosen = torch.arange(count) * len(pictures) // count
    clean, damaged = pictures.crops(chosen, size, generator=chance, flipped=False)
    if damaged is None:
        damaged = damage(clean, generator=chance, clip=clip, missing=network.missing)
    return clean, damaged


def _levels(damage: Damage) -> tuple[Damage, ...]:
    """Single levels of a range of Gaussian noise, which tables are usually of."""
    choices = damage.choices if isinstance(damage, OneOf) else (damage,)
    ranges = [
        choice.stages[0]
        for choice in choices
        if [stage.name for stage in choice.stages] == ["gaussian"] and choice.blind
    ]
    if not ranges:
        return ()
    widest = max(ranges, key=lambda stage: stage.high - stage.low)
    return tuple(
        Damage((Stage("gaussian", sigma / 255, sigma / 255),))
        for sigma in SIGMAS
        if widest.low <= sigma / 255 <= widest.high
    )


def _score(network: Any, damaged: Tensor, clean: Tensor) -> float:
    """Mean PSNR of what a network restores, clipped as files are."""
    restored = [network.run(["restored"], {"image": x[None].numpy()})[0] for x in damaged]
    return float(psnr(torch.from_numpy(np.concatenate(restored)).clamp(0, 1), clean).mean())
