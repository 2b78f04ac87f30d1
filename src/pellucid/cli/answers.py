"""What a command says: answers to standard output or a file, the rest to standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pellucid.options import STREAM


def say(message: str) -> None:
    """One line on standard error."""
    print(f"pellucid: {message}", file=sys.stderr)


def save_json(path: Path, told: Any) -> None:
    """Write JSON to a file, or to standard output where the path is ``-``."""
    from pellucid.images.files import atomic

    text = told if isinstance(told, str) else json.dumps(told, indent=2)
    if str(path) == STREAM:
        print(text)
        return
    with atomic(path) as file:
        file.write(text.encode() + b"\n")
