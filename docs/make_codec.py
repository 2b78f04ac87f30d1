"""Put a trained codec into the box: ``python docs/make_codec.py NAME RUN``.

RUN is a run folder, or several runs joined by ``+`` as `make_weights` takes them.
The best weights of the last are rounded to 16 bits and written into the package's ``weights``
folder as NAME.safetensors (to train further) and NAME.codec.npz (to compress and decompress with).
NAME.md is the card: recipe, data and their terms, how long it took, scores, limits. Scores are
those of whole files, on pictures that were held out of training and of every choice (the test part
of the recipe's data), so ``$PELLUCID_DATA`` must list the folder that holds them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from make_weights import MACHINE, told_stages, training_of

from pellucid.images import picture_of
from pellucid.images.files import atomic
from pellucid.learn import checkpoints, codec_file, datasets
from pellucid.learn.models import summary
from pellucid.restore import zoo
from pellucid.restore.codec import Codec
from pellucid.uses.compress import compressed, decompress

ABOUT = (
    "What `pellucid compress` and `pellucid decompress` use: colour photographs in fewer bytes "
    "than JPEG, at eight qualities. Grey pictures go through it as colours."
)
LIMITS = """\
- Learnt from photographs: pages of text, drawings and screenshots cost more bits than they need to,
  and PNG is the better form for them.
- Lossy at every quality, and the noise of a picture is among the first that goes.
- A file can be read only with these very weights; it says so, by name and fingerprint.
- Trained on pictures with the terms above; check them before any use that is not research."""


def put(name: str, runs: list[Path]) -> list[dict[str, Any]]:
    """Write the three files of a codec, and give back its scores at each quality."""
    target = zoo.WEIGHTS / f"{name}.safetensors"
    # Judged as it will be used: with the rounded weights.
    checkpoints.save(checkpoints.load(runs[-1]), target, halves=True)
    model, training = checkpoints.load(target), training_of(runs)
    model.metadata |= {"training": training}
    written = codec_file.write(model, zoo.WEIGHTS / f"{name}{zoo.CODEC_SUFFIX}", name=name)
    scores = _scores(Codec.open(written.path), model.metadata["data"])
    checkpoints.save(model, target, halves=True, training=training, scores=scores)
    card = checkpoints.read_metadata(target)
    flops = summary(model, size=256).flops_per_pixel
    with atomic(zoo.WEIGHTS / f"{name}.md") as file:
        file.write(_card(name, card, flops, scores, written.size_bytes).encode())
    return scores


def _scores(codec: Codec, data: str) -> list[dict[str, Any]]:
    """Bits of the file a pixel, and PSNR over all channels; means over the pictures."""
    held, rows = datasets.load(data, channels=codec.channels).test, []
    pictures = [
        (255 * held.image(i)[0].permute(1, 2, 0)).round().byte().numpy() for i in range(len(held))
    ]
    for quality in range(1, codec.qualities + 1):
        bpp, psnr = [], []
        for samples in pictures:
            made = compressed(picture_of(samples), codec, quality=quality)
            back = decompress(made.data, model=codec).samples
            error = np.square(back.astype(np.float64) - samples).mean()
            bpp.append(8 * len(made.data) / made.pixels)
            psnr.append(10 * np.log10(255**2 / error))
        rows.append(
            {
                "quality": quality,
                "bpp": round(float(np.mean(bpp)), 4),
                "psnr": round(float(np.mean(psnr)), 3),
            }
        )
    return rows


def _card(
    name: str, card: dict[str, Any], flops: float, scores: list[dict[str, Any]], size: int
) -> str:
    training = card["training"]
    rows = "\n".join(f"| {s['quality']} | {s['bpp']:.3f} | {s['psnr']:.2f} |" for s in scores)
    return f"""# {name}

{ABOUT}

- Network: `{card["model"]}` {json.dumps(card["options"])}; {flops / 1000:.0f} kFLOP a pixel, \
there and back.
- Recipe: `pellucid train {name} -o RUN --set \
train.epochs={card["recipe"]["train"]["epochs"]}`.
- Training: {training["steps"]:,} steps, {training["megapixels"]:,} megapixels, \
{training["hours"]:.1f} hours on {MACHINE}: {told_stages(name, training)}.
- Data: `{card["data"]}`. Terms: {card["licence"]}.
- `{name}{zoo.CODEC_SUFFIX}` has {size / 1e6:.1f} MB. Weights rounded to 16 bits. Version \
{card["version"]}.

Bits a pixel of whole files, and PSNR in dB over all channels, means over the pictures of \
`{card["data"]}` that were held out as its test:

```sh
python docs/make_codec.py {name} RUN
```

| quality | bits a pixel | PSNR |
|---|---|---|
{rows}

Beside JPEG, WebP and AVIF: docs/benchmarks.md.

Limits

{LIMITS}
"""


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit((__doc__ or "").splitlines()[0])
    for row in put(sys.argv[1], [Path(run) for run in sys.argv[2].split("+")]):
        print(row)
