"""Put trained networks into the box: ``python docs/make_weights.py NAME RUN [NAME RUN ...]``.

RUN is a run folder, or several joined by ``+`` of which each began with the one before it. The
first may also be a .safetensors that this has written before: its card knows the runs behind it.
The best weights of the last are rounded to 16 bits and written into the package's ``weights``
folder as NAME.safetensors (to train further) and NAME.onnx (to run), and the rounding to 8 bits of
NAME.onnx as NAME-fast.onnx; NAME.md is the card: recipe, data and their terms, how long it took,
scores, limits. Scores are made here, on pictures that were held out of training and of every choice
(the test part of the recipe's data), so ``$PELLUCID_DATA`` must list the folder that holds them.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from pellucid.errors import CheckpointError
from pellucid.images.files import atomic
from pellucid.learn import checkpoints, datasets, recipes
from pellucid.learn.export import export
from pellucid.learn.models import Restorer, summary
from pellucid.learn.quantise import quantise
from pellucid.report.evaluate import evaluate
from pellucid.restore import zoo

SIGMAS = (5, 15, 25, 50)
MACHINE = "one or two cores of server processors"
CARD = "a graphics card (H100, shared by up to nine runs)"

SPARES = [1 / 255, 2 / 255]
"""For what users give their own pictures to: see `pellucid.restore.spare`. Chosen on the validation
part of `clean_photographs`."""

EVENS = 1.25
"""For the same: see `pellucid.restore.even`. Chosen there as well."""

PAGES = ("document",)
"""Models for pages, not photographs."""

USES = {
    "gaussian-gray": "The benchmark network for grey photographs: blind to white Gaussian noise "
    "that is not clipped. For pictures of your own take `photo`, which knows more kinds of damage.",
    "gaussian-color": "The benchmark network for colour photographs: blind to white Gaussian noise "
    "that is not clipped. For pictures of your own take `photo`, which knows more kinds of damage.",
    "photo": "What `pellucid denoise` uses for colour pictures: sensor noise, grain, JPEG, white "
    "noise, or nothing wrong at all, without being told which.",
    "photo-gray": "What `pellucid denoise` uses for grey pictures, also where they are stored as "
    "RGB: sensor noise, grain, JPEG, white noise, or nothing wrong at all.",
    "document": "For scanned pages, to be read by people or by OCR: noise, specks, stains, "
    "folds, uneven light, faded print, bleed-through, streaks, blur, JPEG, one-bit scans, or "
    "nothing wrong at all, without being told which. Paper becomes white, and print dark on it.",
    "medical": "For grey medical and scientific pictures, and what `pellucid denoise` uses for "
    "grey DICOM: magnitude noise of magnetic resonance (Rician), whose lift of the dark it takes "
    "away, photon noise with and without that of electronics, white noise, or nothing at all.",
    "inpaint": "What `pellucid inpaint` uses for colour pictures: holes of any shape, scratches, "
    "writing, missing blocks, up to nine pixels in ten missing. What is known stays as it is.",
    "inpaint-gray": "What `pellucid inpaint` uses for grey pictures: holes of any shape, "
    "scratches, writing, missing blocks, up to nine pixels in ten missing.",
}
MEDICAL = ("medical",)
"""Models for medical and scientific pictures."""

MEDICAL_DAMAGES = (
    *("none", "rician:0.03", "rician:0.06", "rician:0.1", "poisson:200", "poisson:50"),
    *("poisson:10", "poisson:50+gaussian:0.05", "gaussian:0.06"),
)
HOLES = ("inpaint", "inpaint-gray")
"""Models that fill what a mask says is missing."""

HOLE_DAMAGES = (
    *("mask:0.5", "mask:0.8", "mask:0.9", "mask_strokes:0.5", "mask_blocks:0.25"),
    "mask_centre:0.25",
)
HOLE_LIMITS = """\
- Learnt from photographs: pages of text, X-rays and microscope pictures are other worlds.
- It is trained for the least error, not to invent: wide holes become smooth.
- The mask must cover all that is wrong; what it leaves out stays, and its colours spread inwards.
- Trained on pictures with the terms above; check them before any use that is not research."""
PAGE_DAMAGES = (
    *("none", "gaussian:0.1", "gaussian:0.2", "gaussian:0.3", "salt_pepper:0.1", "salt_pepper:0.2"),
    *("stain:0.6+shade:0.4", "fold:0.5", "fade:0.6+shade:0.4+gaussian:0.04", "bleed:0.4+paper:0.2"),
    *("streaks:0.3", "blur:1.5", "jpeg:20"),
)
MEDICAL_LIMITS = """\
- For research, not for diagnosis. What a network takes for noise may be a finding: look at what was
  removed (`--residual`), and take `--strength low` or `medium` where in doubt.
- Learnt from slices of one head, small X-rays and tomograms, and photographs: other organs,
  sequences and instruments are not among the tests either.
