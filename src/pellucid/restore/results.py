"""What became of the files of a run, for people and for programs. Read next: `files`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pellucid import __version__


@dataclass(frozen=True)
class FileResult:
    """What became of one picture: of a page, in a file that has several.

    Args:
        input: The file, or "-".
        output: The file, or "-"; None where nothing was to be written.
        sigma: Estimated noise of the input on the [0, 1] scale, or in a float picture's own units;
            None where it was not read.
        removed: Root mean square of what was taken out, on the same scale; None without an output.
        seconds: Reading, restoring and writing.
        megapixels: Size of the picture; None where it was not read.
        warnings: What the user should know.
        error: Why there is no output, in one line.
        skipped: The output was there already.
        floats: The samples are floats (DICOM, float TIFF), of any unit.
        structure: How far what was removed follows edges (`residual.structure`); None where it was
            not asked for, or cannot be told.
        ink: Share of the ink that is gone from a page; None where the model is not for pages.
        kept: The page stays as it came, for a reason that is among the warnings.
        untried: The disk had been full or read-only before its turn came.
        model: Name of the network that it went through: of a pair the one that fitted, of several
            defaults that of its kind; None where it went through none.
    """

    input: str
    output: str | None
    sigma: float | None = None
    removed: float | None = None
    seconds: float = 0.0
    megapixels: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    skipped: bool = False
    floats: bool = False
    structure: float | None = None
    ink: float | None = None
    kept: bool = False
    untried: bool = False
    model: str | None = None


Progress = Callable[[FileResult, int, int], None]


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with the `results` of the files that were done by then."""

    def __init__(self, results: list[FileResult]) -> None:
        super().__init__()
        self.results = results


def report(results: Iterable[FileResult], model: str) -> dict[str, Any]:
    """The answer of ``denoise --json``, ready for `json.dump`."""
    return {
        "model": model,
        "version": __version__,
        "files": [
            {
                "input": result.input,
                "output": result.output,
                "sigma": _rounded(result.sigma),
                "removed": _rounded(result.removed),
                "seconds": round(result.seconds, 4),
                "megapixels": _rounded(result.megapixels),
                "warnings": list(result.warnings),
                "error": result.error,
                **({} if result.model is None else {"model": result.model}),
                **({} if result.structure is None else {"structure": _rounded(result.structure)}),
                **({} if result.ink is None else {"ink_removed": _rounded(result.ink)}),
                **({"kept": True} if result.kept else {}),
                **({"skipped": True} if result.skipped else {}),
            }
            for result in results
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
