"""The verbs that make pictures small, and back: compress, decompress."""

from __future__ import annotations

import sys
from typing import Annotated, Any, TextIO

import typer

from pellucid.cli.answers import one_stream, save_json, say, say_errors
from pellucid.options import STREAM, JsonFile

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")]
CodecName = Annotated[
    str | None,
    typer.Option("-m", "--model", help="A codec's name or file; else the one in the box."),
]


def compress(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Pictures or folders; - reads standard input."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            help="A .plc file for one input, else a folder; - writes standard output.",
        ),
    ],
    quality: Annotated[
        int | None,
        typer.Option("--quality", help="From 1 (smallest) to as many as the codec has."),
    ] = None,
    max_bpp: Annotated[
        float | None,
        typer.Option("--max-bpp", help="The best quality in so many bits a pixel, all counted."),
    ] = None,
    model: CodecName = None,
    reduce: Annotated[
        bool, typer.Option("--reduce", help="Round 16-bit and float samples to 8 bits.")
    ] = False,
    overwrite: Overwrite = False,
    json_file: JsonFile = None,
) -> None:
    """Make small files of pictures, with a learned codec."""
    from pellucid.restore import zoo
    from pellucid.uses import packing

    one_stream(out, json_file)
    results = packing.compress_files(
        inputs,
        out,
        quality=quality,
        max_bpp=max_bpp,
        model=model or zoo.CODEC,
        reduce=reduce,
        overwrite=overwrite,
        progress=_count if sys.stderr.isatty() else None,
    )
    _answer(results, out, "compressed", json_file, model or zoo.CODEC)


def decompress(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="FILE.plc", help="Files or folders; - reads standard input."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o", "--out", help="A picture for one input, else a folder; - writes standard output."
        ),
    ],
    model: CodecName = None,
    overwrite: Overwrite = False,
    json_file: JsonFile = None,
) -> None:
    """Make pictures of what compress wrote."""
    from pellucid.uses import packing

    one_stream(out, json_file)
    results = packing.decompress_files(
        inputs,
        out,
        model=model,
        overwrite=overwrite,
        progress=_count if sys.stderr.isatty() else None,
    )
    _answer(results, out, "decompressed", json_file, model or "")


def _count(result: Any, done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{done}/{total} {result.input[-60:]:<60}", end=end, file=sys.stderr, flush=True)


def _answer(results: list[Any], out: str, done: str, json_file: Any, model: str) -> None:
    """Say what was done and what was not, and end with 2 where a file failed."""
    from pellucid.uses import packing

    failed = [result for result in results if result.error]
    say_errors(failed)
    for result in results:
        for note in result.warnings:
            say(f"{result.input}: {note}")
    _summarise(results, done, sys.stderr if STREAM in (out, str(json_file)) else sys.stdout)
    if json_file:
        save_json(json_file, packing.report(results, model))
    if failed:
        raise typer.Exit(2)


def _summarise(results: list[Any], verb: str, stream: TextIO) -> None:
    """One line for what was done; with one picture, its size, bits and time."""
    done = [result for result in results if not result.error and not result.skipped]
    skipped = sum(result.skipped for result in results)
    parts = []
    if len(done) == 1:
        one = done[0]
        parts = [
            f"{one.output}: {one.width}x{one.height}, {one.bytes:,} bytes, {one.bpp:.3f} bits a "
            f"pixel, quality {one.quality}, {one.seconds:.2f} s"
        ]
    elif done:
        size = sum(one.bytes for one in done)
        pixels = sum(one.width * one.height for one in done)
        seconds = sum(one.seconds for one in done)
        parts = [
            f"{len(done)} {verb}: {size:,} bytes, {8 * size / pixels:.3f} bits a pixel, "
            f"{seconds:.2f} s"
        ]
    parts += [f"{skipped} there already (--overwrite does it again)"] if skipped else []
    parts += [f"{count} failed"] if (count := len(results) - len(done) - skipped) else []
    print("; ".join(parts), file=stream)
