"""A picture of a hundred megapixels through `pellucid denoise`: seconds, memory, and no seam.

    python benchmarks/large.py photo -o large.json

One photograph is mirrored until it fills the side, gets noise, and goes through the command in a
process of its own. Then a region in the middle goes through the network once more in one piece, and
the difference is told near the borders of the command's windows and elsewhere: a seam would show as
more of it there. It is told of the network alone, and of the command's answer, where what the card
asks to be taken back was taken back of the whole picture with that one piece in it. Samples are
rounded, so that alone moves a few pixels by 1. The one piece takes gigabytes; --region makes it
smaller.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scenes import noisy, photograph
from tables import machine, parser, run, save, table

from pellucid import images
from pellucid.images.picture import WHITE, scaled, unscaled
from pellucid.restore import tiles
from pellucid.restore.denoise import restore_picture, take_back
from pellucid.restore.runtime import Runner, open_model

Samples = NDArray[Any]

NEAR = 8
"""Pixels on each side of a border that count as near it."""

LAUNCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
cpu = used.ru_utime + used.ru_stime
seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": used.ru_maxrss * unit}))
"""
"""Starts a command and measures it. A child's peak counts the memory of whoever starts it, so that
must be a small process, not this one, which holds the picture."""


def timed(source: Path, target: Path, model: str, device: str) -> dict[str, float]:
    """Seconds, seconds of processor and peak bytes of the command."""
    command = [sys.executable, "-m", "pellucid", "denoise", str(source), "-o", str(target)]
    command += ["--model", model, "--device", device]
    return measured(command)


def measured(command: Sequence[str]) -> dict[str, float]:
    """Seconds, seconds of processor and peak bytes of any command, run to its end."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def borders(height: int, width: int, runner: Runner) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows and which columns lie near a border of the windows that `denoise` cuts."""
    cut = tiles.plan(
        height, width, halo=runner.halo, multiple=runner.multiple_of, size=runner.image_size
    )
    near = np.zeros(height, bool), np.zeros(width, bool)
    for line, spans in zip(near, (cut.rows, cut.columns), strict=True):
        for span in spans[1:]:
            # Where windows are cross-faded, all of the fade counts.
            line[max(0, span.first - NEAR) : span.first + span.fade[0] + NEAR] = True
    return near


def in_one_piece(damaged: Samples, rows: slice, columns: slice, runner: Runner) -> Samples:
    """A region restored in one run, with all around it that the network sees."""
    reach = runner.halo if runner.halo is not None else tiles.FARTHEST
    reach = -(-reach // runner.multiple_of) * runner.multiple_of
    starts = [max(0, part.start - reach) for part in (rows, columns)]
    starts = [start - start % runner.multiple_of for start in starts]
    part = damaged[starts[0] : rows.stop + reach, starts[1] : columns.stop + reach]
    pixels = scaled(part)
    restored = runner(pixels.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    inside = restored[rows.start - starts[0] :, columns.start - starts[1] :]
    inside = inside[: rows.stop - rows.start, : columns.stop - columns.start]
    return unscaled(inside, damaged.dtype)


def compared(one: Samples, other: Samples, near: NDArray[np.bool_]) -> dict[str, Any]:
    """How far two pictures differ near the borders and elsewhere, in steps of 255."""
    step = WHITE[one.dtype.name] / 255
    apart = np.abs(one.astype(np.int32) - other).max(axis=2) / step
    found: dict[str, Any] = {}
    for name, where in (("near borders", near), ("elsewhere", ~near)):
        part = apart[where]
        found[name] = {
            "pixels": int(part.size),
            "largest": float(part.max(initial=0)),
            "mean": float(part.mean()) if part.size else 0.0,
            "differ": float((part > 0).mean()) if part.size else 0.0,
        }
    return found


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("model", metavar="MODEL", help="a network: name or file")
    read.add_argument("--photo", type=Path, metavar="FILE", help="instead of scikit-learn's china")
    read.add_argument("--side", type=int, default=10_000)
    read.add_argument("--region", type=int, default=3_000, help="side of what is run in one piece")
    read.add_argument("--sigma", type=float, default=15)
    read.add_argument("--bits", type=int, choices=(8, 16), default=8)
    read.add_argument("--device", default="auto")
    given = read.parse_args(arguments)
    side = given.side
    runner = open_model(given.model, device=given.device)
    damaged: Samples = noisy(photograph(side, side, runner.channels, given.photo), given.sigma)
    if given.bits == 16:
        damaged = damaged.astype(np.uint16) * np.uint16(257)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "noisy.tif"), Path(folder, "clean.tif")
        images.write(source, damaged)
        cost = timed(source, target, given.model, given.device)
        restored = images.read(target).samples
    size = min(given.region, side)
    place = slice((side - size) // 2, (side - size) // 2 + size)
    card, runner.metadata = runner.metadata, {}
    alone = restore_picture(images.picture_of(damaged), runner).samples
    whole = in_one_piece(damaged, place, place, runner)
    down, across = (line[place] for line in borders(side, side, runner))
    near = down[:, None] | across[None, :]
    found = {"the network": compared(alone[place, place], whole, near)}
    alone[place, place] = whole
    take_back(damaged, alone, card)
    found["the answer"] = compared(restored[place, place], alone[place, place], near)
    told = {"model": given.model, "side": side, "bits": given.bits, "region": found}
    save(given.out, {**machine(), **told, **cost})
    print(
        f"{side}x{side}x{runner.channels}, {given.bits} bits, {side**2 / 1e6:.0f} megapixels: "
        f"{cost['seconds']:.1f} s ({cost['cpu']:.1f} s of processor), peak "
        f"{cost['peak'] / 1e9:.2f} GB\n"
    )
    lines = [
        [
            f"{what}, {name}",
            f"{one['pixels']:,}",
            f"{one['largest']:.3g}",
            f"{one['mean']:.5f}",
            f"{one['differ']:.3%}",
        ]
        for what, both in found.items()
        for name, one in both.items()
    ]
    head = ["difference to one piece, of 255", "pixels", "largest", "mean", "pixels that differ"]
    print(table(head, lines))


if __name__ == "__main__":
    run(main)