- Noise in blots wider than two pixels (of a soft reconstruction kernel, of strong interpolation),
  streaks, and noise that is stronger in one place than in another (parallel imaging) were not in
  training.
- Where there is no signal it answers with none: mean noise in an empty background is taken away.
  At fewer than about five photons a pixel a dim, wide, flat area can look like such a background,
  and comes out too dark.
- Trained on pictures with the terms above; check them before any use that is not research."""
LIMITS = """\
- Learnt from photographs: pages of text, X-rays and microscope pictures are other worlds.
- Noise beyond a sigma of about 55/255 was not in training.
- Detail that noise has buried is smoothed, not invented; `--strength` below 1 keeps some grain.
- Trained on pictures with the terms above; check them before any use that is not research."""
PAGE_LIMITS = """\
- Learnt from pages that were typeset for it, dark on light: handwriting and white on black were
  rare or absent, and photographs are another world.
- Text of 11 to 60 pixels to the em: 8 to 11 points at 100 to 400 dots an inch.
- Print that is gone is not invented; what looks like a stain to it may have been print, so pages
  that would lose a word stay as they were unless `--force` is given."""


def put(name: str, runs: list[Path]) -> dict[str, Any]:
    """Write the four files of a model, and give back its card."""
    model = checkpoints.load(runs[-1])
    training = training_of(runs)
    target = zoo.WEIGHTS / f"{name}.safetensors"
    target.parent.mkdir(exist_ok=True)
    # Judged as it will be used: with the rounded weights.
    checkpoints.save(model, target, halves=True)
    model = checkpoints.load(target)
    more: dict[str, Any] = {"training": training}
    if name.startswith("photo"):
        more |= {"evens": EVENS, "spares": SPARES}
    if name in MEDICAL:
        # Of bone's fine structure the network would take a patch; no spares: what is measured has
        # no level of 255.
        more |= {"evens": EVENS}
    if name in PAGES:
        # No spares: a few specks on a large page change it less than 1/255 over all.
        more |= {"ink": True}
    model.metadata |= more
    more["scores"] = _scores(name, model)
    checkpoints.save(model, target, halves=True, **more)
    model = checkpoints.load(target)
    export(model, zoo.WEIGHTS / f"{name}.onnx")
    quick = zoo.WEIGHTS / f"{name}{zoo.FAST}.onnx"
    try:
        losses: dict[str, float] | None = quantise(model, quick).loss_db
    except CheckpointError as error:  # it would lose too much; none is better than an older one
        print(f"no {quick.name}: {error}")
        quick.unlink(missing_ok=True)
        losses = None
    card = checkpoints.read_metadata(target)
    with atomic(zoo.WEIGHTS / f"{name}.md") as file:
        file.write(_card(name, card, summary(model).flops_per_pixel, losses).encode())
    return card


def training_of(runs: list[Path]) -> dict[str, Any]:
    """What all runs behind a model were, together and one by one."""
    stages = [stage for run in runs for stage in _stages(run)]
    card = [stage for stage in stages if stage.get("device") == "cuda"]
    cores = [stage for stage in stages if stage not in card]
    return {
        **{what: sum(stage[what] for stage in stages) for what in ("steps", "megapixels")},
        "hours": round(sum(stage["hours"] for stage in cores), 2),
        "machine": MACHINE,
        **({"card_hours": round(sum(stage["hours"] for stage in card), 2)} if card else {}),
        "stages": stages,
    }


def told_stages(name: str, training: dict[str, Any]) -> str:
    """Those runs in words."""
    return "; then ".join(
        f"{stage['epochs']} epochs of {stage['steps'] // stage['epochs']} batches of "
        f"{stage['batch']} crops of {stage['crop']}x{stage['crop']} at a rate of "
        f"{stage['learning_rate']:g}, {_loss(stage)}begun with "
        f"{'itself' if stage['start'] == name else stage['start'] or 'nothing'}, best after "
        f"epoch {stage['best_epoch']}"
        f"{', on the card' if stage.get('device') == 'cuda' else ''}"
        for stage in training["stages"]
    )


def _stages(run: Path) -> list[dict[str, Any]]:
    """What a run was, in numbers; or all runs behind weights that were in the box."""
    if run.suffix == ".safetensors":
        before: list[dict[str, Any]] = checkpoints.read_metadata(run)["training"]["stages"]
        return before
    recipe = recipes.read(run / "recipe.toml")
    settings = recipe.train
    with (run / "history.csv").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    steps = len(history) * (settings.steps or 0)
    stage: dict[str, Any] = {
        "start": settings.start,
        "loss": checkpoints.load(run).options.get("loss"),
        "epochs": len(history),
        "best_epoch": int(min(history, key=lambda row: float(row["val_loss"]))["epoch"]),
        "steps": steps,
        "batch": settings.batch,
        "crop": settings.crop,
        "learning_rate": settings.learning_rate,
        "megapixels": round(steps * settings.batch * (settings.crop or 0) ** 2 / 1e6),
        "hours": round(sum(float(row["seconds"]) for row in history) / 3600, 2),
    }
    if json.loads((run / "report.json").read_text("utf-8"))["device"].startswith("cuda"):
        stage["device"] = "cuda"
    return [stage]


def _scores(name: str, model: Restorer) -> dict[str, dict[str, dict[str, float]]]:
    """PSNR and SSIM on held-out pictures; of a clean picture that is given back, too."""
    data, damages = "clean_photographs", ("none", *(f"gaussian:{s}/255" for s in SIGMAS))
    if name in PAGES:
        data, damages = "pages", PAGE_DAMAGES
    if name in MEDICAL:
        data, damages = "medical_images", MEDICAL_DAMAGES
    if name in HOLES:
        damages = HOLE_DAMAGES
    held, found = datasets.load(data, channels=model.image_channels), {}
    for damage in damages:
        report = evaluate(model, held, damage, clip=name in (*PAGES, *HOLES), split="test")
        found[damage] = {key: round(report.restored[key], 4) for key in ("psnr", "ssim")}
        if damage != "none":
            found[damage]["damaged_psnr"] = round(report.damaged["psnr"], 2)
    return {f"{data} test": found}


def _loss(stage: dict[str, Any]) -> str:
    """What a stage learnt by, where it was noted."""
    return f"in {stage['loss']}, " if stage.get("loss") else ""


def _card(name: str, card: dict[str, Any], flops: float, losses: dict[str, float] | None) -> str:
    told, training = card["recipe"], card["training"]
    (found,) = card["scores"].values()
    rows = [
        f"| {damage} | {s.get('damaged_psnr', '-')} | {s['psnr']:.2f} | {s['ssim']:.4f} |"
        for damage, s in sorted(found.items(), key=lambda item: item[1]["psnr"], reverse=True)
    ]
    hours = f"{training['hours']:.1f} hours on {training['machine']}"
    if "card_hours" in training:
        hours += f" and {training['card_hours']:.2f} on {CARD}"
    is_page = name in PAGES
    shown = "--with gaussian:0.2" if is_page else "--with gaussian:25/255 --no-clip"
    limits = PAGE_LIMITS if is_page else LIMITS
    if name in MEDICAL:
        shown, limits = "--with rician:0.06 --no-clip", MEDICAL_LIMITS
    if name in HOLES:
        shown, limits = "--with mask:0.8", HOLE_LIMITS
    judged = ", PSNR in dB and SSIM"
    if name in HOLES:
        judged += " of the whole picture; before, the holes are black"
    else:
        judged = ("" if is_page else ", noise not clipped") + judged
        judged += "; `none` is a clean picture given\nback"
    stages = told_stages(name, training)
    spares = ""
    if "spares" in card:
        least, enough = (f"{255 * value:g}/255" for value in card["spares"])
        spares = (
            f"- Changes of less than {least} (root mean square over the picture) are not made, and "
            f"fully made from {enough}.\n"
        )
    if "evens" in card:
        often = f"{card['evens']:g}"
        spares += f"- No place is changed by more than {often} times what the others are.\n"
    if card.get("ink"):
        spares += "- A page that comes clean, on white paper, stays so but for its specks.\n"
        spares += "- Black and white under faint noise or JPEG becomes black and white again.\n"
    fast = "none: mostly in 8 bits it would lose more than 0.05 dB at some level of noise"
    if losses is not None:
        lost = ", ".join(
            f"{loss:.3f} dB at {'its own damage' if '|' in damage else damage}"
            for damage, loss in losses.items()
        )
        fast = f"`{name}{zoo.FAST}`, most of it in 8 bits; it loses {lost}"
    return f"""# {name}

{USES[name]}

- Network: `{card["model"]}` {json.dumps(card["options"])}; {flops / 1000:.0f} kFLOP a pixel.
- Recipe: `pellucid train {name} -o RUN --set train.epochs={told["train"]["epochs"]}`.
- Damage: `{told["damage"]["with"]}`{"" if told["damage"]["clip"] else ", not clipped"}.
- Training: {training["steps"]:,} steps, {training["megapixels"]:,} megapixels, \
{hours}: {stages}.
- Data: `{card["data"]}`. Terms: {card["licence"]}.
- Fast form: {fast}.
{spares}- Weights rounded to 16 bits. Version {card["version"]}.

Scores on the pictures of `{card["data"]}` that were held out as its test\
{judged}:

```sh
pellucid evaluate {name} --data {card["data"]} {shown}
```

| damage | before | after | SSIM |
|---|---|---|---|
{chr(10).join(rows)}

Limits

{limits}
"""


if __name__ == "__main__":
    if len(sys.argv) < 3 or len(sys.argv) % 2 == 0:
        sys.exit((__doc__ or "").splitlines()[0])
    for given, folders in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        print(given, json.dumps(put(given, [Path(run) for run in folders.split("+")])["scores"]))
