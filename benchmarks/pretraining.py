"""What a start that is not random gains: levels taught singly, and features of a classifier.

    PELLUCID_DATA=data python benchmarks/pretraining.py -o pretraining.json

First table: the stacked autoencoder of the recipe r3-stacked beside the same network taught from
end to end alone, on 500, 2,000 and all training pictures. Second table: an encoder of
EfficientNet-Lite0 with ImageNet weights, frozen and not, beside the same network from random
weights, on 200 and 2,000 pictures with Gaussian noise. All runs of a table have as many steps,
however few their pictures, so none is merely taught less.

Errors are mean squared errors. Validation is told after a tenth, a third and all of the epochs, to
show the speed, and test for the weights of the best epoch; both on all pictures of their part.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any

import torch
from tables import machine, parser, run, save, slashed, table

from pellucid.learn import datasets, recipes, training
from pellucid.learn.damage import parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.models import create
from pellucid.learn.recipes import Recipe

HEAD = ("pictures", "start", "validation at 1/10, 1/3, end", "test", "spread", "seconds")

STACKED: dict[str, dict[str, Any]] = {
    "level by level": {},
    "end to end": {"model.pretraining": 0.0},
}

TRANSFER: dict[str, dict[str, Any]] = {
    "ImageNet, frozen": {},
    "ImageNet, trained on": {"model.frozen": False},
    "from scratch": {"model.frozen": False, "model.weights": "random"},
}

FEATURES: dict[str, dict[str, Any]] = {
    "model": {"name": "pretrained", "stages": 2, "norm": "batch"},
    "damage": {"with": "gaussian:0.1"},
    "train": {"batch": 32, "learning_rate": 2e-3, "schedule": "cosine", "warmup": 0.05},
}


def recipe(base: dict[str, dict[str, Any]], changes: dict[str, Any]) -> Recipe:
    """A base with ``section.key`` changed."""
    told = {section: dict(values) for section, values in base.items()}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        told.setdefault(section, {})[name] = value
    return recipes.build(told)


def stacked() -> dict[str, dict[str, Any]]:
    """The packaged recipe as plain dictionaries."""
    told = recipes.read("r3-stacked").model_dump(by_alias=True, exclude_none=True)
    return {section: values for section, values in told.items() if section != "about"}


def few(data: Dataset, count: int) -> Dataset:
    """`count` training pictures from all over the set, or all for 0; all others stay."""
    if not 0 < count < len(data.train):
        return data
    chosen = torch.linspace(0, len(data.train) - 1, count).long()
    return replace(data, train=data.train.subset(chosen))


def trained(told: Recipe, data: Dataset, seed: int) -> dict[str, Any]:
    """Validation error of every epoch, and the test error of the best one's weights."""
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in told.model.items()}
    options["image_channels"] = data.train.channels
    if options.get("code_size"):
        options["image_size"] = tuple(data.train.sizes[0].tolist())
    settings = told.train.model_copy(update={"seed": seed})
    torch.manual_seed(seed)
    model = create(str(options.pop("name")), **options)
    damage, clip = parse(told.damage.spec), told.damage.clip
    found = training.train(model, data, damage, settings, clip=clip, device="cpu")
    return {
        "validation": [row["val_loss"] for row in found.history],
        "best_epoch": found.best["epoch"],
        "test": training.mean_loss(found.model, data.test, damage, settings, clip=clip),
        "seconds": sum(row["seconds"] for row in found.history),
    }


def compared(
    base: dict[str, dict[str, Any]],
    variants: dict[str, dict[str, Any]],
    data: Dataset,
    counts: Sequence[int],
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A row for every variant on every number of pictures, with all its runs."""
    rows = []
    length = {"train.epochs": given.epochs, "train.steps": given.steps, "data.name": data.name}
    for count in counts:
        part = few(data, count)
        for name, changes in variants.items():
            told = recipe(base, length | changes)
            runs = [trained(told, part, seed) for seed in range(given.seeds)]
            rows.append({"pictures": len(part.train), "start": name, "runs": runs})
            test = fmean(one["test"] for one in runs)
            print(f"{len(part.train)} pictures, {name}: test {test:.5f}", flush=True)
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the printed table: means over the seeds, and how the test errors spread."""
    runs = row["runs"]
    tests = [one["test"] for one in runs]
    shortest = min(len(one["validation"]) for one in runs)
    marks = [max(1, math.ceil(shortest * share)) for share in (0.1, 1 / 3, 1)]
    validation = [fmean(one["validation"][mark - 1] for one in runs) for mark in marks]
    return [
        f"{row['pictures']:,}",
        row["start"],
        slashed(validation, ".5f"),
        f"{fmean(tests):.5f}",
        f"{pstdev(tests):.5f}" if len(tests) > 1 else "-",
        f"{fmean(one['seconds'] for one in runs):.0f}",
    ]


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--digits", default="mnist", help="data of the stacked autoencoder")
    options.add_argument("--photos", default="cifar10", help="data of the pretrained encoder")
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--steps", type=int, default=200, help="batches in an epoch")
    options.add_argument("--seeds", type=int, default=3, help="runs of each, averaged")
    options.add_argument("--stacked", type=int, nargs="*", default=[500, 2000, 0], metavar="N")
    options.add_argument("--transfer", type=int, nargs="*", default=[200, 2000], metavar="N")
    given = options.parse_args(arguments)
    told: dict[str, Any] = {"machine": machine(), "epochs": given.epochs, "steps": given.steps}
    for title, base, variants, name, counts in (
        ("stacked", stacked(), STACKED, given.digits, given.stacked),
        ("transfer", FEATURES, TRANSFER, given.photos, given.transfer),
    ):
        if counts:
            told[title] = compared(base, variants, datasets.load(name), counts, given)
            print(f"\n{table(HEAD, map(cells, told[title]))}\n", flush=True)
    save(given.out, told)


if __name__ == "__main__":
    run(main)
