"""Train a model: the run's loop, what it keeps on disk, and how it goes on after a stop.

Lightning runs the loop; `lesson` says what a step is. After every epoch the state is written
beside its place and renamed, so that a run killed at any moment resumes from a whole epoch and ends
with the very weights of an unbroken run.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import lightning.pytorch as pl
import torch
from torch import Tensor

from pellucid.errors import CheckpointError, DataError, OptionError
from pellucid.learn import checkpoints, machine
from pellucid.learn.damage import Damage
from pellucid.learn.datasets import Dataset
from pellucid.learn.lesson import DRAWN, VALIDATION_PIXELS, Lesson, Row, judged_side, seeded
from pellucid.learn.models import Restorer
from pellucid.learn.pictures import Pictures
from pellucid.learn.recipes import OPEN, Train

# Lightning speaks of tips, workers and precision plugins that do not concern a reader of ours.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")

WEIGHTS = "model.safetensors"
ROW = ("epoch", "train_loss", "val_loss", "val_psnr", "val_ssim", "val_rmse", "lr", "seconds")
"""What the history tells of each epoch."""
STATE = "last.ckpt"


@dataclass(frozen=True)
class Epoch:
    """What is known when an epoch has ended.

    Attributes:
        history: A row for each epoch so far, this one last.
        clean: The same validation pictures each epoch, (N, C, H, W) in [0, 1], with `damaged` and
            `restored` of the same shape.
        improved: Whether this is the best epoch so far.
        last: Whether training ends here.
    """

    history: list[Row]
    clean: Tensor
    damaged: Tensor
    restored: Tensor
    improved: bool
    last: bool


@dataclass(frozen=True)
class Result:
    """A finished training: `model` holds the weights of the best epoch.

    Attributes:
        model: The trained model.
        history: A row for each epoch.
        precision: 'float32' or 'bfloat16'.
        device: Where it was trained.
        prepared: Epochs at the start that did not teach the whole model yet.
    """

    model: Restorer
    history: list[Row]
    precision: str
    device: str
    prepared: int = 0

    @property
    def judged(self) -> list[Row]:
        """The rows of the epochs that taught the whole model; all where training ended before."""
        return self.history[self.prepared :] or self.history

    @property
    def best(self) -> Row:
        """The row of the epoch with the lowest validation loss."""
        return min(self.judged, key=lambda row: (math.isnan(row["val_loss"]), row["val_loss"]))


def train(
    model: Restorer,
    data: Dataset,
    damage: Damage,
    settings: Train,
    *,
    clip: bool = True,
    folder: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    watch: Callable[[Epoch], None] | None = None,
    progress: bool = False,
    tensorboard: bool = False,
    metadata: dict[str, Any] | None = None,
) -> Result:
    """Train `model` to undo `damage` on the pictures of `data`.

    On a CPU the same seed gives the same weights to the last bit.

    Args:
        model: Trained in place; ends with the weights of the best epoch.
        data: Its training part is learnt from, its validation part judged each epoch.
        damage: What to undo; not used where the data brings damaged partners.
        settings: See `Train`.
        clip: Keep damaged values in [0, 1].
        folder: Where to keep the best weights and the state; None keeps nothing.
        resume: Go on from the state in `folder`, if there is one.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        devices: Processes on this machine that share each batch.
        nodes: Machines that share each batch.
        watch: Called after every epoch, on the first process.
        progress: Show a bar on standard error.
        tensorboard: Also write TensorBoard's events into `folder`.
        metadata: What the checkpoint should say of its origin; see `checkpoints.describe`.

    Raises:
        DataError: Data and model do not fit together.
        OptionError: An option that the model or the machine cannot follow.
    """
    on = machine.device(device)
    if on.type == "cpu":
        machine.keep_memory()
    if settings.loss:
        model.use_loss(settings.loss)
    if not model.metadata:
        model.start_at(data.train.mean)
    model.train()
    state = folder / STATE if folder and resume and (folder / STATE).exists() else None
    begun = _begun(state) if state else None
    half = _halves(settings, begun, on)
    lesson = Lesson(model, data, damage, settings, clip=clip, halves=half)
    if folder:
        lesson.fingerprints = [data.train.fingerprint, data.validation.fingerprint]
    if begun and begun["fingerprints"] not in (None, lesson.fingerprints):
        raise DataError(
            f"the pictures of '{data.name}' are not those that the run in {folder} began with; a "
            "resumed run goes on as it began: give it the same pictures, or train into another "
            "folder"
        )
    prepared = model.preparing(settings.epochs)
    # What is not due gets no gradient, and processes that share a batch must know of that.
    shared = "ddp_find_unused_parameters_true" if prepared else "ddp"
    keeper = _Keeper(folder, watch, metadata or {})
    trainer = pl.Trainer(
        accelerator=on.type,
        devices=[on.index] if on.index is not None else devices,
        num_nodes=nodes,
        strategy=shared if devices * nodes > 1 else "auto",
        precision="bf16-mixed" if half else "32-true",
        max_epochs=settings.epochs,
        callbacks=[keeper, *([_Bar()] if progress else [])],
        logger=_tensorboard(folder) if tensorboard else False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10**9,
    )
    done = _finished(begun, settings, prepared) if begun else None
    if done is None:
        _fit(trainer, lesson, state)
        history, best = lesson.history, keeper.best_state
    else:
        history, best = done, None
    if best is None and folder is not None:
        best = checkpoints.load(folder).state_dict()
    if best is not None:
        model.load_state_dict(best)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model.cpu().eval()
    return Result(model, history, "bfloat16" if half else "float32", str(on), prepared)


@torch.no_grad()
def mean_loss(
    model: Restorer, pictures: Pictures, damage: Damage, settings: Train, *, clip: bool = True
) -> float:
    """The model's loss over a split that training did not see, in float32 on the CPU.

    Pictures of mixed sizes are judged by a crop from their middle.
    """
    total, crop = 0.0, judged_side(pictures, model, settings.crop)
    # As many as validation takes at a time: whole photographs by the hundred would fill memory.
    pixels = crop**2 if crop else int(pictures.sizes[0].prod())
    size = min(256, max(1, VALIDATION_PIXELS // (pixels * 8)))
    for start in range(0, len(pictures), size):
        batch = torch.arange(start, min(start + size, len(pictures)))
        clean, damaged = pictures.crops(batch, crop) if crop else pictures.whole(batch)
        seeds = (settings.seed, 4, start)
        if damaged is None:
            chance = seeded(torch.device("cpu"), *seeds)
            damaged = damage(clean, generator=chance, clip=clip, missing=model.missing)
        drawn = seeded(torch.device("cpu"), *seeds, DRAWN)
        terms = model.loss(damaged, clean, generator=drawn)
        total += float(sum(terms.values())) * len(batch)
    return total / len(pictures)


def _fit(trainer: pl.Trainer, lesson: Lesson, state: Path | None) -> None:
    try:
        trainer.fit(lesson, ckpt_path=state, weights_only=True if state else None)
    except SystemExit as stop:
        # Lightning turns Ctrl-C into an exit with status 1; the caller should see Ctrl-C.
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise
    except Exception as error:
        if state is None or lesson.started:
            raise
        raise _not_resumable(state, error) from error
    if trainer.interrupted:
        raise KeyboardInterrupt


def _not_resumable(state: Path, error: Exception) -> CheckpointError:
    said = " ".join(str(error).split())[:100] or type(error).__name__
    return CheckpointError(
        f"{state} cannot be resumed from: it is damaged, or of another version ({said}); start "
        "again without --resume, into another folder"
    )


def _begun(state: Path) -> dict[str, Any]:
    """What a run kept of itself, to be resumed from."""
    try:
        with ZipFile(state) as archive:
            spoiled = archive.testzip()
        if spoiled is not None:
            raise ValueError(f"{spoiled} in it has changed")
        with warnings.catch_warnings():
            # torch comments on a stranger's pickle, besides refusing it.
            warnings.simplefilter("ignore")
            kept = torch.load(state, map_location="cpu", weights_only=True)["pellucid"]
        history = [{name: float(row[name]) for name in ROW} for row in kept["history"]]
        if not history or not isinstance(kept["best"], float):
            raise ValueError("no epoch is told of")
        Train.model_validate(kept["settings"])
        if kept["average"] is not None:
            dict(kept["average"])
    except Exception as error:
        raise _not_resumable(state, error) from error
    return {name: kept.get(name) for name in ("history", "settings", "halves", "fingerprints")}


def _halves(settings: Train, begun: dict[str, Any] | None, on: torch.device) -> bool:
    """Whether to compute in bfloat16: as told, as begun, or as the machine likes best."""
    if settings.precision != "auto":
        return settings.precision == "bfloat16"
    if begun and begun["halves"] is not None:
        return bool(begun["halves"])
    return machine.halves_pay(on)


def _finished(begun: dict[str, Any], settings: Train, prepared: int) -> list[Row] | None:
    """The history of a run that has nothing left to do; None if it has."""
    history: list[Row] = begun["history"]
    before = Train.model_validate(begun["settings"])
    # Which epochs prepare depends on how many there are.
    moved = prepared > 0 and settings.epochs != before.epochs
    if moved or not settings.continues(before, len(history)):
        changed = [k for k, v in settings.model_dump().items() if begun["settings"].get(k) != v]
        raise OptionError(
            f"a resumed run goes on as it began, but {', '.join(changed)} changed; "
            "train into another folder to use other settings (only the schedule 'rsqrt' takes "
            f"other epochs, at least {1 / OPEN:g} to each that is done, and no pretraining)"
        )
    return history if _ends(history, settings, prepared) else None


def _ends(history: list[Row], settings: Train, prepared: int) -> bool:
    """Whether nothing more is to be learnt: all epochs done, patience spent, or not a number."""
    if len(history) >= settings.epochs or not math.isfinite(history[-1]["val_loss"]):
        return True
    losses = [row["val_loss"] for row in history[prepared:]]
    if not losses:
        return False
    best = losses.index(min(losses))
    return settings.patience is not None and len(losses) - 1 - best >= settings.patience


class _Keeper(pl.Callback):
    """After every epoch: the best weights, the state, and word to whoever watches."""

    def __init__(
        self,
        folder: Path | None,
        watch: Callable[[Epoch], None] | None,
        metadata: dict[str, Any],
    ) -> None:
        self.folder, self.watch, self.metadata = folder, watch, metadata
        self.best_state: dict[str, Tensor] | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, lesson: Lesson) -> None:  # type: ignore[override]
        row = lesson.history[-1]
        loss = row["val_loss"]
        if trainer.logger:
            scores = {k: v for k, v in row.items() if k != "epoch"}
            trainer.logger.log_metrics(scores, int(row["epoch"]))
        prepared = lesson.model.preparing(lesson.settings.epochs)
        # An epoch that did not teach the whole model is kept until the next, and beats none.
        preparing = len(lesson.history) <= prepared
        improved = preparing or loss < lesson.best or len(lesson.history) == 1
        if improved:
            lesson.best = math.inf if preparing else loss
            self._keep_weights(trainer, lesson)
        last = _ends(lesson.history, lesson.settings, prepared)
        trainer.should_stop = trainer.should_stop or last
        if self.watch and trainer.is_global_zero and lesson.shown:
            clean, damaged, restored = lesson.shown
            self.watch(Epoch(list(lesson.history), clean, damaged, restored, improved, last))
        # The state comes last: whatever a kill leaves half done before it is done again.
        if self.folder:
            draft = self.folder / f".{STATE}.part"
            trainer.save_checkpoint(draft)
            if trainer.is_global_zero:
                _settle(draft, self.folder / STATE)
            trainer.strategy.barrier()

    def _keep_weights(self, trainer: pl.Trainer, lesson: Lesson) -> None:
        state = lesson.average or lesson.model.state_dict()
        kept = {name: tensor.detach().clone() for name, tensor in state.items()}
        if self.folder is None:
            self.best_state = kept
        elif trainer.is_global_zero:
            row = lesson.history[-1]
            scores = {k: row[k] for k in ("epoch", "val_loss", "val_psnr", "val_ssim", "val_rmse")}
            checkpoints.save(
                lesson.model, self.folder / WEIGHTS, state=kept, scores=scores, **self.metadata
            )


def _settle(draft: Path, target: Path) -> None:
    """Put a written file in its place so that a power cut leaves the old or the new one."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)


