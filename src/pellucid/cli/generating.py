"""The verb that makes pictures from codes: generate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pellucid.errors import OptionError
from pellucid.options import Device, DeviceOption, Seed, place_of_png

LARGEST = 256
"""Longest side of a picture in the grid; larger ones are reduced."""


class PriorName(StrEnum):
    """Where new codes come from."""

    normal = "normal"
    mixture = "mixture"


def generate(
    model: Annotated[str, typer.Argument(help="A checkpoint or run folder of an autoencoder.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", callback=place_of_png, help="The grid, a .png.")
    ],
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="Pictures; paths or walks.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Pictures to begin from, and to fit the prior to."),
    ] = None,
    prior: Annotated[
        PriorName | None,
        typer.Option("--prior", help="Where new codes come from; a mixture is fitted to --data."),
    ] = None,
    components: Annotated[
        int, typer.Option("--components", min=1, help="Normals in the mixture.")
    ] = 10,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Pictures of --data through their codes.")
    ] = False,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Paths between pictures of --data, or samples.")
    ] = False,
    walk: Annotated[
        str | None,
        typer.Option("--walk", help="Walk from class to class, 3:8, or along an element, 5."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Pictures of a path or walk.")] = 9,
    split: Annotated[str, typer.Option("--split", help="Part of --data to begin from.")] = "test",
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Side of the pictures, for a spatial code.")
    ] = None,
    frechet: Annotated[
        str | None,
        typer.Option("--frechet", help="Judge samples by the code of this autoencoder."),
    ] = None,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
) -> None:
    """Make pictures from codes: new ones, paths between pictures, walks."""
    if reconstruct + interpolate + (walk is not None) > 1:
        raise OptionError("--reconstruct, --interpolate and --walk make different grids; give one")
    if frechet and (data is None or reconstruct or interpolate or walk):
        raise OptionError("--frechet compares samples with pictures; give --data NAME and no path")
    from pellucid.report.panel import panel
    from pellucid.restore.walk import keep_apart
    from pellucid.uses.generate import Maker

    keep_apart((out,), data, model)

    maker = Maker(
        model,
        data=data,
        prior=prior.value if prior else None,
        components=components,
        size=size,
        seed=seed,
        device=device.value,
    )
    if reconstruct:
        grid = maker.reconstructions(count or 32, split=split)
    elif interpolate:
        grid = maker.interpolations(count or 8, split=split, steps=steps)
    elif walk is not None:
        grid = maker.walks(walk, count or 8, split=split, steps=steps)
    else:
        grid = maker.samples(count or 64)
    panel(grid.rows, out, columns=grid.columns, rows=grid.labels, note=grid.about, most=LARGEST)
    print(f"{out}: {grid.about}")
    if frechet:
        from pellucid.learn import checkpoints
        from pellucid.learn.frechet import code_features

        network = checkpoints.load(frechet).to(maker.device)
        print(f"{maker.nearness(code_features(network))}, by the code of {frechet}")
