"""A network on what cameras and the web do to pictures, beside BM3D and OpenCV's coloured NLM.

    PELLUCID_DATA=data python benchmarks/real_noise.py photo -o real.json

PolyU's pairs (a camera's own noise, in JPEG, against the mean of many shots) and CBSD68 with noise
and then JPEG. Nobody is told anything: both classical methods are given the noise level that
`estimate_sigma` finds in the 8-bit picture, at their usual strength. What JPEG has smoothed looks
like less noise than it is, so `--levels 5 10` runs them at those levels (of 255) as well. Test sets
are for telling, not for choosing: run this rarely, and with --limit only to see that it works.
BM3D takes an hour: rows of classical methods that the file of -o holds already are kept, and after
each method the file is written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import parser, run, save, table

Pixels = NDArray[np.float32]

CASES: dict[str, tuple[str, str | None]] = {
    "PolyU": ("polyu", None),
    "CBSD68, noise 15 then JPEG 70": ("cbsd68", "gaussian:15/255+jpeg:70"),
    "CBSD68, noise 25 then JPEG 50": ("cbsd68", "gaussian:25/255+jpeg:50"),
}
CLASSICAL = {"BM3D": "bm3d", "OpenCV NLM": "opencv_nlm"}


def classical(name: str, level: float | None = None) -> Callable[[Pixels], Pixels]:
    """A method at a noise level of 255, or at the one that it estimates first."""
    from pellucid.report.baselines import BASELINES
    from pellucid.restore.noise import estimate_sigma

    def restore(picture: Pixels) -> Pixels:
        # The estimate knows where integers are clipped, and that floats need not be.
        samples = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
        sigma = estimate_sigma(samples) if level is None else level / 255
        return BASELINES[name](picture, sigma)

    return restore


def scored(
    model: str,
    limit: int | None,
    cases: list[str],
    levels: Sequence[float] = (),
    out: Path | None = None,
) -> dict[str, Any]:
    """Every method's scores in each case, the input's among them."""
    from pellucid.report.evaluate import evaluate
    from pellucid.restore.runtime import open_model

    runner = open_model(model)
    methods: dict[str, Any] = {runner.name: runner}
    for name, key in CLASSICAL.items():
        methods[name] = classical(key)
        methods |= {f"{name}, told {level:g}": classical(key, level) for level in levels}
    found: dict[str, Any] = json.loads(out.read_text()) if out and out.exists() else {}
    for case in cases:
        data, damage = CASES[case]
        kept = found.pop(case, {})
        found[case] = {}
        for name, method in methods.items():
            if name in kept and name != runner.name and kept[name].get("limit") == limit:
                found[case] |= {"input": kept["input"], name: kept[name]}
                continue
            began = time.perf_counter()
            report = evaluate(method, data, damage, limit=limit)
            found[case].setdefault("input", {"n": report.n, **report.damaged})
            # A mean hides a picture that was made worse.
            gains = [one["restored"]["psnr"] - one["damaged"]["psnr"] for one in report.images]
            found[case][name] = {
                **report.restored,
                "worst_gain": min(gains),
                "seconds": time.perf_counter() - began,
                "limit": limit,
            }
            save(out, found | {case: kept | found[case]})
    return {case: found[case] for case in cases}


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("model", metavar="MODEL", help="a network: name or file")
    read.add_argument("--limit", type=int, help="so many pictures of each set: no figure to tell")
    read.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    read.add_argument("--levels", type=float, nargs="+", default=(), metavar="SIGMA")
    given = read.parse_args(arguments)
    found = scored(given.model, given.limit, given.only, given.levels, given.out)
    lines = []
    for case, methods in found.items():
        before = methods["input"]
        for name, one in methods.items():
            gain = "" if one is before else f"{one['psnr'] - before['psnr']:+.2f}"
            worst = "" if one is before else f"{one['worst_gain']:+.2f}"
            scores = f"{one['psnr']:.2f}", f"{one['ssim']:.4f}"
            title = f"{case} ({before['n']} pictures)" if one is before else ""
            lines.append([title, name, *scores, gain, worst])
    print(table(["pictures", "", "PSNR dB", "SSIM", "gain dB", "worst gain dB"], lines))


if __name__ == "__main__":
    run(main)
