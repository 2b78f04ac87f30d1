"""What each denoiser costs and what it gives: seconds, memory and decibels, all in one run.

    PELLUCID_DATA=data python benchmarks/denoisers.py gaussian-gray gaussian-color -o speed.json

A network counts in every form that lies beside the file that is named: NAME.onnx, NAME-fast.onnx,
NAME.safetensors (write a missing one with `pellucid export`). Every measurement is a process of its
own that makes one noisy photograph (sigma 25, 8 bits), opens one method, warms up, and restores:
its time is the median of what it does in a second, its memory the highest that the whole process
had. Rounds take turns through all of them, so that a slow moment of the machine hits all. The
classical methods are told the noise level, the networks are not.

Decibels are means over validation pictures (no test set), noise as in the published tables. "Share
of matrix rate" is the network's own arithmetic over its time, against the fastest plain matrix
product of the same numbers (float32, bfloat16, 8-bit integers) that was found in the same run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import contenders
import matrices
from scenes import noisy, photograph
from tables import machine, parser, run, save, slashed, table, times

from pellucid.errors import OptionError

SIDES = (512, 2048)
SIGMAS = (15, 25, 50)
SIGMA = 25
MATRICES = "matrices"
KINDS = {1: "gray", 3: "color"}


def peak_bytes() -> int:
    """The most memory that this process had at once.

    Not `ru_maxrss` on Linux: what a process inherits from the one that started it counts there.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(name: str, file: Path | None, channels: int, side: int) -> dict[str, float]:
    """Seconds and bytes of one method on one picture, in this process."""
    damaged = noisy(photograph(side, side, channels), SIGMA)
    restore = contenders.method(name, file)
    restore(damaged[:128, :128], SIGMA)
    taken: list[float] = []
    # The first run at this size is left out, unless it took so long that it hardly matters.
    while len(taken) < 2 or (sum(taken[1:]) < 1 and len(taken) < 20):
        started = time.perf_counter()
        restore(damaged, SIGMA)
        taken.append(time.perf_counter() - started)
        if taken[0] > 5:
            break
    return {"seconds": statistics.median(taken[1:] or taken), "peak": peak_bytes()}


