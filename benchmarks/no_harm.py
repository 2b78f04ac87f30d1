"""Whether a network leaves pictures alone that need nothing, and makes no picture worse.

    PELLUCID_DATA=data python benchmarks/no_harm.py photo -o no-harm.json

Pictures are damaged as files are: Gaussian noise, clipped and rounded to 8 bits; and restored as
`pellucid denoise` does, back to 8 bits. At sigma 0 the clean pictures themselves come in, and what
counts is how near they come back. Above, it is the gain (restored less damaged, dB), and of all
gains the worst one. With --trusting nothing that the network changes is taken back, whatever the
model's card asks for.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scenes import noisy, psnr
from tables import parser, run, save, table

SIGMAS = (0, 1, 2, 3, 5, 10, 15, 25, 35, 45, 55)
RESTRAINTS = ("evens", "spares")
"""What in a model's card takes changes back."""

ALIKE = 100.0
"""PSNR of pictures that are the same to the last bit, as the metrics of the package have it."""


def harms(
    model: str,
    data: str,
    split: str,
    limit: int | None,
    sigmas: Sequence[float],
    device: str,
    trusting: bool,
) -> dict[str, Any]:
    """PSNR of every picture before and after, by sigma."""
    from pellucid.learn import datasets
    from pellucid.report.trial import spread
    from pellucid.restore.denoise import denoise
    from pellucid.restore.runtime import open_model

    runner = open_model(model, device=device)
    if trusting:
        runner.metadata = {k: v for k, v in runner.metadata.items() if k not in RESTRAINTS}
    channels = runner.channels
    pictures = datasets.load(data, channels=channels).split(split)
    chosen = spread(len(pictures), limit)
    found: dict[str, list[dict[str, Any]]] = {}
    for sigma in sigmas:
        told = found.setdefault(f"{sigma:g}", [])
        for index in chosen:
            image = pictures.image(index)[0].permute(1, 2, 0).numpy()
            clean = np.rint(image * 255).astype(np.uint8)
            damaged = noisy(clean, sigma, seed=index) if sigma else clean
            restored = denoise(damaged, model=runner)
            finished = np.rint(np.clip(restored, 0, 1) * 255).astype(np.uint8)
            told.append(
                {
                    "path": pictures.paths[index] if pictures.paths else str(index),
                    "damaged": min(ALIKE, psnr(damaged, clean)),
                    "restored": min(ALIKE, psnr(finished, clean)),
                }
            )
        print(f"sigma {sigma:g}: {len(told)} pictures", file=sys.stderr)
    asked = {"model": model, "trusting": trusting, "data": data, "split": split}
    return asked | {"channels": channels, "sigmas": found}


def rows(sigmas: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """A line for each sigma."""
    lines = []
    for sigma, told in sigmas.items():
        before = statistics.mean(one["damaged"] for one in told)
        after = [one["restored"] for one in told]
        line = [sigma, f"{before:.2f}", f"{statistics.mean(after):.2f}", f"{min(after):.2f}"]
        if float(sigma) == 0:
            # A clean picture cannot gain.
            lines.append([*line, "-", "-", "-", told[int(np.argmin(after))]["path"]])
            continue
        gains = [one["restored"] - one["damaged"] for one in told]
        worse = sum(gain < 0 for gain in gains)
        worst = int(np.argmin(gains))
        shown = f"{statistics.mean(gains):+.2f}", f"{gains[worst]:+.2f}", str(worse)
        lines.append([*line, *shown, told[worst]["path"]])
    return lines


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("model", metavar="MODEL", help="a network: name or file")
    read.add_argument("--data", default="clean_photographs")
    read.add_argument("--split", default="validation")
    read.add_argument("--limit", type=int, help="pictures at most, spread evenly")
    read.add_argument("--sigmas", type=float, nargs="+", default=SIGMAS)
    read.add_argument("--device", default="auto")
    read.add_argument("--trusting", action="store_true", help="make every change of the network's")
    given = read.parse_args(arguments)
    chosen = given.data, given.split, given.limit, given.sigmas, given.device, given.trusting
    told = harms(given.model, *chosen)
    save(given.out, told)
    head = ["sigma", "damaged dB", "restored dB", "lowest", "gain", "worst gain", "made worse"]
    print(table([*head, "the worst picture"], rows(told["sigmas"])))
    clean = [one["restored"] for one in told["sigmas"].get("0", [])]
    if clean:
        print(f"\nclean pictures: mean {statistics.mean(clean):.2f} dB, worst {min(clean):.2f} dB")
    gains = [
        one["restored"] - one["damaged"]
        for sigma, part in told["sigmas"].items()
        for one in part
        if float(sigma) > 0
    ]
    print(f"worst gain of all: {min(gains, default=math.nan):+.2f} dB")


if __name__ == "__main__":
    run(main)
