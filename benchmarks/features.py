"""What codes are worth: MNIST and Fashion-MNIST at several sizes, autoencoders beside PCA.

    PELLUCID_DATA=data python benchmarks/features.py -o features.json
    PELLUCID_DATA=data python benchmarks/features.py --recipe r3-code --runs runs
    PELLUCID_DATA=data python benchmarks/features.py --model runs/mine --data mnist

For each data set and each code: the mean squared error of the test pictures rebuilt from it (values
in [0, 1], no clipping), the share of them that their five nearest training codes name rightly
(Euclidean, all codes as they are), and the share that a linear probe does. The probe is least
squares with a constant on one column for each class, and the largest column wins: no setting, no
scaling, no chance. It is that of the figures which are measured against: PCA of the 60,000 training
pictures of MNIST with 16 / 32 / 64 components comes to .0269 / .0168 / .0090, 96.3 / 97.6 / 97.5 %
and 77.2 / 83.5 / 85.7 %; a logistic regression or a ridge on scaled codes gives others. Neighbours
and probe learn from training and validation pictures together, and so does PCA; fewer of them than
the 60,000 lower the figures, above all those of neighbours.

A recipe is trained once for each data set and size, with `model.code_size` set, or `model.active`
where the code is sparse; a run that is there already is not made again. A model that is given
brings its own size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tables
import torch

from pellucid.learn import checkpoints, datasets, recipes
from pellucid.learn.models import Restorer
from pellucid.learn.sources import TEST
from pellucid.report.runs import run as train
from pellucid.uses.code_scores import linear_probe, nearest, pca
from pellucid.uses.embed import embed

SETS = ("mnist", "fashion_mnist")
SIZES = (16, 32, 64)
HEAD = ("data", "code", "numbers", "test MSE", "kNN-5 %", "linear probe %")


class Known:
    """A data set as rows of pixels, (N, P) in [0, 1], to learn from and to judge on."""

    def __init__(self, name: str) -> None:
        data = datasets.load(name, channels=1)
        parts = [data.train, data.validation, data.test]
        rows = [part.whole(torch.arange(len(part)))[0].flatten(1).numpy() for part in parts]
        answers = [part.labels.numpy() for part in parts if part.labels is not None]
        self.name = name
        self.train, self.test = np.concatenate(rows[:2]), rows[2]
        self.labels, self.answers = np.concatenate(answers[:2]), answers[2]
        self.size = tuple(data.test.sizes[0].tolist())


def of_pca(data: Known, size: int) -> dict[str, float]:
    """PCA's scores."""
    codes, of_test, rebuilt = pca(data.train, data.test, size)
    mse = float(np.square(rebuilt - data.test).mean(dtype=np.float64))
    return {"numbers": codes.shape[1], "mse": mse} | scores(data, codes, of_test)


def of_model(data: Known, model: Restorer) -> dict[str, float]:
    """An autoencoder's scores; a spatial code is taken as it is."""
    made = embed(model, data.name, pool="flat", device="cpu")
    test = np.array([part == TEST for part in made.splits])
    error = 0.0
    with torch.inference_mode():
        for start in range(0, len(data.test), 500):
            batch = torch.from_numpy(data.test[start : start + 500]).view(-1, 1, *data.size)
            error += float((model(batch) - batch).square().double().sum())
    found = scores(data, made.codes[~test], made.codes[test])
    return {"numbers": made.codes.shape[1], "mse": error / data.test.size} | found


def scores(data: Known, train_codes: np.ndarray, test_codes: np.ndarray) -> dict[str, float]:
    """Neighbours and probe, in shares."""
    given = (train_codes, test_codes, data.labels, data.answers)
    return {"knn": nearest(*given), "probe": linear_probe(*given)}


def trained(name: str, data: str, size: int, runs: Path, changes: Sequence[str]) -> Restorer:
    """The model of a recipe at one size, trained unless its folder is there."""
    folder = runs / f"{Path(name).stem}-{data}-{size}"
    if not (folder / "report.json").exists():
        kept = recipes.read(name).model
        # Of a sparse code so many numbers are kept for each picture; which, the picture decides.
        numbers = "active" if kept["name"] == "sparse" else "code_size"
        told = recipes.read(name, [f"data.name={data}", f"model.{numbers}={size}", *changes])
        train(told, folder, resume=True)
    return checkpoints.load(folder)


def row(data: str, code: str, told: dict[str, float]) -> list[str]:
    mse = f"{told['mse']:.4f}".removeprefix("0")
    shares = (f"{100 * told[key]:.1f}" for key in ("knn", "probe"))
    return [data, code, f"{told['numbers']:.0f}", mse, *shares]


def main(given: Sequence[str] | None = None) -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--data", nargs="+", default=SETS, metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N")
    parser.add_argument("--model", action="append", default=[], metavar="RUN")
    parser.add_argument("--recipe", action="append", default=[], metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR")
    told: argparse.Namespace = parser.parse_args(given)
    found: dict[str, Any] = {"machine": tables.machine(), "data": {}}
    lines = []
    for name in told.data:
        data = Known(name)
        here: dict[str, Any] = found["data"].setdefault(name, {})
        for size in told.sizes:
            here[f"PCA {size}"] = of_pca(data, size)
            lines.append(row(name, "PCA", here[f"PCA {size}"]))
            for recipe in told.recipe:
                model = trained(recipe, name, size, told.runs, told.set)
                here[f"{recipe} {size}"] = of_model(data, model)
                lines.append(row(name, Path(recipe).stem, here[f"{recipe} {size}"]))
        for place in told.model:
            here[place] = of_model(data, checkpoints.load(place))
            lines.append(row(name, Path(place).name, here[place]))
        tables.save(told.out, found)
    print(tables.table(HEAD, lines))


if __name__ == "__main__":
    tables.run(main)
