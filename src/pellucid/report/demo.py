"""`pellucid demo`: an autoencoder learns to clean digits, a skip network restores a photograph.

Everything comes with the dependencies; nothing is downloaded. What is left is a folder with one
page, ``index.html``, that shows it all.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from pellucid import __version__, images
from pellucid.errors import OptionError
from pellucid.learn import datasets, recipes
from pellucid.learn.damage import parse
from pellucid.learn.models import summary
from pellucid.report.evaluate import evaluate
from pellucid.report.html import Figure, Section, Table, index
from pellucid.report.panel import panel
from pellucid.report.results import Report
from pellucid.report.runs import HISTORY, Run, run
from pellucid.restore import zoo
from pellucid.restore.denoise import denoise

NOISE = "gaussian:25/255"
DETAIL = (slice(120, 280), slice(230, 430))
"""Rows and columns of the photograph that the page shows enlarged: the roof and its ridge."""


def demo(out: str | Path) -> str:
    """Make the demonstration in the folder `out`, and say where to look.

    Raises:
        OptionError: The folder holds something else.
    """
    folder = Path(out)
    if (folder / "digits" / HISTORY).exists() or (folder / "photo" / "training").exists():
        raise OptionError(f"{folder} holds a demonstration already; remove it or give -o another")
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    _say("1/2 An autoencoder learns to clean digits that it sees only with noise.")
    digits = run(recipes.read("digits"), folder / "digits", device="cpu", progress=True)
    _say("2/2 A network with skips restores a photograph that it has never seen.")
    sections = [_digits(digits, folder), _photograph(folder)]
    minutes = (time.perf_counter() - started) / 60
    page = index(
        folder,
        "pellucid: from noise to picture",
        sections,
        lead="Convolutional autoencoders, trained and used on this machine just now.",
        footer=f"pellucid {__version__}, made in {minutes:.1f} minutes",
    )
    return f"{sections[1].text}\nOpen {page} to see everything."


def _digits(done: Run, folder: Path) -> Section:
    assert done.test is not None
    here = folder.absolute() / "digits"  # the page takes relative paths from its own place
    frames = sorted((here / "epochs").glob("*.png"))
    report = evaluate(done.model, "digits", baselines=_baselines(), device="cpu")
    made = summary(done.model, 8)
    return Section(
        "An autoencoder learns to clean digits",
        f"1,437 digits of 8x8 pixels, spoilt by Gaussian noise anew in every round; "
        f"{made.parameters:,} weights. The network never sees a clean digit as input, and is "
        f"judged on 180 digits that it has not learnt from. {done.advice}",
        figures=(
            Figure(tuple(frames), "The same digits after every epoch; move the slider."),
            Figure((here / "curves.png",), "Training against validation."),
            Figure((here / "test.png",), "Best, median and worst of the test."),
        ),
        tables=(_table(report),),
        command=f"pellucid train digits -o {folder / 'digits'}",
        files=(here / "report.json", here / HISTORY),
    )


def _photograph(folder: Path) -> Section:
    place = folder / "photo"
    place.mkdir(exist_ok=True)
    data = datasets.load("photographs", channels=3)
    if zoo.DEFAULT in zoo.names():
        model, told = zoo.DEFAULT, f"The shipped model '{zoo.DEFAULT}'"
        command = f"pellucid denoise {place / 'damaged.png'} -o {place / 'restored.png'}"
    else:
        run(recipes.read("photo-minute"), place / "training", device="cpu", progress=True)
        model = str(place / "training")
        told = f"A small network, trained here for a minute on {len(data.train)} other photographs,"
        command = f"pellucid train photo-minute -o {model}\npellucid denoise "
        command += f"{place / 'damaged.png'} -o {place / 'restored.png'} --model {model}"
    clean = data.test.image(0)
    chance = torch.Generator().manual_seed(0)
    damaged = parse(NOISE)(clean, generator=chance, clip=True)
    for name, image in (("clean", clean), ("damaged", damaged)):
        images.write(place / f"{name}.png", image[0].permute(1, 2, 0).numpy())
    started = time.perf_counter()
    restored = denoise(place / "damaged.png", model=model, device="cpu")
    seconds = time.perf_counter() - started
    images.write(place / "restored.png", restored)
    report = evaluate(model, data, NOISE, baselines=_baselines(), device="cpu")
    (place / "scores.json").write_text(report.to_json() + "\n", encoding="utf-8")
    shown = [images.read(place / f"{name}.png").pixels for name in ("clean", "damaged", "restored")]
    names = ("clean", "damaged", "restored")
    panel([shown], place / "panel.png", columns=names, most=427)
    panel([[_detail(each) for each in shown]], place / "detail.png", columns=names, least=400)
    high, wide = clean.shape[-2:]
    here = place.absolute()
    return Section(
        "A photograph, restored at full size",
        f"{told} took {seconds:.2f} s for {wide}x{high} pixels with noise of 25/255: "
        f"{report.damaged['psnr']:.2f} dB before, {report.restored['psnr']:.2f} dB after.",
        figures=(
            Figure((here / "panel.png",), "The photograph is in no training set."),
            Figure((here / "detail.png",), "A part of it."),
        ),
        tables=(_table(report),),
        command=command,
        files=tuple(here / f"{name}.png" for name in names),
    )


def _detail(picture: np.ndarray) -> np.ndarray:
    return picture[DETAIL]


def _table(report: Report) -> Table:
    told = json.loads(report.to_json())
    rows = {"damaged": told["damaged"], "restored": told["restored"]}
    rows |= {name: scores for name, scores in told["baselines"].items() if scores["psnr"]}
    best = max(range(len(rows)), key=lambda i: list(rows.values())[i]["psnr"])
    return Table(
        ("", "PSNR dB", "SSIM", "RMSE"),
        tuple(
            (name, f"{s['psnr']:.2f}", f"{s['ssim']:.4f}", f"{s['rmse']:.4f}")
            for name, s in rows.items()
        ),
        best=best,
    )


def _baselines() -> list[str]:
    """The classical methods that run here in a moment; BM3D where it is installed."""
    return ["median", "gaussian_blur", "nlm", *(["bm3d"] if find_spec("bm3d") else [])]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
