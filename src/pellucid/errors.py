"""What a user can cause, and how it is said: what was given, what is possible, the next step.

The command line prints a `PellucidError` in one line and exits with code 2. Everything else that
is raised is our own mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class PellucidError(Exception):
    """Something that the user can mend."""


class ImageError(PellucidError):
    """A picture that cannot be read or written."""


class OptionError(PellucidError):
    """An unknown name, or a value outside what is possible."""


class DataError(PellucidError):
    """A data set that is missing, empty or inconsistent."""


class CheckpointError(PellucidError):
    """A model file that is missing, damaged, hostile or of another version."""


class MissingExtraError(PellucidError):
    """An optional dependency that is not installed."""


def unknown(kind: str, given: object, available: Iterable[str]) -> OptionError:
    """The error for a name that is not in a table, with the nearest one that is.

    Example:
        >>> print(unknown("degradation", "gausian", ["gaussian", "poisson"]))
        unknown degradation 'gausian'; did you mean 'gaussian'? Available: gaussian, poisson
    """
    names = sorted(set(available))
    nearest = get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return OptionError(f"unknown {kind} '{given}'; {hint}Available: {', '.join(names)}")


MAKING = ("torch", "lightning", "safetensors", "sklearn", "skimage", "matplotlib", "tqdm")
"""What the extra `train` brings, without which the half that makes networks cannot be opened."""


def optional(module: str, extra: str) -> ModuleType:
    """The optional dependency `module`, or a `MissingExtraError` that names its extra."""
    try:
        return import_module(module)
    except ImportError as error:
        raise _missing(module.partition(".")[0], extra) from error


@contextmanager
def making() -> Iterator[None]:
    """Say which extra to install where the half that makes networks is opened without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if root not in MAKING:
            raise
        raise _missing(root, "train") from error


def _missing(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"this needs {package}, which is not installed; run: pip install 'pellucid[{extra}]'"
    )
