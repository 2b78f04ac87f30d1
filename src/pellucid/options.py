"""The options that several commands share, and what may be chosen."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pellucid.errors import OptionError

STREAM = "-"
"""Standard input or output."""


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Engine(StrEnum):
    """Where to compute, and for a finished model by what."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"
    openvino = "openvino"


class Task(StrEnum):
    """What a model is judged by."""

    pixels = "pixels"
    ocr = "ocr"
    binarize = "binarize"


EnsembleOption = Annotated[
    bool,
    typer.Option(
        "--ensemble", help="Mean over eight mirrored and turned views: slower, a little better."
    ),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute.")]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--device", help="Where to compute; openvino: on the processor, in bfloat16 where quicker."
    ),
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe: section.key=value.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides all that is drawn by chance.")]
DataName = Annotated[
    str, typer.Option("--data", help="A data set, a folder, NOISY:CLEAN folders, or an .npz.")
]


def place(path: Path | None) -> Path | None:
    """Refuse a file that could not be written before hours of work and not after."""
    if path is None or str(path) == STREAM:
        return path
    if not path.parent.is_dir():
        raise OptionError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise OptionError(f"{path}: this is a folder; give a file name inside it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OptionError(f"{path}: no permission to write there; choose another place")
    return path


def place_or_folder(path: Path | None) -> Path | None:
    """As `place`, where an existing folder will do."""
    return path if path is not None and path.is_dir() else place(path)


def place_of_png(path: Path | None) -> Path | None:
    """As `place`, for what is drawn, and that is always a PNG."""
    return _place_of(path, ".png", "what is drawn is a PNG")


def place_of_npz(path: Path | None) -> Path | None:
    """As `place`, for arrays."""
    if str(path) == STREAM:
        raise OptionError("codes are not written to standard output; give -o a file")
    return _place_of(path, ".npz", "codes are kept in an .npz")


def place_of_weights(path: Path | None) -> Path | None:
    """As `place`, for what is learnt."""
    if str(path) == STREAM:
        return path
    return _place_of(path, ".safetensors", "what is learnt is kept in a .safetensors")


def _place_of(path: Path | None, suffix: str, why: str) -> Path | None:
    path = place(path)
    if path is not None and path.suffix.lower() != suffix:
        raise OptionError(f"{why}; name it {path.with_suffix(suffix)}, not {path}")
    return path


def place_of_json(path: Path | None) -> Path | None:
    """As `place`, but not over a file that is none of JSON, such as the picture itself."""
    if path is not None and str(path) != STREAM and path.is_file():
        with path.open("rb") as file:
            head = file.read(256).lstrip()
        if head and head[:1] not in b"{[":
            raise OptionError(
                f"{path}: this holds something that is not JSON, and is not written over; give "
                "--json another name"
            )
    return place(path)


JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", callback=place_of_json, help="Write the answer here, too; - for standard output."
    ),
]
