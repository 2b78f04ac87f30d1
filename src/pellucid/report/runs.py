"""A training run and the folder that it leaves: weights, recipe, history, curves and panels.

`run` follows a recipe, `fit` takes a model and data in Python; both end here, since the folder is
where making a network and looking at it meet.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid import __version__
from pellucid.errors import OptionError
from pellucid.images.files import atomic
from pellucid.learn import checkpoints, datasets, recipes, training
from pellucid.learn.damage import Damage, parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.lesson import Row
from pellucid.learn.models import Restorer, create
from pellucid.learn.recipes import Recipe
from pellucid.learn.revive import closed_share, revive
from pellucid.report.advice import advice
from pellucid.report.evaluate import Report, evaluate
from pellucid.report.panel import panel
from pellucid.report.plots import curves
from pellucid.report.results import UNDAMAGED

CURVES_EVERY_SECONDS = 10.0
MANY_CLOSED = 0.25
"""Share of units that never open above which the advice speaks of them."""

HISTORY = "history.csv"
RECIPE = "recipe.toml"
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
"""Where launchers say which process of a run this is."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        model: With the weights of the best epoch.
        history: One row for each epoch; the columns of ``history.csv``.
        advice: What the curves say, in a line.
        folder: Where everything is kept, or None.
        test: Scores on the test part, or None where it was not asked for.
        prepared: Epochs at the start that did not teach the whole model yet, as those of a
            stacked autoencoder.
    """

    model: Restorer
    history: list[Row]
    advice: str
    folder: Path | None
    test: Report | None
    prepared: int = 0

    @property
    def judged(self) -> list[Row]:
        """The rows of the epochs that taught the whole model; all where training ended before."""
        return self.history[self.prepared :] or self.history


def fit(
    model: Restorer,
    data: str | Path | Dataset,
    damage: str | Damage = "none",
    *,
    out: str | Path | None = None,
    clip: bool = True,
    device: str = "auto",
    progress: bool = False,
    **settings: Any,
) -> Run:
    """Train a model in Python.

    Args:
        model: From `pellucid.create` or `pellucid.load`; it is trained in place.
        data: Name of a data set, a folder, ``noisy:clean`` folders, an ``.npz``, or a `Dataset`.
        damage: What to undo, e.g. ``gaussian:0.1``; 'none' trains a plain autoencoder.
        out: Run folder to keep; None keeps nothing on disk.
        clip: Keep damaged values in [0, 1].
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        progress: Show a bar on standard error.
        **settings: The keys of a recipe's ``[train]``: ``epochs``, ``batch``, ``loss`` ...

    Returns:
        The trained model, its history and one line of advice.

    Raises:
        PellucidError: Data, model and settings do not fit together; the message says how.

    Example:
        >>> import pellucid
        >>> model = pellucid.create("conv", channels=(8,), down="max", up="nearest")
        >>> run = pellucid.fit(model, "digits", damage="gaussian:0.2", epochs=1)
        >>> len(run.history)
        1
    """
    if settings.get("start") is not None:
        raise OptionError(
            f"start is for recipes; to train '{settings['start']}' on, give fit the model itself: "
            "pellucid.load(...)"
        )
    damage = parse(damage)
    name = data.name if isinstance(data, Dataset) else str(data)
    recipe = recipes.build(
        {
            "model": {"name": model.kind, **model.options},
            "data": {"name": name, "channels": model.image_channels},
            "damage": {"with": str(damage), "clip": clip},
            "train": settings,
        },
        "fit",
    )
    if not isinstance(data, Dataset):
        data = datasets.load(data, channels=model.image_channels)
    return _train(model, data, recipe, _new_folder(out, recipe), device=device, progress=progress)


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    progress: bool = False,
    tensorboard: bool = False,
) -> Run:
    """Follow a recipe, and leave a run folder.

    Args:
        recipe: From `recipes.read`.
        out: The folder; it must not hold another run unless `resume` is given.
        resume: Go on where the run in the folder stopped, to the very weights that it would have
            had.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        devices: Processes on this machine that share each batch.
        nodes: Machines that do.
        progress: Show a bar on standard error.
        tensorboard: Also write TensorBoard's events.
    """
    begun = resume and _holds_run(Path(out))
    folder = _taken_up(Path(out), recipe) if begun else _new_folder(out, recipe)
    wanted = recipe.data
    data = datasets.load(
        wanted.name, channels=wanted.channels, size=wanted.size, limit=wanted.limit
    )
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.model.items()}
    options.setdefault("image_channels", data.train.channels)
    if options.get("code_size") and data.train.uniform:
        options.setdefault("image_size", tuple(data.train.sizes[0].tolist()))
    torch.manual_seed(recipe.train.seed)
    model = create(str(options.pop("name")), **options)
    if recipe.train.start:
        checkpoints.begin(model, recipe.train.start)
        spoiled = parse(recipe.damage.spec)
        revive(model, data.train, spoiled, clip=recipe.damage.clip, seed=recipe.train.seed)
    return _train(
        model,
        data,
        recipe,
        folder,
        resume=resume,
        device=device,
        devices=devices,
        nodes=nodes,
        progress=progress,
        tensorboard=tensorboard,
    )


def _train(model: Restorer, data: Dataset, recipe: Recipe, folder: Path | None, **how: Any) -> Run:
    damage = parse(recipe.damage.spec)
    if data.train.damaged is not None:
        damage = Damage()
    # What a model was begun from was learnt from something, too.
    terms = (data.licence, model.metadata.get("licence") or "")
    licences = dict.fromkeys(term for one in terms for term in one.split("; "))
    origin = {
        "recipe": recipe.model_dump(by_alias=True),
        "data": data.name,
        "licence": "; ".join(filter(None, licences)),
    }
    diary = None
    if folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot make the run folder {folder}: {error.strerror}") from error
    if folder and first_process():
        diary = _Diary(folder, recipe)
    started = time.perf_counter()
    result = training.train(
        model,
        data,
        damage,
        recipe.train,
        clip=recipe.damage.clip,
        folder=folder,
        watch=diary,
        metadata=origin,
        **how,
    )
    # As a loaded model has it: what it was trained on is asked for when it is judged.
    result.model.metadata = checkpoints.describe(result.model, **origin)
    said = advice(result.judged)
    if folder is None:
        return Run(result.model, result.history, said, None, None, result.prepared)
    if not first_process():
        raise SystemExit(0)
    test = evaluate(
        result.model,
        data,
        None if data.train.damaged is not None else damage,
        clip=recipe.damage.clip,
        seed=recipe.train.seed,
        device=how.get("device", "auto"),
    )
    said = _warning(test) or said
    closed = closed_share(result.model, data.train, damage, clip=recipe.damage.clip)
    if closed > MANY_CLOSED:
        said += (
            f" {closed:.0%} of its rectified units never open and do nothing: lower "
            "train.learning_rate, or train on with train.start, which begins them anew."
        )
    _report(folder, recipe, data, result, test, closed, said, time.perf_counter() - started)
    return Run(result.model, result.history, said, folder, test, result.prepared)


class _Diary:
    """Writes what an epoch has to show: the history, the panel, and now and then the curves."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.drawn = 0.0
        self.told = False

    def __call__(self, epoch: training.Epoch) -> None:
        row = epoch.history[-1]
        # Not before: a run that is refused leaves an empty folder, to be tried again.
        (self.folder / "epochs").mkdir(exist_ok=True)
        kept = self.folder / RECIPE
        if not self.told and not (kept.exists() and recipes.read(kept) == self.recipe):
            _write(kept, self.recipe.to_toml())
        self.told = True
        _write(self.folder / HISTORY, _table(epoch.history))
        parts = (epoch.clean, epoch.damaged, epoch.restored)
        panel(
            [_pictures(part) for part in parts],
            self.folder / "epochs" / f"{row['epoch']:04d}.png",
            rows=("clean", "damaged", "restored"),
            title=f"epoch {row['epoch']}: {row['val_psnr']:.2f} dB, SSIM {row['val_ssim']:.3f}",
        )
        now = time.monotonic()
        if epoch.last or now - self.drawn > CURVES_EVERY_SECONDS:
            curves(epoch.history, self.folder / "curves.png")
            self.drawn = now


