"""The command line: one command for each verb. It translates, and computes nothing.

Answers go to standard output, progress to standard error. Exit codes: 0 all done, 2 the user's
input or option is at fault, 130 interrupted, 1 our own mistake.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.exceptions import TyperException

from pellucid import __version__
from pellucid.errors import OptionError, PellucidError, making, unknown
from pellucid.options import (
    STREAM,
    Changes,
    DataName,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    EnsembleOption,
    JsonFile,
    Seed,
    Task,
    place,
)

app = typer.Typer(
    name="pellucid",
    help="Clean pictures, and convolutional autoencoders to make, compare and take apart.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pellucid {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Clean pictures, and convolutional autoencoders to make, compare and take apart."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")] = Path(
        "demo"
    ),
) -> None:
    """Watch an autoencoder learn, and see a photograph restored."""
    from pellucid.report.demo import demo as show

    print(show(out))


@app.command()
def denoise(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Pictures or folders; - reads standard input."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o", "--out", help="A file for one input, else a folder; - writes standard output."
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
            callback=place,
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
    failed = [result for result in results if result.error]
    for result in results:
        for warning in () if result.skipped else result.warnings:
            _say(f"{result.input}: {warning}")
    for result in failed:
        _say(str(result.error))
    _summarise(results, sys.stderr if STREAM in (out, str(json_file)) else sys.stdout)
    if json_file:
        _save_json(json_file, files.report(results, model or zoo.DEFAULT))
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
    parts = [f"{len(done)} restored"]
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


@app.command()
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
) -> None:
    """Save clean and damaged versions of pictures as pairs."""
    from pellucid.learn.pairs import save_pairs

    results = save_pairs(inputs, out, spec, seed=seed, overwrite=overwrite)
    failed = [result for result in results if result.error]
    for result in failed:
        _say(str(result.error))
    print(f"{len(results) - len(failed)} pairs in {out / 'clean'} and {out / 'damaged'}")
    if failed:
        raise typer.Exit(2)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe's name, or a TOML file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder.")],
    changes: Changes = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    device: DeviceOption = Device.auto,
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="Processes that share a batch.")
    ] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines that share a batch.")] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard's events.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train a network by a recipe; leaves weights, curves and panels."""
    from pellucid.learn import recipes

    told = recipes.read(recipe, changes)
    from pellucid.report.runs import run

    done = run(
        told,
        out,
        resume=resume,
        device=device.value,
        devices=devices,
        nodes=nodes,
        progress=not quiet,
        tensorboard=tensorboard,
    )
    if done.test:
        print(done.test.table())
    print(done.advice)
    print(f"model: {out / 'model.safetensors'}   curves: {out / 'curves.png'}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name, file or run folder.")],
    data: DataName,
    spec: Annotated[
        str | None, typer.Option("--with", help="Damage to undo; none for pairs.")
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip/--no-clip", help="Keep damaged values in [0, 1].")
    ] = True,
    published: Annotated[
        bool,
        typer.Option(
            "--published", help="The noise of the published tables: numpy's, seed 0, not clipped."
        ),
    ] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also run the classic filters.")
    ] = False,
    baselines_limit: Annotated[
        int | None, typer.Option("--baselines-limit", help="Run them on so many pictures.")
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Part: train, validation, test or all.")
    ] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", help="Judge so many pictures at most.")
    ] = None,
    seed: Seed = 0,
    device: EngineOption = Engine.auto,
    ensemble: EnsembleOption = False,
    panel: Annotated[
        Path | None,
        typer.Option("--panel", callback=place, help="Draw best, median and worst here."),
    ] = None,
    task: Annotated[
        Task, typer.Option("--task", help="Judge pixels, what Tesseract reads, or ink.")
    ] = Task.pixels,
    language: Annotated[
        str, typer.Option("--language", help="What Tesseract is to expect.")
    ] = "eng",
    json_file: JsonFile = None,
) -> None:
    """Score a model on data: PSNR, SSIM, RMSE, MAE; how pages are read; what ink is found."""
    if task is not Task.pixels:
        if published or panel or baselines_limit or not clip or split != "test":
            raise OptionError(
                f"--task {task.value} judges all pages of a folder; leave out --published, "
                "--panel, --split, --no-clip and --baselines-limit (--limit judges fewer)"
            )
        from pellucid.report.binarizing import evaluate_binarizing
        from pellucid.report.reading import evaluate_reading

        pages = partial(evaluate_reading, language=language)
        part = pages if task is Task.ocr else evaluate_binarizing
        found = part(
            model,
            data,
            spec,
            baselines=baselines,
            limit=limit,
            seed=seed,
            device=device.value,
            ensemble=ensemble,
        )
        _tell(found, json_file)
        return
    from pellucid.report.evaluate import evaluate as judge

    report = judge(
        model,
        data,
        spec,
        clip=clip,
        published=published,
        baselines=baselines,
        baselines_limit=baselines_limit,
        limit=limit,
        seed=seed,
        split=split,
        device=device.value,
        ensemble=ensemble,
    )
    _tell(report, json_file)
    if panel:
        report.panel(panel)


