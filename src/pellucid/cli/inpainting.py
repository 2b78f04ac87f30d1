"""The verb that fills what is missing: inpaint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.answers import say
from pellucid.options import Engine, EngineOption, EnsembleOption, place


def inpaint(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="The picture.")],
    mask: Annotated[
        Path,
        typer.Option(
            "--mask", help="A picture of the same size: black where it stays, else missing."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", callback=place, help="The filled picture.")],
    model: Annotated[
        str | None, typer.Option("--model", help="A model's name or file that fills holes.")
    ] = None,
    device: EngineOption = Engine.auto,
    ensemble: EnsembleOption = False,
) -> None:
    """Fill scratches, lettering and holes of a picture."""
    import warnings

    from pellucid.restore.inpaint import inpaint_file

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        share = inpaint_file(source, mask, out, model=model, device=device.value, ensemble=ensemble)
    for warning in told:
        say(f"{source}: {warning.message}")
    print(f"{out}: {100 * share:.1f} % filled", file=sys.stdout)
