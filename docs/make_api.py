"""Make docs/api.md from what the code says of itself: docstrings, signatures, tables and help.

``python docs/make_api.py`` writes the page; a test compares it with `page`, so that it is never
out of date. A new module, model, degradation, data set, recipe or command appears without a change
here.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pellucid

TARGET = Path(__file__).with_name("api.md")
WIDTH = 80

ROOMS = {
    "errors": "what a user can cause, and how it is said",
    "images": "files to arrays and back",
    "learn": "make networks",
    "restore": "run networks on pictures of any size",
    "uses": "what a code is good for",
    "sklearn": "an autoencoder among scikit-learn's estimators",
    "report": "scores and pictures",
    "server": "the same verbs over HTTP",
}

INSIDE = {
    *("pellucid.images." + name for name in ("colours", "exif", "png", "standard", "tiff")),
    *("pellucid.learn." + name for name in ("arrays", "folders", "known", "lesson", "machine")),
    *("pellucid.learn." + name for name in ("published", "remotes", "rounding", "sources")),
    *("pellucid.learn.models." + name for name in ("blocks", "layers")),
    *("pellucid.restore." + name for name in ("floats",)),
    *("pellucid.report." + name for name in ("demo", "html", "rivals", "trial")),
}
"""Modules that only their own room calls."""

_SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Yields", "Example", "Examples")


def page() -> str:
    """The whole of api.md."""
    parts = [
        "# The public names of pellucid",
        "Made by `docs/make_api.py` from the code; do not edit. The [tutorial](tutorial.md) shows "
        "how the pieces go together.",
        "## Front door",
        "These open at their first use, so that `import pellucid` stays light.",
        _front(),
        "## Tables",
        "The command line, the tests and this page read them.",
        *_tables(),
        "## Command line",
        *_commands(),
    ]
    for room, about in ROOMS.items():
        modules = [m for m in _modules() if m.__name__.split(".")[1] == room]
        # A room that is still empty gets no heading.
        told = [text for module in modules if (text := _module(module))]
        if told:
            parts += [f"## pellucid.{room}: {about}", *told]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _front() -> str:
    lines = ["| name | gives | described in |", "|---|---|---|"]
    for name in pellucid.__all__:
        if name.startswith("_"):
            continue
        thing = getattr(pellucid, name)
        home = thing.__module__
        anchor = home.replace(".", "")
        lines.append(f"| `pellucid.{name}` | {_cell(_first(thing))} | [{home}](#{anchor}) |")
    return "\n".join(lines)


def _tables() -> list[str]:
    from pellucid.learn import recipes
    from pellucid.learn.datasets import DATASETS
    from pellucid.learn.degrade import DEGRADATIONS
    from pellucid.learn.models import MODELS
    from pellucid.report.baselines import BASELINES

    return [
        "### Models",
        _table(
            ("name", "class", "what it is"),
            [(f"`{n}`", f"`{m.__name__}`", _first(m)) for n, m in MODELS.items()],
        ),
        "### Degradations",
        _table(
            ("name", "strength", "from", "to", "default", "what it does"),
            [
                (f"`{n}`", d.parameter, f"{d.low:g}", f"{d.high:g}", f"{d.default:.4g}", d.about)
                for n, d in DEGRADATIONS.items()
            ],
        ),
        "### Data sets",
        _table(
            ("name", "what it is", "licence"),
            [(f"`{n}`", e.about, e.licence) for n, e in DATASETS.items()],
        ),
        "### Recipes",
        _table(
            ("name", "what it is"), [(f"`{n}`", recipes.read(n).about) for n in recipes.names()]
        ),
        "### Baselines",
        _table(("name", "what it is"), [(f"`{n}`", b.about) for n, b in BASELINES.items()]),
    ]


def _commands() -> list[str]:
    from typer.main import get_command
    from typer.testing import CliRunner

    from pellucid.cli import app

    def said(*words: str) -> str:
        result = CliRunner().invoke(
            app, [*words, "--help"], prog_name="pellucid", terminal_width=WIDTH
        )
        return f"```text\n{result.output.rstrip()}\n```"

    names = list(get_command(app).commands)  # type: ignore[attr-defined]
    parts = [said()]
    for name in names:
        parts += [f"### pellucid {name}", said(name)]
    return parts


def _modules() -> list[ModuleType]:
    found = []
    for info in pkgutil.walk_packages(pellucid.__path__, "pellucid."):
        private = any(part.startswith("_") for part in info.name.split("."))
        if not private and info.name not in INSIDE and not info.name.startswith("pellucid.cli"):
            found.append(import_module(info.name))
    return found


def _module(module: ModuleType) -> str:
    """A heading, what the module is for, and its public names; nothing where it has none."""
    named = [
        (name, thing)
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and getattr(thing, "__module__", None) == module.__name__
        and (inspect.isclass(thing) or inspect.isfunction(thing))
    ]
    if not named:
        return ""
    parts = [f"### {module.__name__}", _text(inspect.getdoc(module) or "")]
    for name, thing in sorted(named, key=lambda pair: _line(pair[1])):
        kind = "class " if inspect.isclass(thing) else ""
        parts += [f"#### {name}", f"```python\n{kind}{name}{_signature(thing)}\n```"]
        parts.append(_text(inspect.getdoc(thing) or ""))
        if inspect.isclass(thing):
            parts += _methods(thing)
    return "\n\n".join(parts)


def _methods(thing: type) -> list[str]:
    """One line for each public method and property that the class itself defines."""
    lines = []
    for name, member in vars(thing).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) or type(member).__name__ == "cached_property":
            lines.append(f"- `.{name}`: {_first(member)}")
        elif inspect.isfunction(member) or isinstance(member, classmethod | staticmethod):
            function = getattr(thing, name)
            lines.append(f"- `.{name}{_signature(function, bound=True)}`: {_first(function)}")
    return ["\n".join(lines)] if lines else []


def _line(thing: Any) -> int:
    return inspect.getsourcelines(thing)[1]


def _signature(thing: Any, *, bound: bool = False) -> str:
    """The signature over as many lines as it needs; the same on every machine."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return f"({thing.__base__.__name__})" if thing.__base__ else ""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    parameters = [p for n, p in signature.parameters.items() if n != "self"]
    # As written: pydantic turns annotations into objects, which each Python prints in its own way.
    written = thing.__annotations__ if hasattr(thing, "model_fields") else {}
    parameters = [p.replace(annotation=written.get(p.name, p.annotation)) for p in parameters]
    result = signature.return_annotation
    empty = result is inspect.Signature.empty or inspect.isclass(thing)
    gives = "" if empty else f" -> {_annotation(result)}"
    pieces, star = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            pieces.append("*")
        star |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        pieces.append(_parameter(parameter))
    short = f"({', '.join(pieces)}){gives}"
    if bound or len(short) <= WIDTH:
        return short
    return "(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){gives}"


