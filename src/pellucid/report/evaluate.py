"""How good a model is: every picture of a data set damaged, restored and scored.

Whole pictures; noise from a generator of its own for each picture, so that its score depends on no
other; the damaged picture scored as it is, the restored one clipped and, for 8-bit data, rounded to
8 bits; means over pictures. The published tables do the same with noise of their own, not clipped:
`published=True` draws exactly that. Read next: `results`, what comes back, and `baselines`, what a
model is held against.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import OptionError
from pellucid.learn import datasets
from pellucid.learn.damage import Damage, parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.models.variational import VariationalAutoencoder
from pellucid.learn.pictures import Pictures
from pellucid.report import rivals
from pellucid.report.likelihood import Likelihood, check_samples, likelihood
from pellucid.report.results import SMALL, Example, Report
from pellucid.report.trial import (
    Pixels,
    Trial,
    check_limit,
    check_seed,
    mean,
    picture,
    scores,
    spread,
)
from pellucid.restore import tiles
from pellucid.restore.denoise import take_back
from pellucid.restore.ensemble import Ensemble
from pellucid.restore.runtime import Runner, open_model

__all__ = ["Report", "evaluate"]

Function = Callable[[Pixels], Pixels]
Model = str | Path | nn.Module | Runner | Function


def evaluate(
    model: Model,
    data: str | Path | Dataset | Pictures,
    damage: str | Damage | None = None,
    *,
    clip: bool | None = None,
    published: bool = False,
    baselines: bool | Sequence[str] = False,
    baselines_limit: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    split: str = "test",
    device: str = "auto",
    ensemble: bool = False,
    samples: int | None = None,
) -> Report:
    """Score a model on data: PSNR, SSIM, RMSE and MAE, damaged and restored; nats, where it can.

    A variational autoencoder's likelihood is told by its ELBO, too, in nats a picture.

    Args:
        model: A name or file, a network in memory, or a function from a picture (H, W, C) float32
            to one of the same shape.
        data: What `pellucid.learn.datasets.load` takes, a `Dataset`, or `Pictures`. Data given by
            name is turned to grey for a grey model.
        damage: For example ``gaussian:25/255``; ``none`` scores reconstruction. None takes the
            damaged partners where the data has them, else the damage that the model was trained on.
            One that is given is done to the clean pictures, whatever partners they have.
        clip: Keep damaged values in [0, 1]; None does, but for a damage that the model learnt from
            without.
        published: Score as the published tables do, to the last draw: numpy's noise, seeded with 0
            for each picture, not clipped whatever `clip` says. For one fixed Gaussian noise.
        baselines: True for all, or names of `BASELINES` and ``pca``.
        baselines_limit: Most pictures for the baselines, spread evenly; 100 unless given.
        limit: Most pictures, spread evenly; None for all.
        seed: Where the damage comes from.
        split: ``train``, ``validation``, ``test`` or ``all``.
        device: 'auto', 'cpu', 'cuda', 'mps' or 'openvino'.
        ensemble: Judge the mean over the eight mirrored and turned views of each picture.
        samples: Also tell the importance-weighted bound of so many draws of the code for each
            picture, which takes so many times as long; for a variational autoencoder.

    Raises:
        PellucidError: Model, data and options do not fit; the message says how.

    Example:
        >>> report = evaluate(lambda picture: picture, "digits", "gaussian:0.1", limit=4)
        >>> report.n, report.restored["psnr"] > 19
        (4, True)
    """
    check_limit(limit)
    check_limit(baselines_limit, "baselines_limit")
    check_samples(samples)
    check_seed(seed)
    chosen = rivals.chosen(baselines)
    training = isinstance(model, nn.Module) and model.training
    some = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    home = None if some is None else some.device
    network = _opened(model, device, ensemble)
    try:
        if samples and network.bounded is None:
            raise _without_likelihood(network.name, ensemble)
        if isinstance(data, str | Path):
            data = datasets.load(data, channels=1 if network.channels == 1 else None)
        pictures = data.split(split) if isinstance(data, Dataset) else data
        done, clipped = _damage(damage, pictures, network.card)
        clip = clipped if clip is None else clip
        if network.fills_holes and not (done and done.holes):
            raise OptionError(
                f"'{network.name}' fills holes and leaves all else as it is, but there are none in "
                f"'{done or 'pairs'}'; give a damage such as mask:0.5 or mask_strokes:0.5"
            )
        missing = math.nan if network.fills_holes else 0.0
        trial = Trial(pictures, done, clip and not published, seed, published, missing)
        indices = spread(len(pictures), limit)
        rows, seconds = _judged(network, trial, indices)
        few = [indices[i] for i in spread(len(indices), baselines_limit or rivals.LIMIT)]
        held = {
            name: rivals.pca(model, network.card, data, trial, few)
            if name == rivals.PCA
            else rivals.classical(name, trial, few)
            for name in chosen
        }
        examples = _examples(network, trial, rows)
        nats = _nats(network, trial, indices, samples)
    finally:
        if isinstance(model, nn.Module):
            model.train(training).to(home)
    on_few = mean([rows[index]["restored"] for index in few])
    return Report(
        model=network.name,
        data=data.name if isinstance(data, Dataset) else "pictures",
        split=split if isinstance(data, Dataset) else "all",
        damage="pairs" if trial.damage is None else str(trial.damage),
        partners=pictures.damaged is not None,
        clipped=trial.damage is not None and trial.clip,
        rounded=trial.rounded,
        seed=seed,
        channels=pictures.channels,
        n=len(indices),
        total=len(pictures),
        damaged=mean([row["damaged"] for row in rows.values()]),
        restored=mean([row["restored"] for row in rows.values()]),
        images=tuple(rows.values()),
        baselines={name: scored.beside(on_few) for name, scored in held.items()},
        seconds=seconds,
        examples=examples,
        protocol="published" if published else "own",
        likelihood=nats,
    )


@dataclass(frozen=True)
class _Network:
    """A model that is ready to run.

    Attributes:
        name: For reports.
        run: From (B, C, H, W) to the same shape.
        channels: What `run` takes; None where it takes what it gets.
        card: The model's metadata.
        fills_holes: Missing pixels come to it as NaN.
        bounded: The network itself where the likelihood of pictures has a bound under it.
    """

    name: str
    run: Function
    channels: int | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    fills_holes: bool = False
    bounded: VariationalAutoencoder | None = None

    def restore(self, damaged: Tensor) -> Tensor:
        """Restored pictures (B, C, H, W), grey or colour, whatever `run` takes."""
        images = damaged.numpy()
        channels = images.shape[1]
        if self.channels in (None, channels):
            restored = self.run(images)
        elif channels == 1:
            restored = self.run(images.repeat(3, axis=1)).mean(axis=1, keepdims=True)
        else:
            planes = self.run(images.reshape(-1, 1, *images.shape[2:]))
            restored = planes.reshape(images.shape)
        return torch.from_numpy(np.ascontiguousarray(restored, np.float32))


def _opened(model: Model, device: str, ensemble: bool) -> _Network:
    if isinstance(model, str | Path | nn.Module) or hasattr(model, "channels"):
        runner = open_model(cast(Any, model), device=device)
        inside = None if ensemble else getattr(runner, "model", None)
        bounded = inside if isinstance(inside, VariationalAutoencoder) else None
        if ensemble:
            runner = Ensemble(runner)
        # A network of somebody else's does not say what it takes.
        free = isinstance(model, nn.Module) and not hasattr(model, "image_channels")
        channels = None if free else runner.channels
        holes = bool(getattr(runner, "fills_holes", False))
        return _Network(
            runner.name,
            lambda images: _run(runner, images),
            channels,
            runner.metadata,
            holes,
            bounded,
        )
    if not callable(model):
        raise OptionError(
            f"a model is a name, a file, a network or a function, not {type(model).__name__}"
        )
    if ensemble:
        raise OptionError("an ensemble is made of a network; a function may turn pictures itself")
    name = getattr(model, "__name__", type(model).__name__)
    return _Network(name, lambda images: _one_by_one(model, images))


def _run(runner: Runner, images: Pixels) -> Pixels:
    """A batch through the network, as `denoise` would do it."""
    restored = _through(runner, images)
    for image, place in zip(images, restored, strict=True):
        before, after = image.transpose(1, 2, 0), place.transpose(1, 2, 0)
        take_back(before, after, runner.metadata)
    return restored


def _through(runner: Runner, images: Pixels) -> Pixels:
    """A batch through the network, large pictures window by window."""
    cut = tiles.plan(
        *images.shape[2:],
        halo=runner.halo,
        multiple=runner.multiple_of,
        size=runner.image_size,
    )
    if cut.whole:
        return runner(images)
    restored = np.empty_like(images)
    for image, place in zip(images, restored, strict=True):
        planes, target = image.transpose(1, 2, 0), place.transpose(1, 2, 0)

        def read(rows: slice, columns: slice, planes: Pixels = planes) -> Pixels:
            return planes[rows, columns]

        def write(rows: slice, columns: slice, pixels: Pixels, target: Pixels = target) -> None:
            target[rows, columns] = pixels

        tiles.run(cut, lambda x: runner(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1), read, write)
    return restored


def _nats(
    network: _Network, trial: Trial, indices: Sequence[int], samples: int | None
) -> Likelihood | None:
    """The likelihood, unless the model has none, or sees a picture only channel by channel."""
    if network.bounded is None:
        return None
    if network.channels != trial.pictures.channels:
        if samples:
            raise OptionError(
                f"the pictures have {trial.pictures.channels} channels and the likelihood is of "
                f"{network.channels}; load them with channels={network.channels}"
            )
        return None
    return likelihood(network.bounded, trial, indices, samples)


def _without_likelihood(name: str, ensemble: bool) -> OptionError:
    if ensemble:
        return OptionError("an ensemble has no likelihood; leave ensemble or samples out")
    return OptionError(
        f"'{name}' has no likelihood that draws could bound; leave samples out, or give the "
        "checkpoint of a variational autoencoder, such as a run of 'pellucid train r3-variational'"
    )


def _one_by_one(function: Function, images: Pixels) -> Pixels:
    """A batch through a function that takes one picture (H, W, C)."""
    restored = []
    for image in images.transpose(0, 2, 3, 1):
        given = np.ascontiguousarray(image)
        restored.append(np.asarray(function(given), np.float32))
        if restored[-1].shape != image.shape:
            raise OptionError(
                f"the function made {restored[-1].shape} of a picture {image.shape}; "
                "it must keep (H, W, C)"
            )
    return np.stack(restored).transpose(0, 3, 1, 2)


def _judged(
    network: _Network, trial: Trial, indices: Sequence[int]
) -> tuple[dict[int, dict[str, Any]], float]:
    """The scores of each picture, in the order of the indices, and the model's seconds."""
    rows: dict[int, dict[str, Any]] = {index: {} for index in indices}
    seconds = 0.0
    for batch in trial.batches(indices):
        pairs = [trial.pair(index) for index in batch]
        damaged = torch.cat([pair.damaged for pair in pairs])
        clean = torch.cat([pair.clean for pair in pairs])
        started = time.perf_counter()
        restored = network.restore(damaged)
        seconds += time.perf_counter() - started
        before = scores(damaged.nan_to_num(0), clean)
        after = scores(trial.finished(restored), clean)
        for i, index in enumerate(batch):
            told = trial.told(index, pairs[i])
            rows[index] = {**told, "damaged": before[i], "restored": after[i]}
    return rows, seconds


