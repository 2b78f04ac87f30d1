"""A PDF of 60 pages and a folder of 1,000: pages a second, peak memory, killed and begun again.

    python benchmarks/many_pages.py document scans -o many.json

The folder's pages, in any format, are made no larger than --side and used again and again: in a
PDF, where they are JPEG as most scanners leave them, and as PNG files. `pellucid denoise` runs in a
process of its own. Over the folder it runs a second time, is killed without warning once half of
the pages are there, and started again: told is whether every file that was there could be read and
was kept, and how long both runs took together. The PDF is killed half-way as well; it is one file,
written when all of it is done, so nothing of its name may be there until then.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from large import measured
from PIL import Image
from tables import machine, parser, run, save, table

from pellucid import images

WAIT = 0.05
"""Seconds between looks at how far a run is."""


def sheets(folder: Path, side: int) -> list[Image.Image]:
    """The pages of a folder in grey, none with a longer side than this."""
    from pellucid.report.page_files import grey_page

    found = []
    for path in images.find(folder):
        page = Image.fromarray(grey_page(path)[0])
        page.thumbnail((side, side), Image.Resampling.LANCZOS)
        found.append(page)
    return found


def command(source: Path, target: Path, model: str, jobs: int) -> list[str]:
    """What a user would type."""
    words = ["denoise", str(source), "-o", str(target), "--model", model, "--jobs", str(jobs)]
    return [sys.executable, "-m", "pellucid", *words]


def killed(words: Sequence[str], target: Path, after: float, files: int) -> float:
    """Kill it once so many files are there or so many seconds have gone; how long it ran."""
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and time.perf_counter() - began < after:
            if files and target.is_dir() and len(list(target.iterdir())) >= files:
                break
            time.sleep(WAIT)
        process.kill()
    return time.perf_counter() - began


def in_a_pdf(pages: list[Image.Image], count: int, model: str, folder: Path) -> dict[str, Any]:
    """The PDF, whole and killed half-way."""
    source, target = folder / "scans.pdf", folder / "clean.pdf"
    first, *others = islice(cycle(pages), count)
    first.save(source, save_all=True, append_images=others, quality=85, resolution=150)
    told: dict[str, Any] = {**measured(command(source, target, model, 1))}
    told |= {"pages": images.count_pages(target), "bytes_in": source.stat().st_size}
    told |= {"bytes_out": target.stat().st_size}
    whole = target.read_bytes()
    target.unlink()
    words = command(source, target, model, 1)
    seconds = killed(words, target, told["seconds"] / 2, 0)
    left = target.exists()
    seconds += measured(words)["seconds"]
    same = target.read_bytes() == whole
    return {**told, "left_when_killed": left, "both_runs": seconds, "same_as_whole": same}


def in_a_folder(
    pages: list[Image.Image], count: int, model: str, jobs: int, folder: Path
) -> dict[str, Any]:
    """The folder, whole; and killed half-way and begun again."""
    source, target = folder / "scans", folder / "cleaned"
    source.mkdir()
    stored = []
    for page in pages[:count]:
        stream = io.BytesIO()
        page.save(stream, "png")
        stored.append(stream.getvalue())
    for index, content in enumerate(islice(cycle(stored), count)):
        (source / f"{index:04d}.png").write_bytes(content)
    told = measured(command(source, folder / "whole", model, jobs))
    words = command(source, target, model, jobs)
    seconds = killed(words, target, 10 * told["seconds"], count // 2)
    # A file that was being written lies beside under a name that no one takes for a picture.
    there = {path: path.stat().st_mtime_ns for path in images.find(target)}
    readable = all(np.ptp(images.read(path).samples) >= 0 for path in there)
    seconds += measured(words)["seconds"]
    kept = all(path.stat().st_mtime_ns == when for path, when in there.items())
    same = all(
        path.read_bytes() == (folder / "whole" / path.name).read_bytes()
        for path in images.find(target)
    )
    again = {"there": len(there), "readable": readable, "kept": kept, "both_runs": seconds}
    return {**told, "pages": len(images.find(target)), **again, "same_as_whole": same}


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, run, tell."""
    read = parser(__doc__)
    read.add_argument("model", help="a model's name or file")
    read.add_argument("folder", type=Path, help="pages")
    read.add_argument("--side", type=int, default=1650, help="of the PDF's pages; A4 at 150 dpi")
    read.add_argument("--folder-side", type=int, default=800, help="of the folder's pages")
    read.add_argument("--pages", type=int, default=60, help="in the PDF")
    read.add_argument("--files", type=int, default=1000, help="in the folder")
    read.add_argument("--jobs", type=int, default=2)
    given = read.parse_args(words)
    told: dict[str, Any] = {**machine(), "model": given.model}
    with tempfile.TemporaryDirectory() as name:
        pages = sheets(given.folder, given.side)
        place = Path(name, "pdf")
        place.mkdir()
        told["pdf"] = in_a_pdf(pages, given.pages, given.model, place)
        pages = sheets(given.folder, given.folder_side)
        place = Path(name, "files")
        place.mkdir()
        told["folder"] = in_a_folder(pages, given.files, given.model, given.jobs, place)
    save(given.out, told)
    rows = [
        [
            f"{told[what]['pages']} pages, {what}",
            f"{told[what]['pages'] / told[what]['seconds']:.2f}",
            f"{told[what]['peak'] / 1e6:.0f}",
        ]
        for what in ("pdf", "folder")
    ]
    print(table(["", "pages a second", "peak, MB"], rows), end="\n\n")
    pdf, folder = told["pdf"], told["folder"]
    left = "half a file" if pdf["left_when_killed"] else "no file of its name"
    larger = pdf["bytes_out"] / pdf["bytes_in"]
    longer = [told[what]["both_runs"] / told[what]["seconds"] for what in ("pdf", "folder")]
    print(
        f"The PDF is {larger:.2f} times as large; killed half-way it left {left}; begun again, it "
        f"is as from one run: {pdf['same_as_whole']}; both runs took {longer[0]:.2f} times as long."
        f"\nThe folder, killed when {folder['there']} pages were there and begun again: all "
        f"readable: {folder['readable']}, kept: {folder['kept']}, as from one run: "
        f"{folder['same_as_whole']}; both runs took {longer[1]:.2f} times as long."
    )


if __name__ == "__main__":
    run(main)
