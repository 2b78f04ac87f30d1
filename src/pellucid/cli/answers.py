"""What a command says: answers to standard output or a file, the rest to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pellucid.errors import OptionError
from pellucid.options import STREAM, place_of_json


def say(message: str) -> None:
    """One line on standard error."""
    print(f"pellucid: {message}", file=sys.stderr)


def say_errors(failed: Sequence[Any]) -> None:
    """A line for each file that failed, and one for all those that were not tried after it.

    Args:
        failed: Results with `error` and `untried`.
    """
    for result in failed:
        if not result.untried:
            say(str(result.error))
    if untried := sum(result.untried for result in failed):
        say(
            f"no more could be written, so {untried} more were not tried; the same command goes on "
            "with them once there is space"
        )


def one_stream(out: str, json_file: Path | None) -> None:
    """Refuse to send both the output and the JSON to standard output.

    Raises:
        OptionError: Both are ``-``.
    """
    if out == STREAM == str(json_file):
        raise OptionError(
            "standard output takes the output or the JSON, not both; give --json a file"
        )


def save_json(path: Path, told: Any) -> None:
    """Write JSON to a file, or to standard output where the path is ``-``."""
    from pellucid.images.files import atomic

    text = told if isinstance(told, str) else json.dumps(told, indent=2)
    if str(path) == STREAM:
        print(text)
        return
    place_of_json(path)
    with atomic(path) as file:
        file.write(text.encode() + b"\n")