def _examples(
    network: _Network, trial: Trial, rows: Mapping[int, Mapping[str, Any]]
) -> tuple[Example, ...]:
    """Best, median and worst by PSNR of the restored, run once more; three each of small ones."""

    def rank(index: int) -> float:
        value = float(rows[index]["restored"]["psnr"])
        return value if math.isfinite(value) else -math.inf

    order = sorted(rows, key=rank, reverse=True)
    n = len(order)
    small = int(trial.pictures.sizes[order].max()) <= SMALL
    each = 3 if small and n >= 9 else 1
    middle = (n - each) // 2
    chosen = [(order[i], "best") for i in range(each)]
    if n > 2:
        chosen += [(order[i], "median") for i in range(middle, middle + each)]
    if n > 1:
        chosen += [(order[i], "worst") for i in range(n - each, n)]
    else:
        chosen = [(order[0], "")]
    found = []
    for index, label in chosen:
        pair = trial.pair(index)
        restored = trial.finished(network.restore(pair.damaged))
        before, after = rows[index]["damaged"]["psnr"], rows[index]["restored"]["psnr"]
        shown = pair.damaged.nan_to_num(0)
        parts = picture(pair.clean), picture(shown), picture(restored)
        name = PurePath(rows[index]["path"] or "").name
        found.append(Example(label, name, *parts, before=before, after=after))
    return tuple(found)


def _damage(
    damage: str | Damage | None, pictures: Pictures, card: Mapping[str, Any]
) -> tuple[Damage | None, bool]:
    """What to do to the pictures, none where they bring damaged partners, and whether to clip."""
    if damage is not None:
        return parse(damage), True
    if pictures.damaged is not None:
        return None, True
    recipe = card.get("recipe")
    told = recipe.get("damage") if isinstance(recipe, dict) else None
    spoilt = told if isinstance(told, dict) else {}
    learnt = spoilt.get("with")
    if not isinstance(learnt, str):
        raise OptionError(
            "the pictures have no damaged partners and the model does not say what it was trained "
            "on; give the damage, for example gaussian:25/255, or none to score reconstruction"
        )
    return parse(learnt), spoilt.get("clip") is not False