def _report(
    folder: Path,
    recipe: Recipe,
    data: Dataset,
    result: training.Result,
    test: Report,
    closed: float,
    said: str,
    seconds: float,
) -> None:
    """Write ``report.json``, the test panel, and the scores into the checkpoint."""
    scores = json.loads(test.to_json())
    best = result.best
    loss = training.mean_loss(
        result.model, data.test, parse(recipe.damage.spec), recipe.train, clip=recipe.damage.clip
    )
    told = {
        "about": recipe.about,
        "version": __version__,
        "data": {part: len(getattr(data, part)) for part in ("train", "validation", "test")},
        "epochs": len(result.history),
        "best_epoch": best["epoch"],
        "validation": {k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")},
        "test": {
            "n": scores["n"],
            "loss": loss,
            "damaged": scores["damaged"],
            "restored": scores["restored"],
        },
        "closed_units": round(closed, 4),
        "advice": said,
        "seconds": round(sum(row["seconds"] for row in result.history), 1),
        "seconds_in_all": round(seconds, 1),
        "device": result.device,
        "precision": result.precision,
        "parameters": sum(p.numel() for p in result.model.parameters()),
    }
    told = _finite(told)
    _write(folder / "report.json", json.dumps(told, indent=2) + "\n")
    test.panel(folder / "test.png")
    result.model.metadata["scores"] = {"validation": told["validation"], "test": told["test"]}
    checkpoints.save(result.model, folder / training.WEIGHTS)
    curves(result.judged, folder / "curves.png")


def _warning(test: Report) -> str | None:
    """What to say of a model that makes pictures worse than they came, as a collapsed one does."""
    # By the error and not by decibels, of which a picture that came clean has more than can be.
    before, after = test.damaged["rmse"], test.restored["rmse"]
    if test.damage == UNDAMAGED or not after > before:
        return None
    return (
        f"The model makes pictures worse than they came: RMSE {after:.5f} from {before:.5f}. "
        "If its pictures are flat, training has collapsed: lower train.learning_rate, or set "
        "train.warmup=0.05 and train.clip_gradient=0.1."
    )


def first_process() -> bool:
    """Whether this is the process that writes, among those that share a run."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def _holds_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (training.STATE, HISTORY, training.WEIGHTS))


def _new_folder(out: str | Path | None, recipe: Recipe) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    if folder.is_file():
        raise OptionError(f"{folder} is a file; a run needs a folder of its own")
    if first_process() and _holds_run(folder):
        raise OptionError(
            f"{folder} holds a run already; go on with it (--resume) or give another folder"
        )
    kept = folder / RECIPE
    if first_process() and kept.exists() and recipes.read(kept) != recipe:
        raise OptionError(f"{kept} is another recipe and would be replaced; give -o another folder")
    return folder


def _taken_up(folder: Path, recipe: Recipe) -> Path:
    """The folder of a run to resume, after a look whether it is the same run."""
    kept = folder / RECIPE
    before = recipes.read(kept) if kept.exists() else recipe
    # How far an open-ended run got, and so which epochs it may take, is for `training` to say.
    same = before.model_copy(update={"train": recipe.train})
    told = same if recipe.train.continues(before.train, 0) else before
    for section in ("model", "data", "damage", "train"):
        if getattr(told, section) != getattr(recipe, section):
            raise OptionError(
                f"{folder} was begun with another [{section}]; a resumed run goes on as it "
                f"began: give --resume the recipe {kept}, or train into another folder"
            )
    if not first_process():
        return folder
    _check_state(folder)
    for draft in [*folder.glob(".*.part"), *folder.glob("epochs/.*.part")]:
        draft.unlink(missing_ok=True)
    return folder


def _check_state(folder: Path) -> None:
    """Refuse to begin anew over a run of some epochs whose state is gone."""
    history, state = folder / HISTORY, folder / training.STATE
    if state.exists() or not history.exists():
        return
    epochs = len(history.read_text(encoding="utf-8", errors="replace").splitlines()) - 1
    # Of the first epoch a kill may leave the history and no state yet.
    if epochs > 1:
        raise OptionError(
            f"{folder} has done {epochs} epochs, but {state.name}, to go on from, is not there; "
            f"train into another folder, with --set train.start={folder} to begin with its weights"
        )


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for, as after a run that diverged."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(batch: Tensor) -> list[np.ndarray]:
    return list(batch.clamp(0, 1).permute(0, 2, 3, 1).numpy())


def _table(history: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic(path) as file:
        file.write(text.encode())