def alone(*given: object) -> Any:
    """The answer of this script in a process of its own."""
    command = [sys.executable, __file__, "--one", *map(str, given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def decibels(
    name: str, file: Path | None, pictures: Any, sigmas: tuple[int, ...]
) -> dict[str, float]:
    """Mean PSNR at each sigma, noise as in the published tables."""
    from pellucid.report.baselines import BASELINES
    from pellucid.report.evaluate import evaluate

    found = {}
    runner = None if name in contenders.CLASSICAL else contenders.opened(name, file or Path())
    for sigma in sigmas:

        def classical(picture: Any, sigma: int = sigma) -> Any:
            return BASELINES[contenders.CLASSICAL[name]](picture, sigma / 255)

        judged = runner or classical
        report = evaluate(judged, pictures, f"gaussian:{sigma}/255", published=True)
        found[str(sigma)] = report.restored["psnr"]
    return found


def rows(told: dict[str, Any], kind: str) -> list[list[str]]:
    """The lines of the table for grey or colour pictures."""
    found = told[kind]
    sides = [str(side) for side in told["sides"]]
    best = {products: max(rates.values()) for products, rates in told["matrix_rates"].items()}
    lines = []
    for name, one in found.items():
        per_megapixel = [one["seconds_per_megapixel"][side] for side in sides]
        against = []
        for other in ("BM3D", "OpenCV NLM"):
            if other not in found or name == other:
                against += ["-", "-"]
                continue
            theirs = found[other]
            slow, fast = (method["seconds_per_megapixel"] for method in (theirs, one))
            faster = " / ".join(times(slow[side] / fast[side]) for side in sides)
            gain = statistics.mean(one["psnr"][s] - theirs["psnr"][s] for s in one["psnr"])
            against += [faster, f"{gain:+.2f}"]
        shares: list[float] = []
        if one["flops_per_pixel"] and one["products"] in best:
            rate = best[one["products"]]
            shares = [100 * one["flops_per_pixel"] * 1e6 / s / rate for s in per_megapixel]
        lines.append(
            [
                name,
                slashed(one["psnr"].values()),
                slashed(per_megapixel, ".3g"),
                slashed((one["peak"][side] / 1e6 for side in sides), ".0f"),
                *against,
                slashed(shares, ".0f"),
            ]
        )
    return lines


def head(told: dict[str, Any]) -> list[str]:
    """The first line of the tables."""
    sides = slashed(told["sides"], "d")
    sigmas = slashed(told["sigmas"], "d")
    return [
        "method",
        f"PSNR, sigma {sigmas}",
        f"s a megapixel, side {sides}",
        f"peak MB, {sides}",
        "times BM3D's speed",
        "dB more",
        "times OpenCV's speed",
        "dB more",
        "% of matrix rate",
    ]


def collected(given: argparse.Namespace) -> dict[str, Any]:
    """Every figure, rounds taking turns."""
    from anatomy import anatomy

    from pellucid.learn import datasets
    from pellucid.report.trial import spread
    from pellucid.restore.runtime import open_model

    sides = tuple(given.sides or ((64,) if given.quick else SIDES))
    sigmas = (SIGMA,) if given.quick else SIGMAS
    cases: list[tuple[str, Path | None, int, int]] = []
    flops: dict[int, float | None] = {}
    for model in given.models:
        channels = open_model(model).channels
        if channels in flops:
            raise OptionError(f"{model} is a second network for {KINDS[channels]}; give one")
        made = anatomy(model)
        flops[channels] = made.flops_per_pixel if made else None
        files: dict[str, Path | None] = {**contenders.forms(model)}
        files |= dict.fromkeys(contenders.CLASSICAL)
        chosen = [name for name in files if name in given.only]
        cases += [(name, files[name], channels, side) for name in chosen for side in sides]
    taken: dict[tuple[str, int, int], list[dict[str, float]]] = {}
    products: list[dict[str, dict[str, float]]] = []
    rounds = 1 if given.quick else given.rounds
    for number in range(rounds):
        products.append(alone(MATRICES, "-", 1, 256 if given.quick else 2048))
        for name, file, channels, side in cases:
            past = taken.setdefault((name, channels, side), [])
            if past and past[0]["seconds"] > given.patience:
                continue
            past.append(alone(name, file or "-", channels, side))
            said = f"{past[-1]['seconds']:8.3f} s {past[-1]['peak'] / 1e6:7.0f} MB"
            print(f"round {number + 1} {name:24}{channels} x {side}{said}", file=sys.stderr)
    told: dict[str, Any] = {**machine(), "sides": sides, "sigmas": sigmas, "rounds": rounds}
    told["matrix_rates"] = {
        kind: {
            library: statistics.median(one[kind][library] for one in products)
            for library in products[0][kind]
        }
        for kind in products[0]
    }
    for channels, kind in KINDS.items():
        mine = {name: file for name, file, planes, _ in cases if planes == channels}
        if not mine:
            continue
        size = 64 if given.quick else None
        part = datasets.load(given.data, channels=channels, size=size).split(given.split)
        part = part.subset(spread(len(part), 1 if given.quick else given.limit))
        told[kind] = {}
        for name, file in mine.items():
            runs = {side: taken[name, channels, side] for side in sides}
            told[kind][name] = {
                "psnr": decibels(name, file, part, sigmas),
                "seconds_per_megapixel": {
                    str(side): statistics.median(one["seconds"] for one in past) / side**2 * 1e6
                    for side, past in runs.items()
                },
                "peak": {
                    str(side): statistics.median(one["peak"] for one in past)
                    for side, past in runs.items()
                },
                "runs": {str(side): past for side, past in runs.items()},
                "products": contenders.FORMS[name].products if file else None,
                "flops_per_pixel": flops[channels] if file else None,
            }
            print(f"{kind} {name}: {slashed(told[kind][name]['psnr'].values())}", file=sys.stderr)
        told[f"{kind}_pictures"] = list(part.paths) or len(part)
    return told


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("models", nargs="*", metavar="MODEL", help="a network: name or file")
    read.add_argument("--rounds", type=int, default=5)
    read.add_argument("--sides", type=int, nargs="+", help="of the pictures that are timed")
    read.add_argument("--patience", type=float, default=60, metavar="SECONDS")
    read.add_argument("--data", default="clean_photographs")
    read.add_argument("--split", default="validation")
    read.add_argument("--limit", type=int, default=12, help="pictures for the decibels")
    read.add_argument("--only", nargs="+", default=contenders.NAMES, choices=contenders.NAMES)
    read.add_argument("--quick", action="store_true", help="see that it works, in seconds")
    read.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = read.parse_args(arguments)
    if given.one:
        name, file, channels, side = given.one
        if name == MATRICES:
            print(json.dumps(matrices.rates(int(side))))
        else:
            path = None if file == "-" else Path(file)
            print(json.dumps(measured(name, path, int(channels), int(side))))
        return
    if not given.models:
        read.error("give a network for grey pictures, one for colour, or both")
    told = collected(given)
    save(given.out, told)
    print(f"{told['processor']}, {told['threads']} threads, medians of {told['rounds']} rounds\n")
    rates = ((kind, library, rate) for kind, one in told["matrix_rates"].items()
             for library, rate in one.items())  # fmt: skip
    print(table(["products", "by", "GFLOP/s"], [(k, b, f"{r / 1e9:.0f}") for k, b, r in rates]))
    for kind in KINDS.values():
        if kind in told:
            print(f"\n{kind}\n\n" + table(head(told), rows(told, kind)))


if __name__ == "__main__":
    run(main)
