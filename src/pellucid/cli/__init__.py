"""The command line: one command for each verb. It translates, and computes nothing.

Answers go to standard output, progress to standard error. Exit codes: 0 all done, 2 the user's
input or option is at fault, 130 interrupted, 1 our own mistake. Read next: `cleaning`, `networks`,
`embedding`, `generating`, `compressing`.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from pellucid import __version__
from pellucid.cli.answers import say
from pellucid.cli.cleaning import damage, denoise
from pellucid.cli.compressing import compress, decompress
from pellucid.cli.detecting import detect
from pellucid.cli.embedding import embed
from pellucid.cli.generating import generate
from pellucid.cli.inpainting import inpaint
from pellucid.cli.networks import datasets, demo, evaluate, export, models, train
from pellucid.errors import OptionError, PellucidError, making, unknown

app = typer.Typer(
    name="pellucid",
    help="Clean pictures, and convolutional autoencoders to make, compare and take apart.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pellucid {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Clean pictures, and convolutional autoencoders to make, compare and take apart."""


_VERBS = (
    *(demo, denoise, inpaint, damage, train, evaluate, embed, generate, compress, decompress),
    *(export, models, datasets),
)
for _verb in _VERBS:
    app.command()(_verb)
app.add_typer(detect)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    code: Any
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show
    try:
        if "" in sys.argv:
            raise OptionError("an argument is empty; was a variable of the shell not set?")
        with making():
            code = app(sys.argv[1:] or ["--help"], prog_name="pellucid", standalone_mode=False)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        if code == 130:  # typer's word for Ctrl-C
            raise KeyboardInterrupt
    except PellucidError as error:
        code = _fail(str(error), 2)
    except TyperException as error:
        code = _fail(_told(error.format_message()), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", 130)
    except BrokenPipeError:  # `pellucid datasets | head -1` has all that it wants
        code = _closed(0)
    except SystemExit as stop:
        # typer ends with 1 in that case, before we hear of it.
        code = _closed(0) if isinstance(stop.__context__, BrokenPipeError) else stop.code
    except OSError as error:  # a full or read-only disk, wherever it shows
        where = f"{error.filename}: " if error.filename else ""
        code = _closed(_fail(f"{where}{error.strerror or error}", 2))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        code = _fail("not enough memory; take smaller pictures, crops, batches or models", 2)
    sys.exit(code or 0)


def _told(message: str) -> str:
    """What typer says of a value that is none of those possible, as we say it of any name."""
    found = re.search("'([^']*)': .*'([^']*)' is not one of (.*)[.]$", message)
    if found is None:
        return message
    option, given, possible = found.groups()
    return str(unknown(option, given, possible.replace("'", "").split(", ")))


def _fail(message: str, code: int) -> int:
    say(" ".join(message.split()))
    return code


def _closed(code: int) -> int:
    """Let what is left for standard output go nowhere, or Python complains as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
