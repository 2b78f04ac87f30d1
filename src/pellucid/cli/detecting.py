"""The verbs of `pellucid detect`: fit, score, evaluate."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.answers import save_json, say
from pellucid.options import STREAM, Device, DeviceOption, JsonFile, Seed, place, place_of_weights

detect = typer.Typer(
    name="detect",
    help="Find defects, having seen good pictures only.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


class Method(StrEnum):
    """What is reconstructed."""

    features = "features"
    gaussian = "gaussian"
    whole = "whole"
    pixels = "pixels"


class Error(StrEnum):
    """How a reconstruction of pixels is compared with the picture."""

    l2 = "l2"
    ssim = "ssim"
    gradient = "gradient"


Detector = Annotated[Path, typer.Argument(metavar="MODEL", help="What detect fit wrote.")]


@detect.command()
def fit(
    good: Annotated[
        Path, typer.Argument(metavar="GOOD_DIR", help="Good pictures; or a folder of train/good.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", callback=place_of_weights, help="The .safetensors file to write."
        ),
    ],
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="Reconstruct pretrained features, only measure them, reconstruct what they are "
            "on the whole (for a wrong subject, not a wrong place), or reconstruct pixels.",
        ),
    ] = Method.features,
    error: Annotated[
        Error, typer.Option("--error", help="For pixels: how they are compared.")
    ] = Error.l2,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", help="Look at as many pixels as a square of this side has; one scale for all."
        ),
    ] = None,
    code: Annotated[
        int | None, typer.Option("--code", help="Channels of the autoencoder's code.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Of training; done five times.")] = 600,
    false_alarms: Annotated[
        float,
        typer.Option("--false-alarms", help="Share of good pictures that may be called anomalous."),
    ] = 0.05,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
) -> None:
    """Learn what good pictures look like."""
    from pellucid.uses import detect as use

    made = use.fit(
        good,
        out,
        method=method.value,
        size=size,
        code=code,
        error=error.value,
        steps=steps,
        false_alarms=false_alarms,
        seed=seed,
        device=device.value,
        progress=_count if sys.stderr.isatty() else None,
    )
    print(
        f"{made.model}: fitted on {made.pictures} good pictures; a score above {made.threshold:.4g}"
        f" is anomalous ({false_alarms:.3g} false alarms, from pictures left out in turn)"
    )
    _end(made.failed)


@detect.command()
def score(
    model: Detector,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Pictures to score.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", callback=place, help="CSV: path,score,threshold,anomalous."),
    ],
    heatmaps: Annotated[
        Path | None,
        typer.Option("--heatmaps", help="Folder for pictures of what is strange, and where."),
    ] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Score the pictures of a folder, higher is stranger."""
    from pellucid.uses import detect as use

    results = use.score(
        model,
        folder,
        out,
        heatmaps=heatmaps,
        device=device.value,
        progress=_count if sys.stderr.isatty() else None,
    )
    failed = [result.error for result in results if result.error]
    found = sum(result.anomalous for result in results)
    scored = sum(result.score is not None for result in results)
    stream = sys.stderr if str(out) == STREAM else sys.stdout
    print(f"{out}: {found} anomalous of {scored}", file=stream)
    _end(failed)


@detect.command()
def evaluate(
    model: Detector,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Laid out as MVTec AD: test/good, test/<kind> ...")
    ],
    device: DeviceOption = Device.auto,
    json_file: JsonFile = None,
) -> None:
    """Judge a detector where the answers are known: AUROC, PRO, F1, by kind."""
    from pellucid.uses.defect_report import evaluate as judge

    report = judge(
        model,
        folder,
        device=device.value,
        progress=_count if sys.stderr.isatty() else None,
    )
    print(report.table(), file=sys.stderr if str(json_file) == STREAM else sys.stdout)
    if json_file:
        save_json(json_file, report.to_json())
    _end(report.failed)


def _count(what: str, done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done}/{total} {what:<20}", end=end, file=sys.stderr, flush=True)


def _end(failed: Iterable[str]) -> None:
    """Name what could not be read, and say so in the exit code."""
    reasons = list(failed)
    for reason in reasons:
        say(" ".join(reason.split()))
    if reasons:
        raise typer.Exit(2)
