"""What the benchmarks share: tables to print, JSON to keep, and what machine it was."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pellucid.errors import PellucidError
from pellucid.images.files import atomic
from pellucid.restore.runtime import available_threads

PACKAGES = (
    *("numpy", "onnxruntime", "torch", "openvino"),
    *("bm3d", "opencv-python-headless", "scikit-image"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its columns lined up."""
    lines = [list(head), ["---"] * len(head), *(list(row) for row in rows)]
    wide = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines[1] = ["-" * width for width in wide]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)) + " |"
        for line in lines
    )


def slashed(values: Iterable[float | None], form: str = ".2f") -> str:
    """Several values as one cell: 31.63 / 29.19 / 26.29."""
    return " / ".join("-" if value is None else f"{value:{form}}" for value in values) or "-"


def times(ratio: float) -> str:
    """A ratio to two digits, and all of them before the point: 4357, 120, 7.2, 0.05."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def machine() -> dict[str, Any]:
    """The processor, how many threads there are, and the versions that were measured."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "threads": available_threads(),
        "python": platform.python_version(),
        "packages": found,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} processors"


def save(path: Path | None, told: Any) -> None:
    """Write JSON, whole or not at all; nothing without a path."""
    if path is not None:
        with atomic(path) as file:
            file.write(json.dumps(told, indent=1).encode() + b"\n")


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser that every benchmark begins with: what it is, and where its JSON goes."""
    begun = argparse.ArgumentParser(description=(about or "").strip().splitlines()[0])
    begun.add_argument("-o", "--out", type=Path, metavar="FILE", help="write all figures as JSON")
    return begun


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; a user's mistake is one line."""
    try:
        main()
    except PellucidError as error:
        sys.exit(" ".join(str(error).split()))