def _tell(report: Any, json_file: Path | None) -> None:
    """A report's table, and its JSON where that was asked for."""
    print(report.table(), file=sys.stderr if str(json_file) == STREAM else sys.stdout)
    if json_file:
        _save_json(json_file, report.to_json())


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A checkpoint, a run folder or a shipped name.")],
    out: Annotated[Path, typer.Option("-o", "--out", callback=place, help="The .onnx file.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in 8 bits, faster on processors.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="For --int8: pictures like those it was trained on, if others."
        ),
    ] = None,
) -> None:
    """Write a model as ONNX, compared with the original."""
    if int8:
        from pellucid.learn.quantise import quantise

        print(quantise(model, out, data=data))
        return
    if data is not None:
        raise OptionError("--data is for --int8, which needs pictures; leave it out or add --int8")
    from pellucid.learn.export import export as write

    print(write(model, out))


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(help="Show this model, file or recipe in full.")
    ] = None,
) -> None:
    """List the models in the box and those that can be trained."""
    if name:
        _show_model(name)
        return
    from pellucid.learn import recipes
    from pellucid.restore import zoo

    print("in the box (pellucid denoise INPUT -o OUT --model NAME):")
    boxed = {title: (zoo.card(title).get("recipe") or {}).get("about") for title in zoo.names()}
    _list(boxed or {"none": "train one"})
    print("recipes (pellucid train NAME -o RUN):")
    _list({title: recipes.read(title).about for title in recipes.names()})


def _list(lines: dict[str, Any]) -> None:
    for title, about in lines.items():
        wrapped = textwrap.wrap(str(about or ""), max(40, _width() - 26))
        print(f"  {title:24}" + f"\n{'':26}".join(wrapped))


def _width() -> int:
    """Columns of the terminal; without one, lines are not broken."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6


def _show_model(name: str) -> None:
    from pellucid.learn import recipes
    from pellucid.restore import zoo

    if name in recipes.names() and name not in zoo.names():
        print(recipes.read(name).to_toml(), end="")
        return
    from pellucid.learn.checkpoints import load
    from pellucid.learn.models import MODELS, create, summary

    if name in MODELS:
        print(summary(create(name)))
        return
    if Path(name).name == name and not Path(name).exists() and name not in zoo.names():
        raise unknown("model, file or recipe", name, [*zoo.names(), *MODELS, *recipes.names()])
    path = zoo.resolve(name)
    if path.suffix == ".onnx":
        card = zoo.card(path)
        print(
            f"{path}, {card.get('model', 'from elsewhere')} {json.dumps(card.get('options', {}))}"
        )
    else:
        model = load(path)
        card = model.metadata
        print(summary(model))
    for key in ("data", "licence", "training", "scores"):
        if card.get(key):
            print(f"{key}: {json.dumps(card[key])}")
    if name in recipes.names():
        print(f"\n# its recipe\n{recipes.read(name).to_toml()}", end="")


@app.command()
def datasets() -> None:
    """List the data sets that can be named."""
    from pellucid.learn.datasets import DATASETS, found_names

    for title, entry in DATASETS.items():
        print(f"{title:18}{entry.about}")
    found = [title for title in found_names() if title not in DATASETS]
    print(f"found under $PELLUCID_DATA: {', '.join(found) or 'nothing'}")
    print("or a folder of pictures, two folders NOISY:CLEAN, or an .npz with 'images'")


def _save_json(path: Path, told: Any) -> None:
    from pellucid.images.files import atomic

    text = told if isinstance(told, str) else json.dumps(told, indent=2)
    if str(path) == STREAM:
        print(text)
        return
    with atomic(path) as file:
        file.write(text.encode() + b"\n")


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    code: Any
    try:
        if "" in sys.argv:
            raise OptionError("an argument is empty; was a variable of the shell not set?")
        with making():
            code = app(sys.argv[1:] or ["--help"], prog_name="pellucid", standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # typer's word for Ctrl-C
            raise KeyboardInterrupt
    except PellucidError as error:
        code = _fail(str(error), 2)
    except TyperException as error:
        code = _fail(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", 130)
    except BrokenPipeError:  # `pellucid datasets | head -1` has all that it wants
        code = _closed(0)
    except SystemExit as stop:
        # typer ends with 1 in that case, before we hear of it.
        code = _closed(0) if isinstance(stop.__context__, BrokenPipeError) else stop.code
    except OSError as error:  # a full or read-only disk, wherever it shows
        where = f"{error.filename}: " if error.filename else ""
        code = _closed(_fail(f"{where}{error.strerror or error}", 2))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        code = _fail("not enough memory; take smaller pictures, crops, batches or models", 2)
    sys.exit(code or 0)


def _fail(message: str, code: int) -> int:
    _say(" ".join(message.split()))
    return code


def _say(message: str) -> None:
    print(f"pellucid: {message}", file=sys.stderr)


def _closed(code: int) -> int:
    """Let what is left for standard output go nowhere, or Python complains as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    main()
