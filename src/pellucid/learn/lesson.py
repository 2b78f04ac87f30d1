"""One training run as Lightning sees it: what a step is, what an epoch's end says.

All chance is a function of (seed, epoch, step), so a run that was cut short and resumed draws what
an unbroken run draws. Nothing in a step touches a file, a worker or Python objects per picture.
Read next: `training`, which drives this.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import DataError
from pellucid.learn import machine, metrics
from pellucid.learn.damage import Damage
from pellucid.learn.datasets import Dataset
from pellucid.learn.models import Restorer
from pellucid.learn.muon import Muon
from pellucid.learn.pictures import Pictures
from pellucid.learn.recipes import HALVED, OPEN, Train

SHOWN = 8
LARGEST_VALIDATION_CROP = 256
VALIDATION_PIXELS = 2**21
DRAWN = 11
"""Last of the numbers that seed what a model draws in its loss, apart from damage and crops."""
SCORES = (metrics.psnr, metrics.ssim, metrics.rmse)

Row = dict[str, float | int]


class Steps:
    """What Lightning iterates over: step numbers. The lesson itself cuts the batches."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


def seeded(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator on `device` that depends on `numbers` alone, and on each of them."""
    (word,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(word >> np.uint64(1)))


def exposed(clean: Tensor, share: float, *, generator: torch.Generator) -> Tensor:
    """Some pictures with another exposure, of which a part is then all white or all black.

    Noise on white goes one way only, and few good photographs show that.

    Args:
        clean: (B, C, H, W) in [0, 1].
        share: How many pictures, from 0 to 1; the others come back as they are.
        generator: Decides which, and the levels that become black (-0.1 to 0.15) and white (0.75 to
            1.1).

    Returns:
        Same shape, in [0, 1].
    """
    drawn = torch.rand(3, len(clean), 1, 1, 1, generator=generator, device=clean.device)
    black, white = drawn[1] * 0.25 - 0.1, drawn[2] * 0.35 + 0.75
    return torch.where(drawn[0] < share, ((clean - black) / (white - black)).clamp(0, 1), clean)


def judged_side(pictures: Pictures, model: Restorer, crop: int | None = None) -> int | None:
    """Side of the middle square by which each picture is judged in training; None takes it whole.

    Args:
        pictures: Those to be judged.
        model: Where its code is dense it takes nothing larger than its `image_size`.
        crop: Side that it is trained on, if not on whole pictures.
    """
    bound = model.image_size
    fits = bound is None or bool((pictures.sizes <= torch.tensor(bound)).all())
    if crop is None and pictures.uniform and fits:
        return None
    return min(pictures.smallest, max(crop or 0, LARGEST_VALIDATION_CROP), *(bound or ()))


def learning_rate(settings: Train, progress: float) -> float:
    """The rate when `progress` of the run, from 0 to 1, is done."""
    rate = settings.learning_rate
    if settings.schedule == "rsqrt":
        done = progress * settings.epochs
        falling = 1 / math.sqrt(1 + done / HALVED)
        return rate * falling * min(1.0, done + 1e-3, (1 - progress) / (1 - OPEN))
    if progress < settings.warmup:
        return rate * max(progress, 1e-3) / settings.warmup
    progress = (progress - settings.warmup) / (1 - settings.warmup)
    if settings.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * progress))
    if settings.schedule == "step":
        return rate * (1.0 if progress < 2 / 3 else 0.1 if progress < 5 / 6 else 0.01)
    return rate


def _normalised(model: nn.Module) -> bool:
    return any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


class Lesson(pl.LightningModule):
    """Trains `model` to undo `damage` on `data`.

    Attributes:
        history: One row for each finished epoch: epoch, train_loss, val_loss, val_psnr, val_ssim,
            val_rmse, lr, seconds.
        best: The lowest validation loss so far.
        shown: Clean, damaged and restored validation pictures of the last epoch, on the CPU.
        started: What was kept of it, if anything, is taken up.
        halves: It computes in bfloat16 where that loses nothing.
        fingerprints: Of the pictures to learn from and of those to judge by, where state is kept.
    """

    def __init__(
        self,
        model: Restorer,
        data: Dataset,
        damage: Damage,
        settings: Train,
        *,
        clip: bool,
        halves: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = True
        self.model = model
        self.pictures: dict[str, Pictures] = {"train": data.train, "validation": data.validation}
        self.damage = damage
        self.settings = settings
        self.clip = clip
        self.halves = halves
        self.history: list[Row] = []
        self.best = math.inf
        self.started = False
        self.fingerprints: list[int] | None = None
        self.average: dict[str, Tensor] | None = None
        self.shown: tuple[Tensor, Tensor, Tensor] | None = None
        self._check(data)

    def _check(self, data: Dataset) -> None:
        """Refuse before the first step what would fail in it."""
        for pictures in self.pictures.values():
            if pictures.channels != self.model.image_channels:
                raise DataError(
                    f"data '{data.name}' has {pictures.channels} channels but the model takes "
                    f"{self.model.image_channels}; set data.channels or model.image_channels"
                )
        if self.model.fills_holes and (data.train.damaged is not None or not self.damage.holes):
            done = "pairs" if data.train.damaged is not None else f"damage '{self.damage}'"
            raise DataError(
                f"'{self.model.kind}' learns to fill holes, and {done} makes none; give clean "
                "pictures and a damage such as mask:0.5 or mask_strokes:0.5"
            )
        crop, train = self.settings.crop, data.train
        bound = self.model.image_size
        largest = (crop, crop) if crop else tuple(train.sizes.amax(0).tolist())
        if bound and (largest[0] > bound[0] or largest[1] > bound[1]):
            what = f"train.crop is {crop}" if crop else f"'{data.name}' has larger pictures"
            raise DataError(
                f"{what} ({largest[0]}x{largest[1]}), but the dense code is bound to "
                f"{bound[0]}x{bound[1]}; set model.image_size to what it is to learn from, or "
                f"train.crop={min(*bound, train.smallest)} to cut squares"
            )
        if crop is None and not train.uniform:
            raise DataError(
                f"the pictures of '{data.name}' differ in size and cannot be taken whole; set "
                f"train.crop (at most {train.smallest}) to cut squares, or data.size to fit all"
            )
        if crop is not None and crop > train.smallest:
            raise DataError(
                f"train.crop is {crop} but the smallest picture of '{data.name}' is only "
                f"{train.smallest} pixels high or wide; set train.crop={train.smallest} or less"
            )

    # Steps

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        whole = -(-len(self.pictures["train"]) // self.settings.batch)
        return self.settings.steps or whole

    def train_dataloader(self) -> Steps:
        """Step numbers."""
        return Steps(self.steps)

    def val_dataloader(self) -> Steps:
        """Step numbers."""
        return Steps(-(-len(self.pictures["validation"]) // self._validation_batch))

    def setup(self, stage: str) -> None:
        """Lay the weights out as the device likes, before anything is built on them."""
        layout = machine.memory_format(self.trainer.strategy.root_device)
        self.model.to(memory_format=layout)  # type: ignore[call-overload]

    def on_fit_start(self) -> None:
        """Move all pixels to the device once, and an average of an earlier session."""
        self.pictures = {name: part.to(self.device) for name, part in self.pictures.items()}
        if self.average is not None:
            self.average = {name: part.to(self.device) for name, part in self.average.items()}

    def on_train_start(self) -> None:
        """From here on nothing is read from an earlier state."""
        self.started = True

    def on_train_epoch_start(self) -> None:
        """Shuffle, and tell the model how far it is, by epoch number alone."""
        count, epoch = len(self.pictures["train"]), len(self.history)
        self.model.reach_epoch(epoch, self.settings.epochs)
        generator = seeded(torch.device("cpu"), self.settings.seed, 1, epoch)
        needed = self.steps * self.settings.batch
        rounds = -(-needed // count) if self.settings.steps else 1
        order = [torch.randperm(count, generator=generator) for _ in range(rounds)]
        self._order = torch.cat(order)[:needed]
        if len(self._order) % self.settings.batch == 1 and _normalised(self.model):
            # One picture has no variance of its own where it is a single pixel by then.
            self._order = torch.cat([self._order, self._order[:1]])
        self._loss = torch.zeros((), device=self.device)
        self._started = time.perf_counter()

    def training_step(self, step: int, _: int) -> Tensor:
        """The loss of one batch."""
        settings, epoch = self.settings, len(self.history)
        progress = (epoch * self.steps + step) / (settings.epochs * self.steps)
        for group in self.optimizers().optimizer.param_groups:  # type: ignore[union-attr]
            group["lr"] = learning_rate(settings, progress)
        batch = self._order[step * settings.batch : (step + 1) * settings.batch]
        # Where the last batch has fewer pictures than there are processes, the rest take its first.
        mine = batch[self.global_rank :: self.trainer.world_size]
        mine = mine if len(mine) else batch[:1]
        seeds = (settings.seed, 2, epoch, step, self.global_rank)
        damaged, clean = self._pair("train", mine, seeds, settings.crop)
        try:
            loss = self._loss_of(damaged, clean, seeds)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise DataError(
                f"batch normalisation needs more than one value of each channel, and a batch of "
                f"{len(mine)} of {clean.shape[2]}x{clean.shape[3]} has one where it is smallest; "
                "set train.batch=2 or more, fewer model.channels or model.norm=group"
            ) from error
        self._loss += loss.detach()
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Limit the gradient here, since Lightning refuses to for fused optimizers."""
        if self.settings.clip_gradient is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_gradient)

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the average follow the weights."""
        if self.settings.ema is None:
            return
        if self.average is None:
            self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self._follow(self.settings.ema)

    def _follow(self, decay: float) -> None:
        assert self.average is not None
        # The average of the first steps alone would lag behind for 1 / (1 - decay) steps.
        seen = self.global_step
        decay = min(decay, (1 + seen) / (10 + seen))
        state = self.model.state_dict()
        moving = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_(
            [self.average[k] for k in moving], [state[k] for k in moving], 1 - decay
        )
        for name in state.keys() - set(moving):
            self.average[name].copy_(state[name])

    # Validation

    @property
    def _validation_crop(self) -> int | None:
        return judged_side(self.pictures["validation"], self.model, self.settings.crop)

    @property
    def _validation_batch(self) -> int:
        pictures, crop = self.pictures["validation"], self._validation_crop
        pixels = crop**2 if crop else int(pictures.sizes[0].prod())
        return max(1, VALIDATION_PIXELS // (pixels * 8))

    def on_validation_epoch_start(self) -> None:
        """Judge the averaged weights where there are any."""
        self._sums = torch.zeros(2 + len(SCORES), device=self.device)
        self._took = time.perf_counter() - getattr(self, "_started", time.perf_counter())
        if self.average is not None:
            self._own = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.model.load_state_dict(self.average)

    def validation_step(self, step: int, _: int) -> None:
        """Add up the scores of one batch; the same damage and draws in every epoch."""
        if step % self.trainer.world_size != self.global_rank:
            return
        count, size = len(self.pictures["validation"]), self._validation_batch
        batch = torch.arange(step * size, min((step + 1) * size, count))
        seeds = (self.settings.seed, 3, step)
        damaged, clean = self._pair("validation", batch, seeds, self._validation_crop)
        loss = self._loss_of(damaged, clean, seeds)
        restored = self.model(damaged).float().clamp(0, 1)
        scores = [metric(restored, clean).sum() for metric in SCORES]
        self._sums += torch.stack([loss * len(batch), *scores, loss.new_tensor(len(batch))])
        if step == 0:
            shown = (clean[:SHOWN], damaged[:SHOWN].nan_to_num(0), restored[:SHOWN])
            self.shown = tuple(part.float().cpu() for part in shown)  # type: ignore[assignment]

    def on_validation_epoch_end(self) -> None:
        """Close the epoch: one row of history, and the trained weights back in place."""
        sums = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        loss, psnr, ssim, rmse = (value / sums[-1] for value in sums[:-1])
        train = self.trainer.strategy.reduce(self._loss / self.steps, reduce_op="mean")
        rate = self.optimizers().optimizer.param_groups[0]["lr"]  # type: ignore[union-attr]
        self.history.append(
            {
                "epoch": len(self.history) + 1,
                "train_loss": float(train),
                "val_loss": loss,
                "val_psnr": psnr,
                "val_ssim": ssim,
                "val_rmse": rmse,
                "lr": rate,
                "seconds": round(self._took, 3),
            }
        )
        if self.average is not None:
            self.model.load_state_dict(self._own)

    def _pair(
        self, split: str, batch: Tensor, seeds: tuple[int, ...], crop: int | None
    ) -> tuple[Tensor, Tensor]:
        """Damaged and clean pictures of a batch, as the model is fed."""
        pictures = self.pictures[split]
        if crop is None and not self.settings.flipped:
            clean, damaged = pictures.whole(batch)
        else:
            chance = seeded(torch.device("cpu"), *seeds, 7) if split == "train" else None
            size = crop or (int(pictures.sizes[0, 0]), int(pictures.sizes[0, 1]))
            clean, damaged = pictures.crops(
                batch, size, generator=chance, flipped=self.settings.flipped
            )
        if damaged is None:
            if split == "train" and self.settings.exposed:
                chance = seeded(self.device, *seeds, 9)
                clean = exposed(clean, self.settings.exposed, generator=chance)
            chance = seeded(self.device, *seeds)
            damaged = self.damage(
                clean, generator=chance, clip=self.clip, missing=self.model.missing
            )
        layout = machine.memory_format(self.device)
        return damaged.contiguous(memory_format=layout), clean.contiguous(memory_format=layout)

    def _loss_of(self, damaged: Tensor, clean: Tensor, seeds: tuple[int, ...]) -> Tensor:
        """The sum of the model's terms, with chance of its own for a model that draws."""
        chance = seeded(self.device, *seeds, DRAWN)
        terms = self.model.loss(damaged, clean, generator=chance)
        return torch.stack(list(terms.values())).sum()

    # State

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Muon; or Adam or AdamW, in one fused kernel where there is one."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        if self.settings.optimizer == "muon":
            return Muon(self.model.parameters(), rate, weight_decay=decay, halves=self.halves)
        kind = torch.optim.AdamW if self.settings.optimizer == "adamw" else torch.optim.Adam
        return kind(
            self.model.parameters(),
            lr=rate,
            weight_decay=decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning does not know of."""
        checkpoint["pellucid"] = {
            "history": self.history,
            "best": self.best,
            "average": self.average,
            "settings": self.settings.model_dump(),
            "halves": self.halves,
            "fingerprints": self.fingerprints,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        kept = checkpoint["pellucid"]
        self.history, self.best, self.average = kept["history"], kept["best"], kept["average"]
