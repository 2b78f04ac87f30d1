"""The verb that works with codes: embed."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.answers import save_json, say
from pellucid.errors import OptionError
from pellucid.options import (
    STREAM,
    Device,
    DeviceOption,
    JsonFile,
    Seed,
    place_of_npz,
    place_of_png,
)

LARGEST = 256
"""Longest side of a picture in a strip; larger ones are reduced."""


class Pool(StrEnum):
    """How a spatial code becomes a row of numbers."""

    auto = "auto"
    flat = "flat"
    mean = "mean"
    max = "max"


class Way(StrEnum):
    """How a map is made."""

    tsne = "tsne"
    pca = "pca"


class Along(StrEnum):
    """How a strip goes from one code to the next."""

    straight = "straight"
    spherical = "spherical"


def embed(
    model: Annotated[str, typer.Argument(help="A checkpoint, a run folder or a shipped name.")],
    data: Annotated[
        str, typer.Argument(help="A folder of pictures, a data set, an .npz, or one picture.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", callback=place_of_npz, help="The .npz file of codes."),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Part: train, validation, test or all.")
    ] = "all",
    pool: Annotated[
        Pool,
        typer.Option(
            "--pool", help="A spatial code as it is (flat), or each channel's mean or maximum."
        ),
    ] = Pool.auto,
    size: Annotated[
        int | None,
        typer.Option("--size", min=1, help="Cut pictures to squares and resize them to this side."),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map", callback=place_of_png, help="Draw a map of the codes with thumbnails here."
        ),
    ] = None,
    map_by: Annotated[Way, typer.Option("--map-by", help="How the map is made.")] = Way.tsne,
    neighbours: Annotated[
        Path | None,
        typer.Option(
            "--neighbours", callback=place_of_png, help="Draw some pictures and their nearest here."
        ),
    ] = None,
    nearest: Annotated[
        int, typer.Option("--nearest", min=1, help="How many nearest are drawn of each.")
    ] = 8,
    strips: Annotated[
        Path | None,
        typer.Option(
            "--strips", callback=place_of_png, help="Draw the way from a picture to the next here."
        ),
    ] = None,
    strips_by: Annotated[
        Along,
        typer.Option(
            "--strips-by", help="Spherical is for a dense code of a variational autoencoder."
        ),
    ] = Along.straight,
    steps: Annotated[int, typer.Option("--steps", help="Decoded pictures of a strip.")] = 9,
    scores: Annotated[
        bool,
        typer.Option("--scores", help="Judge the codes by the classes, beside PCA of that size."),
    ] = False,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            callback=place_of_png,
            help="Draw the first filters, and each level's maps of the first picture, here.",
        ),
    ] = None,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    json_file: JsonFile = None,
) -> None:
    """Turn pictures into codes: files, maps, neighbours, strips, scores; show features."""
    coded = bool(out or map_file or neighbours or strips or scores)
    if not (coded or features):
        raise OptionError(
            "nothing is asked for; give -o codes.npz, --map map.png, --neighbours near.png, "
            "--strips strips.png, --scores or --features maps.png"
        )
    if json_file and not coded:
        raise OptionError("--json tells of codes; add -o codes.npz or --scores, or leave it out")
    from pellucid.restore.walk import keep_apart
    from pellucid.uses.code_scores import classes_of
    from pellucid.uses.code_scores import compared as judge
    from pellucid.uses.embed import coding, opened
    from pellucid.uses.embed import embed as encode
    from pellucid.uses.gallery import gallery

    keep_apart((out, map_file, neighbours, strips, features), data, model)

    stream = sys.stderr if str(json_file) == STREAM else sys.stdout
    network: Any = coding(model) if coded else opened(model)
    pictures = gallery(data, split)
    if scores:  # before the work, and not after it
        classes_of(pictures.labels)
    if features:
        shown = _draw_features(network, pictures, features)
        print(f"{features}: filters and maps of {shown}", file=stream)
    if not coded:
        return
    found = encode(
        network,
        pictures,
        pool=pool.value,
        size=size,
        device=device.value,
        progress=_count if sys.stderr.isatty() else None,
    )
    for line in found.failed:
        say(line)
    if out:
        found.save(out)
    print(_summary(found, out), file=stream)
    if map_file:
        from pellucid.uses.code_map import draw_map

        drawn = draw_map(found, map_file, way=map_by.value, seed=seed)
        print(f"{map_file}: {drawn.placed} pictures, {drawn.thumbnails} shown", file=stream)
    if neighbours:
        _draw_neighbours(found, neighbours, nearest)
        print(f"{neighbours}: pictures and their nearest", file=stream)
    if strips:
        count = _draw_strips(network, found, strips, strips_by.value, steps)
        print(f"{strips}: {count} strips, {strips_by.value} from code to code", file=stream)
    compared = None
    if scores:
        compared = judge(found)
        print(compared.table(), file=stream)
    if json_file:
        told = {
            "model": model,
            "data": data,
            "split": split,
            "n": len(found),
            "size": found.codes.shape[1],
            "pool": found.pool,
            "failed": list(found.failed),
            "scores": None if compared is None else compared.told(),
        }
        save_json(json_file, told)
    if found.failed:
        raise typer.Exit(2)


def _summary(found: Any, out: Path | None) -> str:
    """What was made, how codes became rows, and what was done to the pictures before."""
    count, size = found.codes.shape
    shape = "x".join(map(str, found.shape))
    how = "dense" if found.pool == "dense" else f"{found.pool} of {shape}"
    if found.pool == "flat":
        how = f"{shape}, flat"
    parts = [f"{f'{out}: ' if out else ''}{count} codes of {size} numbers ({how})"]
    if found.class_names:
        parts.append(f"{len(found.class_names)} classes")
    if found.resized:
        parts.append(f"{found.resized} pictures cut to a square and resized")
    parts += [f"{len(found.failed)} failed"] if found.failed else []
    return "; ".join(parts)


def _draw_neighbours(found: Any, path: Path, count: int) -> None:
    from pellucid.report.panel import panel
    from pellucid.uses.code_map import strips

    made = strips(found, count)
    panel(
        made.cells,
        path,
        captions=made.captions,
        columns=made.columns,
        title="Nearest by code",
        note="Beneath each its distance from the first"
        + (", and its class." if found.class_names else "."),
    )


def _draw_strips(network: Any, found: Any, path: Path, way: str, steps: int) -> int:
    """Write the picture; how many strips it has."""
    from pellucid.report.panel import panel
    from pellucid.uses.interpolation import interpolations

    made = interpolations(network, found, way=way, steps=steps)
    panel(
        made.cells,
        path,
        captions=made.captions,
        columns=made.columns,
        title="From picture to picture",
        note=f"At both ends the picture itself; between them what codes stand for, {way} from the "
        "code of the one (0) to that of the other (1).",
        most=LARGEST,
    )
    return len(made.cells)


def _draw_features(network: Any, pictures: Any, path: Path) -> str:
    """Write the picture; the name of what was looked at."""
    from pellucid.report.panel import panel
    from pellucid.uses.features import features, grid

    name, picture = pictures.first()
    shown = grid(features(network, picture))
    panel(
        shown.cells,
        path,
        rows=shown.rows,
        title=f"What '{network.kind}' sees, level by level",
        note="Filters: grey does nothing, light adds, dark takes away. Maps: white is strongest; "
        "of each level those that vary most.",
    )
    return str(name)


def _count(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    if done == total or done % 100 == 0:
        print(f"\r{done}/{total} pictures", end=end, file=sys.stderr, flush=True)