class _Bar(pl.Callback):
    """One bar for the whole run, with the last losses beside it."""

    def on_train_start(self, trainer: pl.Trainer, lesson: Lesson) -> None:  # type: ignore[override]
        from tqdm import tqdm

        done, total = len(lesson.history), lesson.settings.epochs
        # A log file is not filled with bars.
        self.interval = 0.2 if sys.stderr.isatty() else 30.0
        self.bar = tqdm(
            total=total * lesson.steps,
            initial=done * lesson.steps,
            unit="batch",
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=self.interval,
            disable=not trainer.is_global_zero,
            desc=f"epoch {done + 1}/{total}",
        )
        self.seen, self.shown = 0, time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen += 1
        now = time.perf_counter()
        if now - self.shown > self.interval:
            self.bar.update(self.seen)
            self.seen, self.shown = 0, now

    def on_train_epoch_end(self, trainer: pl.Trainer, lesson: Lesson) -> None:  # type: ignore[override]
        self.bar.update(self.seen)
        self.seen = 0
        row = lesson.history[-1]
        self.bar.set_description(f"epoch {row['epoch']}/{lesson.settings.epochs}", refresh=False)
        self.bar.set_postfix_str(
            f"train {row['train_loss']:.5f} validation {row['val_loss']:.5f} "
            f"{row['val_psnr']:.2f} dB"
        )

    def teardown(self, trainer: pl.Trainer, lesson: Lesson, stage: str) -> None:  # type: ignore[override]
        if hasattr(self, "bar"):
            self.bar.close()


def _tensorboard(folder: Path | None) -> Any:
    from pellucid.errors import optional

    if folder is None:
        raise OptionError("TensorBoard's events need a run folder; give folder=")
    optional("tensorboard", "tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(save_dir=folder, name="tensorboard", version="")
