"""The published Gaussian tables, with our networks in them.

    PELLUCID_DATA=data python benchmarks/published.py gaussian-gray gaussian-color -o published.json

Each network given, by name or file, is scored on the test sets for its kind of picture (Set12 and
BSD68 grey, CBSD68 colour) at sigma 15, 25 and 50, as the tables were made: `evaluate --published`.
One blind network against the figures that the authors of others printed; most of those are told the
noise level, or are one network for each. Test sets are for telling, not for choosing: run this
rarely, and with --limit only to see that it works. With --ensemble each network is scored once more
as the mean over eight views of every picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tables import parser, run, save, slashed, table

SIGMAS = (15, 25, 50)
SETS = {"set12": 1, "bsd68": 1, "cbsd68": 3}
"""The test sets, and the channels of their pictures."""

Scores = tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """What its authors published.

    Attributes:
        knows: How it knows the noise level.
        parameters: Millions of them, for grey.
        source: Who and where.
        psnr: At each sigma, by test set.
    """

    knows: str
    parameters: float | None
    source: str
    psnr: dict[str, Scores] = field(default_factory=dict)


PUBLISHED = {
    "BM3D": Method(
        "told",
        None,
        "Dabov et al. 2007, https://doi.org/10.1109/TIP.2007.901238; in colour CBM3D; figures as "
        "later tables print them",
        {
            "set12": (32.37, 29.97, 26.72),
            "bsd68": (31.08, 28.57, 25.60),
            "cbsd68": (33.52, 30.71, 27.38),
        },
    ),
    "DnCNN": Method(
        "one for each",
        0.56,
        "Zhang et al. 2017, https://arxiv.org/abs/1608.03981",
        {
            "set12": (32.86, 30.44, 27.18),
            "bsd68": (31.73, 29.23, 26.23),
            "cbsd68": (33.90, 31.24, 27.95),
        },
    ),
    "DnCNN-B": Method(
        "blind",
        0.67,
        "Zhang et al. 2017, https://arxiv.org/abs/1608.03981",
        {"bsd68": (31.61, 29.16, 26.23)},
    ),
    "FFDNet": Method(
        "told",
        0.49,
        "Zhang et al. 2018, https://arxiv.org/abs/1710.04026",
        {
            "set12": (32.75, 30.43, 27.32),
            "bsd68": (31.63, 29.19, 26.29),
            "cbsd68": (33.87, 31.21, 27.96),
        },
    ),
    "GRL-T": Method(
        "one for each",
        0.88,
        "Li et al. 2023, https://arxiv.org/abs/2303.00748",
        {
            "set12": (33.29, 30.92, 27.78),
            "bsd68": (31.90, 29.43, 26.49),
            "cbsd68": (34.30, 31.66, 28.45),
        },
    ),
    "DRUNet": Method(
        "told",
        32.6,
        "Zhang et al. 2021, https://arxiv.org/abs/2008.13751",
        {
            "set12": (33.25, 30.94, 27.90),
            "bsd68": (31.91, 29.48, 26.59),
            "cbsd68": (34.30, 31.69, 28.51),
        },
    ),
    "SwinIR": Method(
        "one for each",
        11.5,
        "Liang et al. 2021, https://arxiv.org/abs/2108.10257",
        {"set12": (33.36, 31.01, 27.91), "bsd68": (31.97, 29.50, 26.58)},
    ),
    "Restormer": Method(
        "one for each",
        26.1,
        "Zamir et al. 2022, https://arxiv.org/abs/2111.09881",
        {
            "set12": (33.42, 31.08, 28.00),
            "bsd68": (31.96, 29.52, 26.62),
            "cbsd68": (34.40, 31.79, 28.60),
        },
    ),
}

BARS = ("FFDNet", "DRUNet")
"""What ours are compared with."""


def scored(model: str, limit: int | None, ensemble: bool = False) -> dict[str, Any]:
    """PSNR and SSIM of a network at every sigma, by test set."""
    from anatomy import anatomy

    from pellucid.report.evaluate import evaluate
    from pellucid.restore.runtime import open_model

    runner = open_model(model)
    made = anatomy(model)
    name = f"{runner.name} --ensemble" if ensemble else runner.name
    found: dict[str, Any] = {"name": name, "sets": {}}
    found["parameters"] = made.parameters if made else None
    for name, channels in SETS.items():
        if channels != runner.channels:
            continue
        reports = [
            evaluate(
                runner,
                name,
                f"gaussian:{sigma}/255",
                published=True,
                limit=limit,
                ensemble=ensemble,
            )
            for sigma in SIGMAS
        ]
        found["sets"][name] = {
            "n": reports[0].n,
            "psnr": [report.restored["psnr"] for report in reports],
            "ssim": [report.restored["ssim"] for report in reports],
            "damaged": [report.damaged["psnr"] for report in reports],
            "seconds": [report.seconds for report in reports],
        }
    return found


def rows(ours: list[dict[str, Any]]) -> list[list[str]]:
    """The published methods, then each of ours with its differences."""
    lines = [
        [
            name,
            method.knows,
            f"{method.parameters:g} M" if method.parameters else "-",
            *(slashed(method.psnr.get(data, ())) for data in SETS),
        ]
        for name, method in PUBLISHED.items()
    ]
    for one in ours:
        cells = [slashed(one["sets"].get(data, {}).get("psnr", ())) for data in SETS]
        size = "-" if one["parameters"] is None else f"{one['parameters'] / 1e6:.2g} M"
        lines.append([f"**{one['name']}**", "blind", size, *cells])
        for bar in BARS:
            cells = []
            for data in SETS:
                mine = one["sets"].get(data, {}).get("psnr", ())
                theirs = PUBLISHED[bar].psnr.get(data, ())
                gains = [a - b for a, b in zip(mine, theirs, strict=False)]
                cells.append(slashed(gains, "+.2f"))
            lines.append([f"over {bar}", "", "", *cells])
    return lines


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("models", nargs="+", metavar="MODEL", help="a network: name or file")
    read.add_argument(
        "--ensemble", action="store_true", help="also with eight views of each picture"
    )
    read.add_argument("--limit", type=int, help="so many pictures of each set: no figure to tell")
    given = read.parse_args(arguments)
    ways = (False, True) if given.ensemble else (False,)
    ours = [scored(model, given.limit, way) for model in given.models for way in ways]
    save(given.out, ours)
    if given.limit:
        print(f"at most {given.limit} pictures of each set: not comparable\n")
    head = ["PSNR dB, sigma 15 / 25 / 50", "noise level", "parameters", *SETS]
    print(table(head, rows(ours)))
    similar = [
        [one["name"], *(slashed(one["sets"].get(s, {}).get("ssim", ()), ".4f") for s in SETS)]
        for one in ours
    ]
    print("\n" + table(["SSIM, sigma 15 / 25 / 50", *SETS], similar))
    print("\nPublished by:\n")
    for name, method in PUBLISHED.items():
        print(f"- {name}: {method.source}")


if __name__ == "__main__":
    run(main)
