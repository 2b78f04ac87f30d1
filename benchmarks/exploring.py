"""Compare designs of the restoring network, each trained for the same time.

    PELLUCID_DATA=data OMP_NUM_THREADS=1 python benchmarks/exploring.py --minutes 5 -o trials.json

Every variant is the base recipe with a few keys changed. Its speed is timed first, and then it gets
the number of steps that fill the minutes, so that each learning rate falls to nothing in its own
time. The score is the mean PSNR on the validation pictures of `clean_photographs` (256x256 from
their middles) at sigma 15, 25 and 50, noise not clipped. Variants that are in the file already are
not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.images.files import atomic
from pellucid.learn import datasets, metrics, recipes, training
from pellucid.learn.damage import parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.lesson import seeded
from pellucid.learn.models import Restorer, create, summary
from pellucid.learn.models.unet import Residual

SIGMAS = (15, 25, 50)

BASE: dict[str, dict[str, Any]] = {
    "model": {"name": "unet", "channels": [48, 96, 192], "blocks": 2, "unshuffle": 2},
    "train": {
        "batch": 16,
        "crop": 80,
        "flipped": True,
        "optimizer": "muon",
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "warmup": 0.03,
        "clip_gradient": 0.1,
        "loss": "l1",
        "ema": 0.99,
    },
}

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "seed 1": {"train.seed": 1},
    "adamw, rate 8e-4": {"train.optimizer": "adamw", "train.learning_rate": 8e-4},
    "adamw, rate 1.6e-3": {"train.optimizer": "adamw", "train.learning_rate": 1.6e-3},
    "rate 4e-3": {"train.learning_rate": 4e-3},
    "rate 1e-3": {"train.learning_rate": 1e-3},
    "charbonnier": {"train.loss": "charbonnier"},
    "mse": {"train.loss": "mse"},
    "psnr": {"train.loss": "psnr", "train.clip_gradient": 1.0},
    "biases": {"model.bias": True},
    "gelu": {"model.activation": "gelu"},
    "concat": {"model.skip": "concat"},
    "channel attention": {"attention": True},
    "widths 32-64-128": {"model.channels": [32, 64, 128]},
    "widths 64-128-256": {"model.channels": [64, 128, 256]},
    "kernel 5, widths 32-64-128": {"model.kernel": 5, "model.channels": [32, 64, 128]},
    "four levels 48-96-192-256, 1 block": {
        "model.channels": [48, 96, 192, 256],
        "model.blocks": 1,
    },
    "widths 32-64-128, 4 blocks": {"model.channels": [32, 64, 128], "model.blocks": 4},
    "no unshuffle, 16-32-64-128": {"model.channels": [16, 32, 64, 128], "model.unshuffle": 1},
    "no average": {"train.ema": None},
    "not mirrored or turned": {"train.flipped": False},
    "crops of 48": {"train.crop": 48, "train.batch": 44},
    "crops of 128": {"train.crop": 128, "train.batch": 6},
    "batch 8": {"train.batch": 8},
}


class Attention(nn.Module):
    """Channels weighed by their means over the picture (Hu et al. 2018, arxiv.org/abs/1709.01507).

    Not among the package's layers: what looks at a whole picture cannot be cut into windows.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels // 8), nn.ReLU(), nn.Linear(channels // 8, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = torch.sigmoid(self.weigh(x.mean(dim=(2, 3))))
        return x * weights[:, :, None, None]


def recipe(changes: dict[str, Any], channels: int, steps: int) -> recipes.Recipe:
    """The base with `changes`."""
    told: dict[str, Any] = {
        **{section: dict(values) for section, values in BASE.items()},
        "data": {"name": "clean_photographs", "channels": channels},
        "damage": {"with": "gaussian:0..55/255", "clip": False},
    }
    for key, value in changes.items():
        if key == "attention":
            continue
        section, _, name = key.partition(".")
        told[section][name] = value
    told["train"] |= {"epochs": 1, "steps": steps}
    return recipes.build(told)


def made(told: recipes.Recipe, data: Dataset, attention: bool = False) -> Restorer:
    """An untrained network of the recipe."""
    torch.manual_seed(told.train.seed)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in told.model.items()}
    model = create(str(options.pop("name")), image_channels=data.train.channels, **options)
    for block in [part for part in model.modules() if isinstance(part, Residual) and attention]:
        block.layers.append(Attention(block.layers[-1].out_channels))
    return model


def trained(
    changes: dict[str, Any], steps: int, data: Dataset
) -> tuple[Restorer, float, recipes.Recipe]:
    """The network after so many steps, how many seconds they took, and its recipe."""
    told = recipe(changes, data.train.channels, steps)
    model = made(told, data, attention="attention" in changes)
    damage = parse(told.damage.spec)
    result = training.train(model, data, damage, told.train, clip=False, device="cpu")
    return result.model, result.history[-1]["seconds"], told


@torch.inference_mode()
def scores(model: Restorer, data: Dataset) -> list[float]:
    """Mean PSNR over the validation pictures for each of `SIGMAS`."""
    clean, _ = data.validation.crops(torch.arange(len(data.validation)), 256)
    found = []
    for sigma in SIGMAS:
        chance = seeded(torch.device("cpu"), 0, sigma)
        damaged = parse(f"gaussian:{sigma}/255")(clean, generator=chance)
        restored = torch.cat([model(one[None]) for one in damaged]).clamp(0, 1)
        found.append(float(metrics.psnr(restored, clean).mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    given = parser.parse_args()
    data = datasets.load("clean_photographs", channels=given.channels)
    print(f"{len(data.train)} pictures to learn from, {len(data.validation)} to judge", flush=True)
    for name in given.only:
        kept = json.loads(given.out.read_text()) if given.out.exists() else {}
        if name in kept:
            continue
        changes = VARIANTS[name]
        # The first steps of a process are slower than the rest, so two counts are subtracted.
        short, long = (trained(changes, steps, data)[1] for steps in (4, 16))
        steps = math.floor(given.minutes * 60 / max(1e-3, (long - short) / 12))
        began = time.perf_counter()
        model, seconds, told = trained(changes, steps, data)
        found = summary(model)
        row = {
            "psnr": scores(model, data),
            "steps": steps,
            "seconds": round(seconds),
            "megapixels": round(steps * told.train.batch * told.train.crop**2 / 1e6),
            "parameters": sum(p.numel() for p in model.parameters()),
            "flops_per_pixel": round(found.flops_per_pixel),
        }
        kept = json.loads(given.out.read_text()) if given.out.exists() else {}
        with atomic(given.out) as file:
            file.write(json.dumps({**kept, name: row}, indent=1).encode())
        mean = " / ".join(f"{value:.2f}" for value in row["psnr"])
        print(f"{name}: {mean} dB, {steps} steps, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
