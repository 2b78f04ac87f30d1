"""Pages of a file that is not finished, so that a killed run goes on where it was.

A file of many pages is written when all of them are done, or not at all. Until then each finished
page waits in a hidden folder beside the output, with a word on what it was made of and how; the
same command finds it there, another one does not. Read next: `files`.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pellucid import __version__
from pellucid.errors import ImageError
from pellucid.images.files import atomic
from pellucid.images.picture import Picture
from pellucid.restore import zoo
from pellucid.restore.runtime import Runner
from pellucid.restore.twins import Twins


@dataclass(frozen=True)
class Unfinished:
    """The folder of one output.

    Args:
        folder: Where its pages wait; made when the first of them is kept.
        made_of: Source, model and options, as JSON can hold them.
    """

    folder: Path
    made_of: Mapping[str, Any]

    @classmethod
    def beside(cls, target: Path, made_of: Mapping[str, Any]) -> Unfinished:
        """For the output at `target`."""
        return cls(target.with_name(f".{target.name[:100]}.pages"), made_of)

    def keep(self, before: Picture, clean: Picture, told: Mapping[str, Any]) -> None:
        """Keep a finished page if that can be done; nothing is lost but time where it cannot.

        Args:
            before: The page as it came.
            clean: As it will be written.
            told: What is to be told of it, as JSON can hold it.
        """
        note = {"made_of": self.made_of, "told": told, "same": clean is before}
        note |= {"bits": clean.bits, "derivation": clean.derivation}
        parts: dict[str, Any] = {"note": _bytes(json.dumps(note).encode())}
        if clean is not before:
            parts["samples"] = clean.samples
            parts |= {} if clean.alpha is None else {"alpha": clean.alpha}
            parts |= {} if clean.icc is None else {"icc": _bytes(clean.icc)}
        with suppress(OSError, ImageError):
            self.folder.mkdir(exist_ok=True)
            with atomic(self._place(before)) as file:
                np.savez_compressed(file, **parts)

    def find(self, before: Picture) -> tuple[Picture, dict[str, Any]] | None:
        """The finished page and what was told of it; None where there is none made like this."""
        try:
            with np.load(self._place(before), allow_pickle=False) as kept:
                note = json.loads(kept["note"].tobytes())
                if note["made_of"] != self.made_of:
                    return None
                told: dict[str, Any] = note["told"]
                if note["same"]:
                    return before, told
                icc = kept.get("icc")
                return replace(
                    before,
                    samples=kept["samples"],
                    alpha=kept.get("alpha"),
                    icc=None if icc is None else icc.tobytes(),
                    bits=note["bits"],
                    derivation=note["derivation"],
                ), told
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, ImageError):
            return None

    def clear(self) -> None:
        """Remove the folder: the file is whole, or cannot be made."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _place(self, page: Picture) -> Path:
        return self.folder / f"{page.page[0]:06d}.npz"


def made_by(model: str | Path | Runner | Twins | None, *options: object) -> list[Any] | None:
    """What decides how a page comes out, as JSON can hold it; None for a model that is no file.

    Args:
        model: As `files.denoise_files` takes it.
        options: Numbers, texts and truth values.
    """
    if model is not None and not isinstance(model, str | Path):
        return None
    names = [zoo.DEFAULT, zoo.MEDICAL] if model is None else [model]
    files = [zoo.resolve(name) for name in names if model is not None or name in zoo.names()]
    return [__version__, [state(file) for file in files], *options]


def state(path: str | Path) -> list[Any]:
    """Which file this is, and in which state."""
    found = os.stat(path)
    return [os.path.realpath(path), found.st_size, found.st_mtime_ns]


def _bytes(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(content, np.uint8)
