"""How many MNIST images a second each framework trains the same small autoencoder on.

The model is the common Keras example: two convolutions of 32 with max-pooling, two transposed
ones, one to the image; 28,353 parameters, batches of 128, Adam, binary cross-entropy, Gaussian
noise of 0.4. Contenders, each in a process of its own, round after round, so that a slow moment of
the machine hits all of them:

  pellucid    `pellucid.learn.training.train`: Lightning, new noise for every batch
  keras       Keras 3 `fit` on noisy images made beforehand (--keras PYTHON: an interpreter that
              has Keras; --backend tensorflow, jax or torch)
  dataloader  a plain PyTorch loop in float32, images damaged one by one by a DataLoader
  bare        the step alone on tensors already resident: same model, precision and layout as
              pellucid, no data, no noise, no validation

    python benchmarks/training_speed.py --rounds 5 --keras other/bin/python --backend tensorflow

Prints the median of images a second, and of the ratio to pellucid within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

BATCH = 128
STEPS = 100
EPOCHS = 3  # the first warms up and is not counted


def pellucid() -> float:
    import torch

    from pellucid.learn import datasets
    from pellucid.learn.damage import parse
    from pellucid.learn.models import create
    from pellucid.learn.recipes import Train
    from pellucid.learn.training import train

    torch.manual_seed(0)
    data = datasets.load("mnist", limit=BATCH * STEPS)
    settings = Train(epochs=EPOCHS, batch=BATCH, loss="bce")
    result = train(create("conv"), data, parse("gaussian:0.4"), settings, device="cpu")
    return statistics.median(BATCH * STEPS / row["seconds"] for row in result.history[1:])


def bare() -> float:
    import torch

    from pellucid.learn import machine
    from pellucid.learn.models import create

    machine.keep_memory()
    torch.manual_seed(0)
    device = torch.device("cpu")
    layout = machine.memory_format(device)
    half = machine.halves_pay(device)
    model = create("conv", loss="bce").to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches = [
        [t.contiguous(memory_format=layout) for t in torch.rand(2, BATCH, 1, 28, 28)]
        for _ in range(8)
    ]
    rates = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for step in range(STEPS):
            damaged, clean = batches[step % len(batches)]
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = model.loss(damaged, clean)["bce"]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        rates.append(BATCH * STEPS / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def dataloader() -> float:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    from pellucid.learn import datasets

    clean = datasets.load("mnist", limit=BATCH * STEPS).train.whole(torch.arange(BATCH * STEPS))[0]

    class Noisy(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(clean)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
            return (clean[i] + 0.4 * torch.randn_like(clean[i])).clamp(0, 1), clean[i]

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.ConvTranspose2d(32, 32, 3, 2, 1, 1), nn.ReLU(),
        nn.ConvTranspose2d(32, 32, 3, 2, 1, 1), nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(Noisy(), batch_size=BATCH, shuffle=True)
    rates = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for damaged, wanted in loader:
            loss = nn.functional.binary_cross_entropy(model(damaged), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rates.append(BATCH * STEPS / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def keras() -> float:
    import keras
    import numpy as np

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(32, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2DTranspose(32, 3, strides=2, activation="relu", padding="same"),
            layers.Conv2DTranspose(32, 3, strides=2, activation="relu", padding="same"),
            layers.Conv2D(1, 3, activation="sigmoid", padding="same"),
        ]
    )
    assert model.count_params() == 28_353
    model.compile(optimizer="adam", loss="binary_crossentropy")
    chance = np.random.default_rng(0)
    clean = chance.random((BATCH * STEPS, 28, 28, 1), dtype=np.float32)
    noise = 0.4 * chance.standard_normal(clean.shape, dtype=np.float32)
    damaged = np.clip(clean + noise, 0, 1)
    rates = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        model.fit(damaged, clean, batch_size=BATCH, epochs=1, shuffle=True, verbose=0)
        rates.append(BATCH * STEPS / (time.perf_counter() - started))
    return statistics.median(rates[1:])


CONTENDERS = {"pellucid": pellucid, "keras": keras, "dataloader": dataloader, "bare": bare}


def measured(name: str, python: str, backend: str) -> float:
    """One contender in a process of its own."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, __file__, "--one", name]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(answer.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keras", metavar="PYTHON", help="an interpreter that has Keras 3")
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--one", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.one:
        print(CONTENDERS[given.one]())
        return
    names = [name for name in given.only if name != "keras" or given.keras]
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in names:
            python = given.keras if name == "keras" else sys.executable
            rates[name].append(measured(name, python, given.backend))
            print(f"round {number + 1} {name:11}{rates[name][-1]:8.0f}", file=sys.stderr)
    ours = rates["pellucid"]
    print(f"{'':11}{'images/s':>10}{'pellucid is':>14}")
    for name in names:
        ratios = [a / b for a, b in zip(ours, rates[name], strict=True)]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        middle = statistics.median(ratios)
        print(f"{name:11}{statistics.median(rates[name]):10.0f}{middle:12.2f} x {spread}")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(rates, file, indent=1)


if __name__ == "__main__":
    main()
