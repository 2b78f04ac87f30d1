"""The verbs that make and judge models, and the lists of what there is."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pellucid.cli.answers import save_json, say
from pellucid.errors import OptionError, unknown
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
    place_of_png,
)

FEW = 10
"""Of fewer pictures a mean says little."""


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")] = Path(
        "demo"
    ),
) -> None:
    """Watch an autoencoder learn, and see a photograph restored."""
    from pellucid.report.demo import demo as show

    print(show(out))


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


def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name, file or run folder.")],
    data: DataName,
    spec: Annotated[
        str | None,
        typer.Option(
            "--with", help="Damage to undo; leave it out for pairs. none scores clean pictures."
        ),
    ] = None,
    clip: Annotated[
        bool | None,
        typer.Option(
            "--clip/--no-clip",
            help="Keep damaged values in [0, 1], or not; as in training where --with is left out.",
            show_default=False,
        ),
    ] = None,
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
        str, typer.Option("--split", help="Part to judge; all takes every picture.")
    ] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", help="Judge so many pictures at most.")
    ] = None,
    seed: Seed = 0,
    device: EngineOption = Engine.auto,
    ensemble: EnsembleOption = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", help="Bound a variational model's likelihood by so many draws: IWAE-K."
        ),
    ] = None,
    panel: Annotated[
        Path | None,
        typer.Option("--panel", callback=place_of_png, help="Draw best, median and worst here."),
    ] = None,
    task: Annotated[
        Task, typer.Option("--task", help="Judge pixels, what Tesseract reads, or ink.")
    ] = Task.pixels,
    language: Annotated[
        str, typer.Option("--language", help="What Tesseract is to expect.")
    ] = "eng",
    json_file: JsonFile = None,
) -> None:
    """Score a model on data: PSNR, SSIM, RMSE, MAE, nats; how pages are read; what ink is found."""
    if task is not Task.pixels:
        if published or panel or baselines_limit or samples or clip is False or split != "test":
            raise OptionError(
                f"--task {task.value} judges all pages of a folder; leave out --published, "
                "--panel, --split, --samples, --no-clip and --baselines-limit (--limit judges "
                "fewer)"
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
    from pellucid.restore.walk import keep_apart

    keep_apart((panel,), data, model)

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
        samples=samples,
    )
    _tell(report, json_file)
    if report.split == "test" and report.total < FEW:
        say(
            f"the test part has {report.total} of the pictures of {data}; --split all judges every "
            "one"
        )
    if panel:
        report.panel(panel)


def _tell(report: Any, json_file: Path | None) -> None:
    """A report's table, and its JSON where that was asked for."""
    print(report.table(), file=sys.stderr if str(json_file) == STREAM else sys.stdout)
    if json_file:
        save_json(json_file, report.to_json())


def export(
    model: Annotated[str, typer.Argument(help="A checkpoint, a run folder or a shipped name.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", callback=place, help="The .onnx file; of a codec .codec.npz."),
    ],
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
    from pellucid.restore.zoo import CODEC_SUFFIX

    if out.name.lower().endswith(CODEC_SUFFIX):
        if int8 or data is not None:
            raise OptionError(
                f"a codec ({CODEC_SUFFIX}) is not written in 8 bits; leave --int8 out"
            )
        from pellucid.learn.codec_file import write as write_codec

        print(write_codec(model, out))
        return
    if int8:
        from pellucid.learn.quantise import quantise

        print(quantise(model, out, data=data))
        return
    if data is not None:
        raise OptionError("--data is for --int8, which needs pictures; leave it out or add --int8")
    from pellucid.learn.export import export as write

    print(write(model, out))


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

    cards = {title: zoo.card(title) for title in zoo.names()}
    boxed = {title: _about(title, card) for title, card in cards.items()}
    fill = {title for title, card in cards.items() if card.get("model") == "inpaint"}
    print("in the box (pellucid denoise INPUT -o OUT --model NAME):")
    clean = {title: about for title, about in boxed.items() if title not in fill}
    _list(clean or {"none": "train one"})
    if fill:
        print("for holes (pellucid inpaint PICTURE --mask MASK -o OUT --model NAME):")
        _list({title: about for title, about in boxed.items() if title in fill})
    if zoo.codecs():
        print("codecs (pellucid compress IMAGE -o FILE.plc --model NAME):")
        _list({title: _about(title) for title in zoo.codecs()})
    print("recipes (pellucid train NAME -o RUN):")
    _list({title: recipes.read(title).about for title in recipes.names()})


def _about(title: str, card: Mapping[str, Any] | None = None) -> str:
    """What a network is for, by its recipe; of a fast form, what it is the fast form of."""
    from pellucid.learn import recipes
    from pellucid.restore import zoo

    if title.endswith(zoo.FAST):
        return f"{title.removesuffix(zoo.FAST)}, mostly in 8 bits: about twice as fast"
    told = ((card or {}).get("recipe") or {}).get("about")
    return told or (recipes.read(title).about if title in recipes.names() else "")


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

    if name in MODELS and name not in zoo.names():
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


def datasets() -> None:
    """List the data sets that can be named."""
    from pellucid.learn.datasets import DATASETS, found_names

    for title, entry in DATASETS.items():
        print(f"{title:18}{entry.about}")
    found = [title for title in found_names() if title not in DATASETS]
    print(f"found under $PELLUCID_DATA: {', '.join(found) or 'nothing'}")
    print("or a folder of pictures, two folders NOISY:CLEAN, or an .npz with 'images'")
