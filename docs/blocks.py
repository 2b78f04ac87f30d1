"""The code blocks of a page, and how to run them: what a reader sees is what runs.

Blocks fenced as ``sh`` and ``python`` run in order, in one folder and one Python session. A
``text`` block right after one says what it prints. A ``toml`` block is saved under the file name
in the line above it. ``<!-- not run: REASON -->`` in the line before a block leaves it out. The
tests and `make_pictures` both read the pages through this file.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        kind: ``sh``, ``python``, ``toml`` or ``text``.
        text: What is between the fences.
        line: Where it begins in the page, from 1.
        why: Why it is not run, or empty.
        prints: What the ``text`` block right after it says that it prints, or None.
    """

    kind: str
    text: str
    line: int
    why: str = ""
    prints: str | None = None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order."""
    source = page.read_text("utf-8")
    found: list[Block] = []
    end = -1
    for match in _FENCE.finditer(source):
        kind, text = match["kind"], match["text"]
        if kind == "text" and found and not source[end : match.start()].strip():
            found[-1] = Block(found[-1].kind, found[-1].text, found[-1].line, found[-1].why, text)
        else:
            line = source.count("\n", 0, match.start("text"))
            found.append(Block(kind, text, line, match["why"] or ""))
        end = match.end()
    return found


KINDS = ("sh", "python", "toml")


def run(page: Path, folder: Path, *, until: str = "", kinds: Sequence[str] = KINDS) -> None:
    """Run the blocks of a page in `folder`, one after the other.

    Args:
        page: The Markdown file.
        folder: The working directory of the commands.
        until: Stop at the first line that begins so.
        kinds: Run these only.

    Raises:
        AssertionError: A command failed, or printed something else than the page says.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    lines = page.read_text("utf-8").splitlines()
    stops = [i for i, line in enumerate(lines) if until and line.startswith(until)]
    for block in blocks(page):
        if stops and block.line > stops[0]:
            return
        if block.why or block.kind not in kinds:
            continue
        where = f"{page.name}, line {block.line}"
        said = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(said):
            if block.kind == "toml":
                above = " ".join(lines[: block.line - 1][-2:])
                Path(re.findall(r"`(\S+\.toml)`", above)[-1]).write_text(block.text, "utf-8")
            elif block.kind == "python":
                # The line numbers of a traceback are those of the page.
                exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
            else:
                for words in commands(block.text):
                    code = command(words)
                    assert code == 0, f"{where}: '{shlex.join(words)}' ended with {code}"
        if block.prints is not None:
            assert said.getvalue().rstrip() == block.prints.rstrip(), f"{where}:\n{said.getvalue()}"


def commands(text: str) -> list[list[str]]:
    """The commands of a shell block, each as its words."""
    joined = text.replace("\\\n", " ")
    parts = [part for line in joined.splitlines() for part in line.split("&&")]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def command(words: list[str]) -> int:
    """Run ``pellucid ...`` in this process, which saves seconds of imports; its exit code.

    No other program is known here: a block with another one must say why it is not run.
    """
    from pellucid import cli

    assert words[0] == "pellucid", f"'{words[0]}' cannot be run here; mark the block as not run"
    with patch.object(sys, "argv", words), patch.dict(os.environ, {"COLUMNS": "80"}):
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0
