"""Defects found by good pictures alone: one class of digits against the nine others, and products.

    PELLUCID_DATA=data python benchmarks/anomaly.py digits mnist fashion_mnist -o one-class.json
    PELLUCID_DATA=data python benchmarks/anomaly.py product data/anomaly/magnetic_tile -o tiles.json

`digits`: fitted on the training pictures of one class, scored on all test pictures, that class good
and the others not; the mean AUROC over the classes. 'pca' is what a linear autoencoder of 32
numbers leaves over, and the bar: 95.5 on MNIST and 90.5 on Fashion-MNIST. `product`: a folder laid
out as MVTec AD, each method with its defaults, by kind of defect.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import parser, run, save, table

Pictures = NDArray[np.float32]
Scores = NDArray[np.float64]

COMPONENTS = 32
SIZE = 64
"""Side that pictures of 28 pixels are looked at with: the frozen network is given no less."""


def pca(train: Pictures, test: Pictures, seed: int = 0) -> Scores:
    """Squared distance from the plane of the first 32 principal components."""
    rows, asked = train.reshape(len(train), -1), test.reshape(len(test), -1)
    mean = rows.mean(axis=0)
    count = min(COMPONENTS, *rows.shape)
    _, vectors = np.linalg.eigh(np.cov((rows - mean).T.astype(np.float64)))
    plane = vectors[:, -count:]
    centred = asked - mean
    left: Scores = (centred**2).sum(axis=1) - ((centred @ plane) ** 2).sum(axis=1)
    return left


def detected(method: str) -> Callable[[Pictures, Pictures, int], Scores]:
    """Scores of a method of `pellucid detect`."""
    seen: list[Any] = []  # the test pictures and their views, which are the same for every class

    def scores(train: Pictures, test: Pictures, seed: int = 0) -> Scores:
        from pellucid.learn.detector import Detector, learn, score
        from pellucid.uses.detect import STEPS

        channels = train.shape[3]
        size = {} if method == "pixels" else {"size": SIZE}
        made = Detector(method=method, image_channels=channels, **({"size": 64} | size))
        made.to_device("auto").fit_to([train.shape[1:3]])
        learn(made.reconstruction, made.view(list(train)), steps=STEPS, seed=seed)
        if not seen or seen[0] is not test:
            views = [
                made.view(list(test[start : start + 256])) for start in range(0, len(test), 256)
            ]
            seen[:] = [test, [view for part in views for view in part]]
        return np.array([score(made.strangeness(view)) for view in seen[1]])

    return scores


METHODS = {
    "pca": pca,
    "gaussian": detected("gaussian"),
    "features": detected("features"),
    "whole": detected("whole"),
    "pixels": detected("pixels"),
}


def one_class(
    name: str, methods: Sequence[str], classes: Sequence[int], limit: int | None, seed: int
) -> dict[str, dict[str, float]]:
    """AUROC in percent of each method for each class."""
    from pellucid.learn import datasets
    from pellucid.uses.defect_scores import auroc

    data = datasets.load(name)
    parts = {}
    for part, split in (("train", [data.train, data.validation]), ("test", [data.test])):
        pixels = [np.stack([p.image(i)[0].numpy() for i in range(len(p))]) for p in split]
        labels = [np.asarray(p.labels) for p in split]
        parts[part] = (np.concatenate(pixels).transpose(0, 2, 3, 1), np.concatenate(labels))
    (train, kinds), (test, asked) = parts["train"], (part[:limit] for part in parts["test"])
    found: dict[str, dict[str, float]] = {}
    for method in methods:
        found[method] = {}
        for kind in classes or sorted({int(k) for k in kinds}):
            good = train[kinds == kind][:limit]
            values = METHODS[method](good, test, seed)
            area = 100 * auroc(values, asked != kind)
            found[method][str(kind)] = round(area, 2)
            print(f"{name} {method} {kind}: {area:.2f}", flush=True)
    return found


def product(folder: Path, methods: Sequence[str], seed: int) -> dict[str, Any]:
    """What `detect evaluate` says of each method on one product, and how long it took."""
    from pellucid.uses import detect
    from pellucid.uses.defect_report import evaluate

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for method in methods:
            began = time.perf_counter()
            made = detect.fit(folder, Path(place) / "m.safetensors", method=method, seed=seed)
            fitted = time.perf_counter()
            report = evaluate(made.model, folder)
            told = report.to_json()
            print(f"{method}\n{report.table()}", flush=True)
            seconds = {"fit": fitted - began, "score": time.perf_counter() - fitted}
            found[method] = {key: told[key] for key in ("rows", "false_alarms", "threshold")}
            found[method]["seconds"] = {key: round(value, 1) for key, value in seconds.items()}
    return found


def main(arguments: list[str] | None = None) -> None:
    """Read the options, measure, print, and keep what was found."""
    options = parser(__doc__)
    options.add_argument("task", choices=("digits", "product"))
    options.add_argument("data", nargs="+", help="data sets by name, or folders of products")
    options.add_argument(
        "--methods", nargs="+", help="of: pca (digits only), " + ", ".join(METHODS)
    )
    options.add_argument("--classes", nargs="*", type=int, default=[], help="only these digits")
    options.add_argument("--limit", type=int, help="so many pictures, to see that it works")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args(arguments)
    told: dict[str, Any] = {}
    if given.task == "digits":
        methods = given.methods or list(METHODS)
        for name in given.data:
            told[name] = one_class(name, methods, given.classes, given.limit, given.seed)
        rows = [
            [name, method, f"{np.mean(list(areas.values())):.2f}", str(len(areas))]
            for name, found in told.items()
            for method, areas in found.items()
        ]
        print(table(["data", "method", "mean AUROC", "classes"], rows))
    else:
        methods = given.methods or [method for method in METHODS if method != "pca"]
        for folder in given.data:
            told[Path(folder).name] = product(Path(folder), methods, given.seed)
        heads = ["data", "method", "kind", "image AUROC", "pixel AUROC", "PRO", "F1-max"]
        keys = ("image_auroc", "pixel_auroc", "pro", "image_f1_max")
        rows = [
            [name, method, kind, *("-" if row[key] is None else f"{row[key]:.3f}" for key in keys)]
            for name, found in told.items()
            for method, one in found.items()
            for kind, row in one["rows"].items()
        ]
        print(table(heads, rows))
    save(given.out, told)


if __name__ == "__main__":
    run(main)
