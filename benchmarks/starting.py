"""How long `pellucid` takes from nothing: its help, and a small picture cleaned.

    python benchmarks/starting.py -o starting.json

Each command is a process of its own, run once to warm the disk and then several times in turn with
the others; medians are told. The picture is 512x512 pixels in colour, with noise.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from large import measured
from scenes import noisy, photograph
from tables import machine, parser, run, save, table

from pellucid import images


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("--model", default="photo", help="a network: name or file")
    read.add_argument("--side", type=int, default=512)
    read.add_argument("--rounds", type=int, default=7)
    given = read.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "noisy.png"), Path(folder, "clean.png")
        images.write(source, noisy(photograph(given.side, given.side), 25))
        start = [sys.executable, "-m", "pellucid"]
        clean = ["denoise", str(source), "-o", str(target), "--overwrite", "--model", given.model]
        commands = {
            "pellucid --help": [*start, "--help"],
            f"pellucid denoise, {given.side}x{given.side}, {given.model}": [*start, *clean],
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(given.rounds + 1):
            for name, command in commands.items():
                found[name].append(measured(command))
    middle = {
        name: {key: statistics.median(one[key] for one in runs[1:]) for key in runs[0]}
        for name, runs in found.items()
    }
    save(given.out, {**machine(), "rounds": given.rounds, "commands": middle})
    lines = [
        [f"`{name}`", f"{one['seconds']:.2f}", f"{one['cpu']:.2f}", f"{one['peak'] / 1e6:.0f}"]
        for name, one in middle.items()
    ]
    print(table(["command", "seconds", "of processor", "peak MB"], lines))


if __name__ == "__main__":
    run(main)
