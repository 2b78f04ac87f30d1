"""What is known of published data sets that are found by name but never downloaded.

Which are for judging only, which pictures must stay together when they are split, and what their
owners allow: trained weights have to say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

# Nothing of a published test set is held back, and nobody should train on one.
TEST_SETS = frozenset(
    {"set12", "bsd68", "cbsd68", "kodak24", "mcmaster", "urban100", "polyu", "w2s"}
)


def _by_folder(paths: Sequence[str]) -> list[str]:
    """One key for a folder: the ten pictures of a face must not be split."""
    return [path.rpartition("/")[0] for path in paths]


def _by_neighbours(paths: Sequence[str], gap: int = 500) -> list[str]:
    """One key for numbers that follow within `gap`: the exposures of one tile, seconds apart."""
    numbers = [_number(path) for path in paths]
    keys, key, last = {}, "", -gap - 1
    for number in sorted(numbers):
        key = key if number - last <= gap else str(number)
        keys[number] = key
        last = number
    return [keys[number] for number in numbers]


def _number(path: str) -> int:
    digits = Path(path).stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else 0


# Keys for relative paths; pictures of one key come into one split. F. Samaria, A. Harter,
# "Parameterisation of a stochastic model for human face identification", 1994; Y. Huang, C. Qiu,
# K. Yuan, "Surface defect saliency of magnetic tile", 2020.
GROUPS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "faces_orl": _by_folder,
    "magnetic_tile": _by_neighbours,
}

_BERKELEY = "Berkeley's terms: non-commercial research and education"

LICENCES: dict[str, str] = {
    "bsd68": _BERKELEY,
    "bsds500_train432": _BERKELEY,
    "cbsd68": _BERKELEY,
    "cifar10_lossless": "none stated by the authors of CIFAR-10",
    "div2k_crops256": "DIV2K's terms: academic research only",
    "faces_orl": "free with credit to Olivetti Research Laboratory",
    "imagenet_samples": "ImageNet's terms: non-commercial research and education",
    "mednist": "none stated; MedNIST is by B. J. Erickson (Mayo Clinic) under CC BY-SA 4.0",
    "magnetic_tile": "none stated; cite Huang, Qiu, Yuan 2020",
    "noisyoffice": "not stated with the files; UCI lists donated sets under CC BY 4.0",
    "photos_free": "CC0, Unsplash and Pexels licences, photo by photo",
    "pneumonia_28": "CC BY 4.0 (MedMNIST)",
    "polyu": "non-commercial only, (c) 2018 The Hong Kong Polytechnic University",
    "t1w_head": "PDDL, public domain (M. Hanke et al., studyforrest, 2014)",
}