def _parameter(parameter: inspect.Parameter) -> str:
    text = parameter.name
    if parameter.kind is parameter.VAR_POSITIONAL:
        text = f"*{text}"
    elif parameter.kind is parameter.VAR_KEYWORD:
        text = f"**{text}"
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        told = repr(parameter.default)
        # Addresses and long objects differ between machines, or say nothing.
        told = "..." if " at 0x" in told or told.startswith("<") or len(told) > 60 else told
        text += f" = {told}" if ":" in text else f"={told}"
    return text


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    assert isinstance(text, str)
    return text.strip("'\"")


def _text(docstring: str) -> str:
    """A Google-style docstring as Markdown: sections become lists, examples become code."""
    parts = re.split(rf"^({'|'.join(_SECTIONS)}):\n", docstring, flags=re.M)
    told = [_prose(parts[0])]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        inner, rest = _indented(body)
        if title.startswith("Example"):
            told.append(f"```python\n{inner}\n```")
        elif title in ("Returns", "Yields"):
            told.append(f"**{title}** {_prose(inner)}")
        else:
            told.append(f"**{title}**\n\n" + "\n".join(_items(inner)))
        if rest:
            told.append(_prose(rest))
    return "\n\n".join(part for part in told if part.strip())


def _prose(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", text.strip(), flags=re.S)


def _indented(body: str) -> tuple[str, str]:
    """The indented beginning of a section, and what follows it."""
    lines = body.splitlines()
    count = next((i for i, line in enumerate(lines) if line and line[0] != " "), len(lines))
    return inspect.cleandoc("\n".join(lines[:count])), "\n".join(lines[count:])


def _items(text: str) -> list[str]:
    """``name: what it is``, over several lines, as one line of a list each."""
    items: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        elif line.strip():
            name, colon, rest = line.partition(":")
            items.append(f"- `{name}`{colon}{_prose(' ' + rest) and ' ' + rest.strip()}")
    return [_prose(item) for item in items]


def _first(thing: Any) -> str:
    """The first paragraph of a docstring in one line."""
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return " ".join(_prose(text).split())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(_cell(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(TARGET)
