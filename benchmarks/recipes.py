"""Run every packaged recipe, judge each against the classic filters, and print one table.

    PELLUCID_DATA=data python benchmarks/recipes.py -o runs

Runs that are there already are not made again, and a run that was cut short goes on. The row of a
recipe comes from two commands, `pellucid train RECIPE -o RUN --resume` and `pellucid evaluate RUN
--data DATA --baselines`; the table only copies what they wrote. `--set NAME:section.key=value`
changes the recipe NAME, for example the folder that r2-folder learns from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pellucid.learn import recipes

HEAD = ("recipe", "data", "damage", "epochs", "seconds", "damaged", "restored", "best classical")


def made(name: str, out: Path, changes: list[str], limit: int) -> tuple[Any, Any]:
    """The report and the evaluation of one recipe."""
    run, told = out / name, out / f"{name}.json"
    sets = [part for change in changes for part in ("--set", change)]
    pellucid = [sys.executable, "-m", "pellucid"]
    if not (run / "report.json").exists():
        train = [*pellucid, "train", name, "-o", str(run), "--resume", "--quiet", *sets]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    if not told.exists():
        data = recipes.read(run / "recipe.toml").data.name
        judge = [*pellucid, "evaluate", str(run), "--data", data, "--baselines"]
        judge += ["--baselines-limit", str(limit), "--json", str(told)]
        judge += ["--panel", str(out / f"{name}.png")]
        subprocess.run(judge, check=True, stdout=subprocess.DEVNULL)
    return json.loads((run / "report.json").read_text()), json.loads(told.read_text())


def scores(told: dict[str, float]) -> str:
    """PSNR / SSIM / RMSE as one cell."""
    return f"{told['psnr']:.2f} / {told['ssim']:.3f} / {told['rmse']:.4f}"


def best_classical(told: dict[str, Any]) -> str:
    """The baseline with the highest PSNR, beside our own on the same pictures."""
    # Filters have nothing to do where nothing is damaged; there a code of the same size competes.
    names = {"pca"} if told["damage"] == "none" else told["baselines"].keys() - {"identity"}
    held = {k: v for k, v in told["baselines"].items() if v["psnr"] and k in names}
    if not held:
        return "-"
    name = max(held, key=lambda key: held[key]["psnr"])
    ours = held[name]["restored"]["psnr"]
    return f"{name} {scores(held[name])} (ours there {ours:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=recipes.names())
    parser.add_argument("--set", action="append", default=[], metavar="NAME:section.key=value")
    parser.add_argument("--baselines-limit", type=int, default=100)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for name in given.only:
        changes = [text.partition(":")[2] for text in given.set if text.startswith(f"{name}:")]
        report, told = made(name, given.out, changes, given.baselines_limit)
        damage = told["damage"] + (", clipped" if told["clipped"] else "")
        rows.append(
            (
                name,
                f"{Path(told['data'].rpartition(':')[2]).name} ({report['data']['train']:,})",
                damage,
                str(report["epochs"]),
                f"{report['seconds']:.0f}",
                scores(told["damaged"]),
                scores(told["restored"]),
                best_classical(told),
            )
        )
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
