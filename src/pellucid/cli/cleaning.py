"""The verbs that work on pictures: denoise, damage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from pellucid.cli.answers import one_stream, save_json, say, say_errors
from pellucid.options import (
    STREAM,
    Engine,
    EngineOption,
    EnsembleOption,
    JsonFile,
    Seed,
    place_or_folder,
)


def denoise(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Pictures or folders; - reads standard input."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o", "--out", help="A file for one input, or a folder; - writes standard output."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="A model's name or file; without it, the one in the box."),
    ] = None,
    strength: Annotated[
        str,
        typer.Option("--strength", help="How much: low, medium, high, or 0 (nothing) to 1 (all)."),
    ] = "high",
    device: EngineOption = Engine.auto,
    ensemble: EnsembleOption = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Pictures at a time.")] = 1,
    residual: Annotated[
        Path | None,
        typer.Option(
            "--residual",
            callback=place_or_folder,
            help="Write what was removed here, and look for structure in it.",
        ),
    ] = None,
    binarize: Annotated[
        bool, typer.Option("--binarize", help="Black and white, one bit a pixel.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also take pages on which print seems to be lost.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Clean pictures with a trained network."""
    from pellucid.restore import files, zoo
    from pellucid.restore.results import Stopped, report

    one_stream(out, json_file)
    try:
        results = files.denoise_files(
            inputs,
            out,
            model=model,
            strength=strength,
            device=device.value,
            ensemble=ensemble,
            jobs=jobs,
            residual=residual,
            overwrite=overwrite,
            force=force,
            binarize=binarize,
            progress=_count if sys.stderr.isatty() else None,
        )
    except Stopped as stop:
        if json_file:
            save_json(json_file, report(stop.results, model or zoo.DEFAULT))
        raise
    failed = [result for result in results if result.error]
    for result in results:
        for warning in () if result.skipped else result.warnings:
            say(f"{result.input}: {warning}")
    say_errors(failed)
    if json_file:
        save_json(json_file, report(results, model or zoo.DEFAULT))
    _summarise(results, sys.stderr if STREAM in (out, str(json_file)) else sys.stdout)
    if failed:
        raise typer.Exit(2)


def _count(result: Any, done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done}/{total} {result.input[-60:]:<60}", end=end, file=sys.stderr, flush=True)


def _summarise(results: list[Any], stream: TextIO) -> None:
    """One line for what was done; with one picture, its noise, what was removed, and time."""
    done = [result for result in results if not result.error and not result.skipped]
    skipped = sum(result.skipped for result in results)
    seconds = sum(result.seconds for result in done)
    kept = sum(result.kept for result in done)
    parts = [f"{len(done) - kept} restored"]
    parts += [f"{kept} left as they were"] if kept else []
    if len(done) == 1 and done[0].sigma is not None:
        removed = "" if done[0].removed is None else f", {_level(done[0], done[0].removed)} removed"
        noise = f"noise {_level(done[0], done[0].sigma)}{removed}"
        if done[0].structure is not None:
            noise += f", structure in it {done[0].structure:+.2f}"
        parts = [f"{done[0].output}: {noise}, {seconds:.2f} s"]
    parts += [f"{skipped} there already (--overwrite does it again)"] if skipped else []
    parts += [f"{count} failed"] if (count := len(results) - len(done) - skipped) else []
    print("; ".join(parts), file=stream)


def _level(result: Any, value: float) -> str:
    """Levels of 255, or a float picture's own units."""
    return f"{value:.3g}" if result.floats else f"{value * 255:.1f}/255"


def damage(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Pictures, folders, or a data set's name."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder; gets clean/ and damaged/.")],
    spec: Annotated[
        str, typer.Option("--with", help="What to do to them, e.g. gaussian:0.1+jpeg:40.")
    ],
    seed: Seed = 0,
    split: Annotated[
        str, typer.Option("--split", help="Of a data set: train, validation, test or all.")
    ] = "test",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
) -> None:
    """Save clean and damaged versions of pictures as pairs."""
    from pellucid.learn.pairs import save_pairs

    results = save_pairs(inputs, out, spec, seed=seed, split=split, overwrite=overwrite)
    failed = [result for result in results if result.error]
    say_errors(failed)
    skipped = sum(result.skipped for result in results)
    there = f", {skipped} of them there already (--overwrite makes them again)" if skipped else ""
    print(f"{len(results) - len(failed)} pairs in {out / 'clean'} and {out / 'damaged'}{there}")
    if failed:
        raise typer.Exit(2)
